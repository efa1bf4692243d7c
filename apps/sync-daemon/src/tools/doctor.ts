/**
 * `kvsync doctor`: looks at everything a daemon depends on, and names what is wrong.
 *
 *     --url, or the settings' address, or the default ─▶ the running daemon: readiness, checks, streams, engines
 *     settings ─┬─▶ files, folders, certificates, credentials (start-check.ts)
 *               ├─▶ engines listed ─┐
 *     daemon ───┼─▶ its engines ────┴─▶ each rank once: events, replay, spelling, block size ─▶ per model: do they agree?
 *               └─▶ tokenizer: does it answer, does it make the engine's tokens?
 *
 * It reads the daemon's settings exactly as the daemon does (file, environment, flags behind `--`), changes nothing, and ends with 1 when something fails.
 */

import { connect } from "node:net";

import { readUsable, type SettingsReading } from "../settings/read-settings.ts";
import type { Settings } from "../settings/settings.ts";
import { decideSync } from "../settings/sync-decision.ts";
import type { MakeTransport } from "../transport/transport.ts";
import { curveKeysFor, type DialKeys, readDialKeys } from "../security/curve-keys.ts";
import { type DaemonAccess, DaemonApi, DEFAULT_DAEMON_URL } from "./daemon-api.ts";
import { type DaemonExamination, examineDaemon, type FollowedRank } from "./daemon-examination.ts";
import { examineRank, type RankExamination, type RankToExamine } from "./engine-examination.ts";
import type { Finding, FindingStatus } from "./finding.ts";
import { checkStart } from "./start-check.ts";
import type { Terminal } from "./terminal.ts";
import { type EngineHttp, examineTokenizer } from "./tokenizer-parity.ts";

/** Ranks looked at side by side. */
const PARALLEL = 8;
/** Longest wait for a bare connection. */
const CONNECT_MS = 2000;
/** Addresses that mean every one of this machine. */
const EVERY_ADDRESS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** What to look at. */
export interface DoctorOptions {
  /** Arguments as the daemon would get them. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of the running daemon; null when the user does not say. */
  readonly url: string | null;
  readonly access: DaemonAccess;
  /** False to ask no engine for its history. */
  readonly asksEngines: boolean;
  /** File with the engines' CURVE key; null for that of the settings. */
  readonly curveKeyFile: string | null;
  /** Engines' HTTP addresses, to compare tokens with. */
  readonly engineHttp: readonly EngineHttp[];
  readonly idleSeconds: number;
  readonly transport: MakeTransport;
}

/** Defaults would be looked at in their place, and the daemon may run on another machine. */
const NOT_GIVEN: Finding = {
  check: "settings",
  subject: "settings",
  status: "skip",
  message:
    "not given; put the daemon's flags behind --, and its files, folders and tokenizer are looked at too",
};

/** What the settings say, as far as they were given. */
interface SettingsExamination {
  readonly findings: readonly Finding[];
  /** Null when they were not given, or cannot be used. */
  readonly settings: Settings | null;
  /** Address of the daemon with these settings; null when they have none. */
  readonly url: string | null;
}

/**
 * Looks at everything.
 *
 * @param options - what to look at.
 * @returns all findings, in the order in which one would read them.
 * @throws ToolError for a file of the options that cannot be read.
 */
export async function examine(options: DoctorOptions): Promise<Finding[]> {
  const { argv, environment } = options;
  const isGiven = argv.length > 0 || Object.keys(environment).some((name) => name.startsWith("KVSYNC_"));
  const given = isGiven ? await examineSettings(options) : WITHOUT_SETTINGS;
  const url = options.url ?? given.url;
  const isWanted = options.url !== null || !isGiven;
  const daemon = url === null ? NO_DAEMON : await examineDaemonAt(url, options.access, isWanted);
  const { settings } = given;
  return [
    ...given.findings,
    ...(options.asksEngines ? await examineAllEngines(settings, daemon.ranks, options) : []),
    ...(settings === null
      ? options.engineHttp.map(uncompared)
      : await examineTokens(settings, options.engineHttp)),
    ...daemon.findings,
  ];
}

const WITHOUT_SETTINGS: SettingsExamination = {
  findings: [NOT_GIVEN],
  settings: null,
  url: DEFAULT_DAEMON_URL,
};
const NO_DAEMON: DaemonExamination = { findings: [], ranks: null };

const NO_ENGINES: Finding = {
  check: "events",
  subject: "engines",
  status: "warn",
  message:
    "the daemon follows no engine, so that every lookup answers fallback; list engines in its file, register them, or set discovery.kubernetes.enabled",
};

async function examineDaemonAt(
  url: string,
  access: DaemonAccess,
  isWanted: boolean,
): Promise<DaemonExamination> {
  const api = new DaemonApi(url, access);
  try {
    return await examineDaemon(api, isWanted);
  } finally {
    await api.close();
  }
}

/** Those of the settings and those of the daemon, each once. */
async function examineAllEngines(
  settings: Settings | null,
  followed: readonly FollowedRank[] | null,
  options: DoctorOptions,
): Promise<Finding[]> {
  // Also without an engine: a wrong file is to be known.
  const curve = curveOf(options, settings);
  const listed = settings === null ? [] : ranksOf(settings);
  const ranks = withoutRepeats([...listed, ...(followed ?? [])]);
  if (ranks.length > 0) return examineEngines(ranks, curve, settings, options);
  return followed === null ? [] : [NO_ENGINES];
}

function curveOf({ curveKeyFile }: DoctorOptions, settings: Settings | null): DialKeys {
  const none = { server_key_file: null, client_key_file: null };
  const fleet = settings?.curve ?? none;
  return readDialKeys(curveKeyFile === null ? fleet : { ...fleet, server_key_file: curveKeyFile });
}

/** A rank of the settings, or of the daemon: what the daemon says of its connection is known of the latter. */
type AnyRank = RankToExamine & Partial<Pick<FollowedRank, "connected">>;

function ranksOf({ engines }: Settings): AnyRank[] {
  return engines.flatMap(({ id, model, topic, bind, curveServerKey, ranks }) =>
    ranks.map((rank) => ({ worker: id, model, topic, bind, curveServerKey, rank })),
  );
}

/** The later one wins, which is the daemon's: it says whether it is connected. */
function withoutRepeats(ranks: readonly AnyRank[]): AnyRank[] {
  return [...new Map(ranks.map((one) => [`${one.worker} ${one.rank.dpRank}`, one])).values()];
}

/** Where a daemon with these settings listens. */
function urlOf({ http, tls }: Settings): string | null {
  if (http.port === 0) return null;
  const host = EVERY_ADDRESS[http.host] ?? http.host;
  const scheme = tls.cert_file === null ? "http" : "https";
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${http.port}`;
}

async function examineSettings(options: DoctorOptions): Promise<SettingsExamination> {
  const { reading, faults } = readUsable(options.argv, options.environment);
  const start =
    reading === null ? { faults: [], warnings: [] } : await checkStart(reading, "files", Date.now());
  const all = [...faults, ...start.faults];
  const found = (status: FindingStatus, message: string): Finding => {
    return { check: "settings", subject: "settings", status, message };
  };
  const findings = [
    ...all.map(({ line }) => found("fail", line)),
    ...start.warnings.map((line) => found("warn", line)),
  ];
  const url = reading === null ? null : urlOf(reading.settings);
  if (reading === null || all.length > 0) {
    const message = "those of the settings are not looked at: the settings cannot be used";
    return {
      findings: [...findings, { check: "events", subject: "engines", status: "skip", message }],
      settings: null,
      url,
    };
  }
  return { findings: [...findings, ...usableFindings(reading)], settings: reading.settings, url };
}

function usableFindings({ settings }: SettingsReading): Finding[] {
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
      message: `usable; ${settings.engines.length} engines are listed${settings.discovery.kubernetes.enabled === true ? "; those found among pods are looked at through a daemon" : ""}`,
    },
    syncFinding,
  ];
}

async function examineEngines(
  ranks: readonly AnyRank[],
  curve: DialKeys,
  settings: Settings | null,
  { idleSeconds, transport }: DoctorOptions,
): Promise<Finding[]> {
  const results: RankExamination[] = [];
  for (let i = 0; i < ranks.length; i += PARALLEL) {
    const some = ranks.slice(i, i + PARALLEL).map(async (rank) => {
      const keys = curveKeysFor(curve, rank.curveServerKey);
      const own = transport(keys, settings?.discovery.dns_servers);
      const examination = await examineRank(rank, own, idleSeconds);
      return asSeenFromHere(rank, examination);
    });
    results.push(...(await Promise.all(some)));
  }
  return [...results.flatMap(({ findings }) => findings), ...compareBlockSizes(ranks, results)];
}

/**
 * Engines may be closed for this machine and open for the daemon's: then nothing is wrong with them. Where the system of the engine takes a connection from
 * here, they are not closed: the engine does not answer it, and the daemon will lose it soon.
 */
async function asSeenFromHere(
  { connected, rank }: AnyRank,
  examination: RankExamination,
): Promise<RankExamination> {
  const { findings } = examination;
  const isClosed = findings.some(({ check, status }) => check === "events" && status === "fail");
  if (connected !== true || !isClosed) return examination;
  const isOpen = await takesConnections(rank.endpoint);
  const shown = findings.map((finding): Finding => {
    if (finding.status !== "fail") return finding;
    if (isOpen)
      return {
        ...finding,
        message: `${sentence(finding.message)} The system takes the connection and the engine does not answer: its process may be frozen`,
      };
    const message = `${sentence(finding.message)} The daemon is connected to the engine: run kvsync doctor where the daemon runs`;
    return { ...finding, status: "skip", message };
  });
  return { ...examination, findings: shown };
}

function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

/** Whether a connection over TCP is made within a moment. */
function takesConnections(endpoint: string): Promise<boolean> {
  const [, host, port] = /^tcp:\/\/\[?([^\]]+?)\]?:(\d+)$/.exec(endpoint) ?? [];
  if (host === undefined || port === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    const end = (isOpen: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isOpen);
    };
    const timer = setTimeout(() => {
      end(false);
    }, CONNECT_MS);
    socket.once("connect", () => {
      end(true);
    });
    socket.once("error", () => {
      end(false);
    });
  });
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

function withoutTokenizer(model: string): Finding {
  const message = "it has no tokenizer: lookups by prompt answer fallback";
  return { check: "tokenizer", subject: model, status: "skip", message };
}

/** Asked for, and the tokenizer is not known. */
function uncompared({ worker }: EngineHttp): Finding {
  const message =
    "its tokens are not compared: the tokenizer and the engines are in the settings; put the daemon's flags behind --";
  return { check: "parity", subject: worker, status: "fail", message };
}

async function examineTokens(settings: Settings, engineHttp: readonly EngineHttp[]): Promise<Finding[]> {
  const { tokenizer_endpoint: endpoint } = settings.sync;
  const own = new Map(settings.tokenizer.models.map((entry) => [entry.model, entry.endpoint ?? endpoint]));
  if (endpoint === null && own.size === 0)
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
        subject: endpoint ?? "tokenizer",
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
  const found = models.map(async (model) => {
    const at = own.get(model) ?? endpoint;
    return at === null ? [withoutTokenizer(model)] : await examineTokenizer(at, model, engines);
  });
  return [...(await Promise.all(found)).flat(), ...unknown];
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
