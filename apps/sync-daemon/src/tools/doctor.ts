/**
 * `kvsync doctor`: looks at everything a daemon depends on, and names what is wrong.
 *
 *     settings ─▶ engines listed ─▶ each rank: events, replay, spelling, block size ─▶ per model: do they agree?
 *             └─▶ tokenizer: does it answer, does it make the engine's tokens?
 *     --url ────▶ the running daemon: readiness, checks, streams
 *
 * It reads the daemon's settings exactly as the daemon does (file, environment, flags behind `--`), changes nothing, and ends with 1 when something fails.
 */

import { readSettings } from "../settings/read-settings.ts";
import { SettingsError } from "../settings/settings-error.ts";
import type { Settings } from "../settings/settings.ts";
import { decideSync } from "../settings/sync-decision.ts";
import type { MakeTransport } from "../transport/transport.ts";
import { type CurveKeys, readCurveKeys } from "../security/curve-keys.ts";
import { HttpSecurity } from "../security/http-security.ts";
import type { DaemonApi } from "./daemon-api.ts";
import { examineDaemon } from "./daemon-examination.ts";
import { examineRank, type RankExamination, type RankToExamine } from "./engine-examination.ts";
import type { Finding, FindingStatus } from "./finding.ts";
import type { Terminal } from "./terminal.ts";
import { type EngineHttp, examineTokenizer } from "./tokenizer-parity.ts";

/** Ranks looked at side by side. */
const PARALLEL = 8;

/** What to look at. */
export interface DoctorOptions {
  /** Arguments as the daemon would get them. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A running daemon; null for none. */
  readonly daemon: { readonly api: DaemonApi; readonly url: string } | null;
  /** Engines' HTTP addresses, to compare tokens with. */
  readonly engineHttp: readonly EngineHttp[];
  readonly idleSeconds: number;
  readonly transport: MakeTransport;
}

/** Whoever asks a daemon on another machine has not its settings here: defaults would be looked at in their place. */
const NOT_GIVEN: Finding = {
  check: "settings",
  subject: "settings",
  status: "skip",
  message: "not given; the daemon's flags go behind --, and engines and tokenizer are then looked at too",
};

/**
 * Looks at everything.
 *
 * @param options - what to look at.
 * @returns all findings, in the order in which one would read them.
 */
export async function examine(options: DoctorOptions): Promise<Finding[]> {
  const { daemon, argv, environment } = options;
  const isGiven = argv.length > 0 || Object.keys(environment).some((name) => name.startsWith("KVSYNC_"));
  const findings = isGiven || daemon === null ? await examineSettings(options) : [NOT_GIVEN];
  return daemon === null ? findings : [...findings, ...(await examineDaemon(daemon.api, daemon.url))];
}

async function examineSettings(options: DoctorOptions): Promise<Finding[]> {
  let settings: Settings;
  let curve: CurveKeys | null;
  try {
    ({ settings } = readSettings(options.argv, options.environment));
    // The files that they name, as a start would read them.
    HttpSecurity.read(settings);
    curve = readCurveKeys(settings.curve);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const lines = error.message.split("\n  ").filter((line) => !line.endsWith("cannot be used:"));
    return [
      ...lines.map(
        (message): Finding => ({ check: "settings", subject: "settings", status: "fail", message }),
      ),
      {
        check: "events",
        subject: "engines",
        status: "skip",
        message: "not looked at: the settings cannot be used",
      },
    ];
  }
  const sync = decideSync(settings.sync);
  const syncFinding: Finding = sync.on
    ? { check: "sync", subject: "sync", status: "ok", message: "engines are followed" }
    : {
        check: "sync",
        subject: "sync",
        status: sync.asked ? "fail" : "warn",
        message: `nothing is followed: ${sync.reason}`,
      };
  return [
    {
      check: "settings",
      subject: "settings",
      status: "ok",
      message: `usable; ${settings.engines.length} engines are listed${settings.discovery.kubernetes.enabled === true ? "; those found among pods are looked at through a daemon (--url)" : ""}`,
    },
    syncFinding,
    ...(await examineEngines(settings, curve, options)),
    ...(await examineTokens(settings, options.engineHttp)),
  ];
}

async function examineEngines(
  settings: Settings,
  curve: CurveKeys | null,
  { idleSeconds, transport }: DoctorOptions,
): Promise<Finding[]> {
  const ranks = settings.engines.flatMap(({ id, model, topic, bind, ranks: all }) =>
    all.map((rank): RankToExamine => ({ worker: id, model, topic, bind, rank })),
  );
  const results: RankExamination[] = [];
  for (let i = 0; i < ranks.length; i += PARALLEL) {
    const some = ranks
      .slice(i, i + PARALLEL)
      .map((rank) => examineRank(rank, transport(curve, settings.discovery.dns_servers), idleSeconds));
    results.push(...(await Promise.all(some)));
  }
  return [...results.flatMap(({ findings }) => findings), ...compareBlockSizes(ranks, results)];
}

/** Each size costs every lookup another hashing of the prompt; more often than not it is a mistake of configuration. */
function compareBlockSizes(ranks: readonly RankToExamine[], results: readonly RankExamination[]): Finding[] {
  const byModel = new Map<string, Map<number, string>>();
  for (const [i, { model, worker }] of ranks.entries()) {
    const sizes = byModel.get(model) ?? new Map<number, string>();
    byModel.set(model, sizes);
    for (const size of results[i]?.blockSizes ?? []) if (!sizes.has(size)) sizes.set(size, worker);
  }
  return [...byModel].flatMap(([model, sizes]): Finding[] => {
    if (sizes.size < 2) return [];
    const told = [...sizes].map(([size, worker]) => `${size} (${worker})`).join(", ");
    return [
      {
        check: "block_size",
        subject: model,
        status: "warn",
        message: `its engines use several block sizes: ${told}; lookups try each, unless they name one`,
      },
    ];
  });
}

async function examineTokens(settings: Settings, engineHttp: readonly EngineHttp[]): Promise<Finding[]> {
  const endpoint = settings.sync.tokenizer_endpoint;
  if (endpoint === null)
    return [
      {
        check: "tokenizer",
        subject: "tokenizer",
        status: "skip",
        message: "none is configured: lookups by prompt answer fallback",
      },
    ];
  const modelOf = new Map(settings.engines.map(({ id, model }) => [id, model]));
  const models = [...new Set(modelOf.values())];
  if (models.length === 0)
    return [
      {
        check: "tokenizer",
        subject: endpoint,
        status: "skip",
        message: "no engine is listed, so there is no model to ask it for",
      },
    ];
  const engines = engineHttp.flatMap(({ worker, url }) => {
    const model = modelOf.get(worker);
    return model === undefined ? [] : [{ worker, url, model }];
  });
  const unknown = engineHttp
    .filter(({ worker }) => !modelOf.has(worker))
    .map(
      ({ worker }): Finding => ({
        check: "parity",
        subject: worker,
        status: "fail",
        message: "no engine of this id is listed",
      }),
    );
  return [...(await examineTokenizer(endpoint, models, engines)), ...unknown];
}

const PAINT: Readonly<Record<FindingStatus, "green" | "yellow" | "red" | "dim">> = {
  ok: "green",
  warn: "yellow",
  fail: "red",
  skip: "dim",
};

/**
 * Prints the findings, and how many of each kind there are.
 *
 * @param findings - from `examine`.
 * @param isJson - one JSON object instead of lines for people.
 * @param terminal - where to.
 * @returns whether nothing failed.
 */
export function printFindings(findings: readonly Finding[], isJson: boolean, terminal: Terminal): boolean {
  const count = (wanted: FindingStatus): number => findings.filter(({ status }) => status === wanted).length;
  const summary = { ok: count("ok"), warn: count("warn"), fail: count("fail"), skip: count("skip") };
  if (isJson) terminal.json({ findings, summary });
  else {
    for (const { check, subject, status, message } of findings)
      terminal.line({
        text: `${status.padEnd(4)}  ${check.padEnd(10)}  ${subject}: ${message}`,
        style: PAINT[status],
        painted: status.length,
      });
    terminal.line(
      `${summary.ok} ok, ${summary.warn} to know of, ${summary.fail} failed, ${summary.skip} not looked at`,
    );
  }
  return summary.fail === 0;
}
