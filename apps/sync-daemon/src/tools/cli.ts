/**
 * `kvsync`: tools for people on call. Every option is checked before anything starts.
 *
 *     exit codes   0 all is well   1 it did not work, or something is wrong with what was looked at   2 usage
 *     output       results to standard output (`--json`: machine-readable), notes and errors to standard error
 */

import { CodedError, numberParser } from "@kvsync/core";
import { Command, CommanderError, InvalidArgumentError } from "commander";

import { versionLine } from "../build-facts.ts";
import type { MakeTransport } from "../transport/transport.ts";
import { type CurveKeys, curveKeysFor, readDialKeys } from "../security/curve-keys.ts";
import { type PresetName, PRESETS } from "../settings/kubernetes-settings.ts";
import { makeCurveKeys } from "./curve-keypair.ts";
import { type DaemonAccess, DaemonApi, DEFAULT_DAEMON_URL } from "./daemon-api.ts";
import { examine, printFindings } from "./doctor.ts";
import { printDump } from "./index-dump.ts";
import { inspect } from "./inspect.ts";
import { PodForward, type PodSocket } from "./pod-forward.ts";
import { printReplay, replayProbe } from "./replay-probe.ts";
import { printSnapshot } from "./snapshot-report.ts";
import type { Output } from "./terminal.ts";
import { Terminal } from "./terminal.ts";
import type { EngineHttp } from "./tokenizer-parity.ts";

const EXIT_OK = 0;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** Code of an error of usage that Commander does not print. */
const UNTOLD_USAGE = "kvsync.usage";

const SECONDS_MAX = 86_400;
const COUNT_MAX = 1_000_000_000;
const DP_RANK_MAX = 63;
const PORT_MAX = 65_535;
const NAMESPACE_OPTION = [
  "-n, --namespace <name>",
  "namespace of the pod; the context's unless given",
] as const;
const KUBECONFIG_OPTION = [
  "--kubeconfig <path>",
  "for a pod: kubectl's configuration; where kubectl looks unless given",
] as const;
const PRESET_OPTION = [
  "--preset <name>",
  "for a pod: the project whose ports it has, one of aibrix, llm-d, production-stack, dynamo",
] as const;
const CONTEXT_OPTION = [
  "--context <name>",
  "for a pod: the configuration's context; the current one unless given",
] as const;

/** What the tools run on. */
export interface CliDependencies {
  readonly out: Output;
  readonly err: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly transport: MakeTransport;
  /** Aborted when the user interrupts: a watch ends with its summary. */
  readonly signal: AbortSignal;
}

/**
 * Runs a command line.
 *
 * @param args - without node and script.
 * @param dependencies - streams, network, interrupt.
 * @returns the exit code; see the header.
 */
export async function runCli(args: readonly string[], dependencies: CliDependencies): Promise<number> {
  const terminal = new Terminal(dependencies.out, dependencies.err, dependencies.environment);
  let exitCode = EXIT_OK;
  const program = commandLine(dependencies, terminal, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has told its own.
      if (error.code === UNTOLD_USAGE) terminal.note(`error: ${error.message}`);
      return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    }
    if (!(error instanceof CodedError)) throw error;
    terminal.note(`kvsync: ${error.message}`);
    return EXIT_FAILED;
  }
}

function commandLine(
  dependencies: CliDependencies,
  terminal: Terminal,
  exit: (code: number) => void,
): Command {
  const program = new Command("kvsync")
    .description("Looks at engines' KV-event streams, at daemons, and at what they leave on disk.")
    .version(versionLine("kvsync"))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        dependencies.out.write(text);
      },
      writeErr: (text) => {
        dependencies.err.write(text);
      },
    })
    .showHelpAfterError("(kvsync --help, or kvsync COMMAND --help)")
    .addHelpText("after", "\nExit codes: 0 all is well, 1 it did not work or something is wrong, 2 usage.");
  addInspect(program, dependencies, terminal);
  addReplayProbe(program, dependencies, terminal, exit);
  addDump(program, terminal);
  addSnapshot(program, terminal);
  addDoctor(program, dependencies, terminal, exit);
  addCurveKeys(program, terminal);
  return program;
}

interface InspectFlags extends PodFlags {
  readonly topic: string;
  readonly count?: number;
  readonly seconds?: number;
  readonly curveKeyFile?: string;
  readonly hashes: boolean;
  readonly json: boolean;
}

function addInspect(program: Command, { transport, signal }: CliDependencies, terminal: Terminal): void {
  program
    .command("inspect")
    .description("Watches one engine's events, decoded; Ctrl-C ends it with a summary.")
    .argument(
      "<endpoint>",
      "the engine's event socket, such as tcp://10.0.0.7:5557, or pod/NAME",
      targetOption,
    )
    .option("--topic <prefix>", "only topics with this prefix", "")
    .option("--count <n>", "end after so many messages", integerOption(1, COUNT_MAX))
    .option("--seconds <n>", "end after so long", numberOption(0.1, SECONDS_MAX))
    .option("--hashes", "show the engine's block hashes", false)
    .option(...CURVE_OPTION)
    .option(...NAMESPACE_OPTION)
    .option(...KUBECONFIG_OPTION)
    .option(...CONTEXT_OPTION)
    .option(...PRESET_OPTION, presetOption, "aibrix")
    .option("--dp-rank <n>", "for a pod: the DP rank", integerOption(0, DP_RANK_MAX), 0)
    .option("--json", "one JSON object a message, and the summary last", false)
    .addHelpText(
      "after",
      "\nExamples:\n  kvsync inspect tcp://10.0.0.7:5557 --seconds 10\n  kvsync inspect tcp://10.0.0.7:5557 --json | jq .events\n  kvsync inspect pod/engine-0 -n inference\n\nA pod is reached through the API server, with the configuration and the rights of kubectl.",
    )
    .action(async (target: Target, flags: InspectFlags) => {
      const { topic, count, seconds, curveKeyFile, hashes, json, ...pod } = flags;
      const options = {
        topic,
        count: count ?? null,
        seconds: seconds ?? null,
        isJson: json,
        showsHashes: hashes,
      };
      await atEndpoint(target, "events", pod, terminal, (endpoint) =>
        inspect({ ...options, endpoint }, transport(curveOf(curveKeyFile)), terminal, signal),
      );
    });
}

interface ReplayFlags extends PodFlags {
  readonly from: number;
  readonly curveKeyFile?: string;
  readonly idle: number;
  readonly json: boolean;
}

function addReplayProbe(
  program: Command,
  { transport }: CliDependencies,
  terminal: Terminal,
  exit: (code: number) => void,
): void {
  program
    .command("replay-probe")
    .description("Asks an engine's replay socket for its history and checks it for holes.")
    .argument(
      "<endpoint>",
      "the engine's replay socket, such as tcp://10.0.0.7:5558, or pod/NAME",
      targetOption,
    )
    .option("--from <n>", "first sequence number wanted", integerOption(0, Number.MAX_SAFE_INTEGER), 0)
    .option("--idle <seconds>", "give up after so much silence", numberOption(0.1, 300), 5)
    .option(...CURVE_OPTION)
    .option(...NAMESPACE_OPTION)
    .option(...KUBECONFIG_OPTION)
    .option(...CONTEXT_OPTION)
    .option(...PRESET_OPTION, presetOption, "aibrix")
    .option("--dp-rank <n>", "for a pod: the DP rank", integerOption(0, DP_RANK_MAX), 0)
    .option("--json", "one JSON object", false)
    .addHelpText(
      "after",
      "\nThe engine stands still while it sends its history (some 10,000 messages): ask for less with --from on a busy one.\nExit code 1 when nothing comes, the end marker is missing, or there are holes.",
    )
    .action(async (target: Target, { from, idle, curveKeyFile, json, ...pod }: ReplayFlags) => {
      const report = await atEndpoint(target, "replay", pod, terminal, (endpoint) =>
        replayProbe(endpoint, from, idle, transport(curveOf(curveKeyFile))),
      );
      printReplay(report, json, terminal);
      const isWhole = report.has_end && report.holes === 0 && report.unreadable === 0;
      exit(isWhole ? EXIT_OK : EXIT_FAILED);
    });
}

interface AccessFlags {
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

interface DumpFlags extends AccessFlags {
  readonly url: string;
  readonly model: string;
  readonly records: boolean;
  readonly json: boolean;
}

function addDump(program: Command, terminal: Terminal): void {
  program
    .command("dump")
    .description("Shows what a daemon's index holds of a model.")
    .requiredOption("--model <name>", "the model")
    .option("--url <base>", "the daemon", urlOption, DEFAULT_DAEMON_URL)
    .option(...TOKEN_OPTION)
    .option(...CA_OPTION)
    .option(...CERT_OPTION)
    .option(...KEY_OPTION)
    .option("--records", "every block instead of sums", false)
    .option("--json", "JSON instead of a table", false)
    .action(async ({ url, model, records, json, ...access }: DumpFlags) => {
      const options = { model, isJson: json, showsRecords: records };
      const api = new DaemonApi(url, accessOf(access));
      try {
        await printDump(api, options, terminal);
      } finally {
        await api.close();
      }
    });
}

function addSnapshot(program: Command, terminal: Terminal): void {
  program
    .command("snapshot")
    .description("Looks at snapshot files.")
    .command("verify")
    .description("Reads a whole file, checks it, and prints its content.")
    .argument("<file>", "such as /var/lib/kvsync/kvsync.snapshot")
    .option("--json", "one JSON object", false)
    .addHelpText(
      "after",
      "\nExit code 1 when a daemon would refuse the file; the message has the reason and the byte.",
    )
    .action((file: string, { json }: { readonly json: boolean }) => {
      printSnapshot(file, json, terminal);
    });
}

interface DoctorFlags extends AccessFlags {
  readonly url?: string;
  readonly engines: boolean;
  readonly curveKeyFile?: string;
  readonly engineHttp: readonly EngineHttp[];
  readonly idle: number;
  readonly json: boolean;
}

function addDoctor(
  program: Command,
  { transport, environment }: CliDependencies,
  terminal: Terminal,
  exit: (code: number) => void,
): void {
  program
    .command("doctor")
    .description("Asks a running daemon, examines each engine, and names what is wrong.")
    .argument("[settings...]", "after --: the daemon's own flags, such as --config kvsync.yaml", [])
    .option(
      "--url <base>",
      `the daemon; unless given the address in the settings after --, else ${DEFAULT_DAEMON_URL}`,
      urlOption,
    )
    .option(...TOKEN_OPTION)
    .option(...CA_OPTION)
    .option(...CERT_OPTION)
    .option(...KEY_OPTION)
    .option("--no-engines", "ask the daemon only, and no engine")
    .option(...CURVE_OPTION)
    .option(
      "--engine-http <id=url>",
      "an engine's HTTP address, to compare its tokens with the tokenizer's; may be repeated",
      engineHttpOption,
      [],
    )
    .option(
      "--idle <seconds>",
      "a replay socket that is silent for so long does not answer",
      numberOption(0.1, 300),
      5,
    )
    .option("--json", "one JSON object", false)
    .addHelpText(
      "after",
      "\nExamines the engines that the daemon follows, and those in the settings. Reads the settings as the daemon does: KVSYNC_* variables, and its flags after --.\nEach engine is asked for the beginning of its history, and stands still while it sends it; --no-engines asks none.\nExit code 1 when something fails.\n\nExamples:\n  kvsync doctor\n  kvsync doctor --url https://kvsync.example:7070 --ca-file ca.pem --token-file token\n  kvsync doctor -- --config kvsync.yaml",
    )
    .action(
      async (
        argv: string[],
        { url, engines, curveKeyFile, engineHttp, idle, json, ...access }: DoctorFlags,
      ) => {
        const findings = await examine({
          argv,
          environment,
          url: url ?? null,
          access: accessOf(access),
          asksEngines: engines,
          curveKeyFile: curveKeyFile ?? null,
          engineHttp,
          idleSeconds: idle,
          transport,
        });
        exit(printFindings(findings, json, terminal) ? EXIT_OK : EXIT_FAILED);
      },
    );
}

function addCurveKeys(program: Command, terminal: Terminal): void {
  program
    .command("curve-keys")
    .description("Makes a pair of CURVE keys: NAME.pub with the public one, NAME.key with both.")
    .argument("<name>", "path of the files without their endings")
    .addHelpText("after", "\nFiles that are there are not replaced. NAME.key is for its owner's eyes only.")
    .action((name: string) => {
      makeCurveKeys(name, terminal);
    });
}

const TOKEN_OPTION = ["--token-file <path>", "file with a bearer token for the daemon"] as const;
const CA_OPTION = [
  "--ca-file <path>",
  "PEM file with the authority of the daemon's certificate; the machine's own unless given",
] as const;
const CERT_OPTION = [
  "--cert-file <path>",
  "PEM file with a client certificate for the daemon, with --key-file",
] as const;
const KEY_OPTION = ["--key-file <path>", "PEM file with the client certificate's key"] as const;

function accessOf({ tokenFile, caFile, certFile, keyFile }: AccessFlags): DaemonAccess {
  return {
    tokenFile: tokenFile ?? null,
    caFile: caFile ?? null,
    certFile: certFile ?? null,
    keyFile: keyFile ?? null,
  };
}

const CURVE_OPTION = ["--curve-key-file <path>", "file with the engine's CURVE public key"] as const;

function curveOf(path: string | undefined): CurveKeys | null {
  return curveKeysFor(readDialKeys({ server_key_file: path ?? null, client_key_file: null }), null);
}

function engineHttpOption(text: string, before: readonly EngineHttp[]): readonly EngineHttp[] {
  const [, worker, url] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (worker === undefined || url === undefined)
    throw new InvalidArgumentError("expected ID=URL, such as engine-0=http://10.0.0.7:8000.");
  return [...before, { worker, url: urlOption(url) }];
}

/** An address, or a pod's name. */
type Target = { readonly endpoint: string } | { readonly pod: string };

interface PodFlags {
  readonly preset: PresetName;
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly dpRank: number;
}

/** Does something at an address; for a pod at a local one that leads there, for as long as it takes. */
async function atEndpoint<Result>(
  target: Target,
  socket: PodSocket,
  { preset, namespace, kubeconfig, context, dpRank }: PodFlags,
  terminal: Terminal,
  use: (endpoint: string) => Promise<Result>,
): Promise<Result> {
  if ("endpoint" in target) return use(target.endpoint);
  const pod = {
    name: target.pod,
    namespace: namespace ?? null,
    kubeconfig: kubeconfig ?? null,
    context: context ?? null,
    preset,
    dpRank,
  };
  const forward = await PodForward.open(pod, socket, (text) => {
    terminal.note(text);
  });
  try {
    return await use(forward.endpoint);
  } finally {
    forward.close();
  }
}

function presetOption(text: string): PresetName {
  const preset = PRESETS.find((name) => name === text);
  if (preset === undefined) throw new InvalidArgumentError(`expected one of ${PRESETS.join(", ")}`);
  return preset;
}

function targetOption(text: string): Target {
  const [, pod] = /^pod\/([a-z0-9]([-.a-z0-9]*[a-z0-9])?)$/.exec(text) ?? [];
  return pod === undefined ? { endpoint: endpointOption(text) } : { pod };
}

function endpointOption(text: string): string {
  const port = /^tcp:\/\/[^\s/*]+:([1-9]\d{0,4})$/.exec(text)?.[1];
  if (Number(port) <= PORT_MAX || /^ipc:\/\/\S+$/.test(text)) return text;
  throw new InvalidArgumentError(
    `expected tcp://host:port, ipc://path or pod/NAME; ports are 1 to ${PORT_MAX}.`,
  );
}

function urlOption(text: string): string {
  // Commander's own error would repeat the password.
  if (URL.canParse(text) && /^\w+:\/\/[^/?#]*@/.test(text))
    throw new CommanderError(
      EXIT_USAGE,
      UNTOLD_USAGE,
      "the address has a user or a password; expected one without. A token goes into a file (--token-file)",
    );
  if (URL.canParse(text) && /^https?:/.test(text)) return text;
  throw new InvalidArgumentError("expected an http or https address.");
}

function integerOption(min: number, max: number): (text: string) => number {
  return numberParser({ kind: "integer", min, max }, InvalidArgumentError);
}

function numberOption(min: number, max: number): (text: string) => number {
  return numberParser({ kind: "number", min, max }, InvalidArgumentError);
}
