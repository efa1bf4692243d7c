/**
 * A real daemon: the built process, its log read line by line, its HTTP asked over real sockets.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Agent } from "undici";
import { stringify } from "yaml";

import { declarationFaults } from "../src/log/testing/declared-lines.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const START_TIMEOUT_MS = 60_000;
const LOG_LINES_KEPT = 2000;

/** All that the built programs have of the tests' environment. The compiled code of an earlier start is used again. */
export const CHILD_ENVIRONMENT: Readonly<Record<string, string | undefined>> = {
  PATH: process.env["PATH"],
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
};

/** One line of the log. */
export type LogEntry = Readonly<Record<string, unknown>>;

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly afterMs: number;
}

/** One stream in `GET /api/v1/engines`. */
export interface RankReport {
  readonly dp_rank: number;
  readonly rank_slot: number;
  readonly state: string;
  readonly trust: string;
  readonly connected: boolean;
  readonly last_sequence_number: number | null;
  readonly history_from_sequence_number: number | null;
  readonly gaps: number;
  readonly missed_messages: number;
  readonly restarts: number;
  readonly history_losses: number;
  readonly queue_losses: number;
  readonly replays: Readonly<Record<string, unknown>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
}

/** One engine in `GET /api/v1/engines`. */
export interface EngineReport {
  readonly id: string;
  readonly model: string;
  readonly ranks: readonly RankReport[];
}

/** The default port of a picker's probes would be taken from other files' tests that run at the same time. */
const withoutFixedPorts = (config: { readonly picker?: object }): object =>
  config.picker === undefined ? config : { ...config, picker: { health_port: 0, ...config.picker } };

/** A running daemon. Stop or kill it. */
export class DaemonProcess {
  readonly #child: ChildProcess;
  readonly #log: LogEntry[] = [];
  /** Lines that are not as the catalogue declares them. */
  readonly #faults: string[] = [];
  readonly #codes = new Set<string>();
  readonly #exited: Promise<Ended>;
  readonly #directory: string;
  #url = "";
  #agent: Agent | null = null;
  #headers: Readonly<Record<string, string>> = {};

  private constructor(
    config: object,
    argv: readonly string[],
    openFiles: number | null,
    environment: Readonly<Record<string, string>>,
  ) {
    this.#directory = mkdtempSync(join(tmpdir(), "kvsync-daemon-"));
    const file = this.configFile;
    // Public, so that what the index holds can be compared with what engines do (fleet.ts).
    writeFileSync(file, stringify({ index: { prefix_hashes: "public" }, ...withoutFixedPorts(config) }));
    const startedMs = performance.now();
    const command = [process.execPath, MAIN, "--config", file, "--port", "0", ...argv];
    const limited =
      openFiles === null ? command : ["sh", "-c", `ulimit -n ${openFiles}; exec "$0" "$@"`, ...command];
    const [program = "", ...args] = limited;
    this.#child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...CHILD_ENVIRONMENT, ...environment },
    });
    this.#child.stderr?.pipe(process.stderr, { end: false });
    this.#exited = new Promise((resolve) => {
      this.#child.on("exit", (code, signal) => {
        resolve({ code, signal, afterMs: performance.now() - startedMs });
      });
    });
  }

  /** Starts one, with so many file descriptors at most if given, and waits until it listens. */
  static async start(
    config: object = {},
    argv: readonly string[] = [],
    openFiles: number | null = null,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<DaemonProcess> {
    const daemon = new DaemonProcess(config, argv, openFiles, environment);
    const output = daemon.#child.stdout;
    if (output === null) throw new Error("the daemon's output is not piped");
    const listening = new Promise<LogEntry>((resolve, reject) => {
      createInterface({ input: output }).on("line", (line) => {
        const entry = JSON.parse(line) as LogEntry;
        if (daemon.#log.push(entry) > LOG_LINES_KEPT) daemon.#log.shift();
        daemon.#codes.add(String(entry["event"]));
        daemon.#faults.push(...declarationFaults(entry));
        if (entry["event"] === "listening") resolve(entry);
      });
      void daemon.#exited.then(({ code }) => {
        reject(new Error(`the daemon ended with ${code}: ${JSON.stringify(daemon.#log)}`));
      });
      setTimeout(() => {
        reject(new Error(`the daemon does not listen: ${JSON.stringify(daemon.#log)}`));
      }, START_TIMEOUT_MS).unref();
    });
    const { scheme, port } = await listening;
    daemon.#url = `${String(scheme)}://127.0.0.1:${String(port)}`;
    return daemon;
  }

  /** Its configuration file; write to it to have the engines read again. */
  get configFile(): string {
    return join(this.#directory, "config.yaml");
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** The last log lines. */
  get log(): readonly LogEntry[] {
    return this.#log;
  }

  /** Codes of all events that were logged. */
  get codes(): ReadonlySet<string> {
    return this.#codes;
  }

  /** Hears everything that the process writes from now on. */
  onOutput(listener: (text: string) => void): void {
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk: Buffer | string) => {
        listener(String(chunk));
      });
  }

  /** Resolves when the process is gone. */
  get exited(): Promise<Ended> {
    return this.#exited;
  }

  async fetch(path: string, init?: RequestInit): Promise<Response> {
    // The runtime's fetch takes undici's dispatchers, whatever its declaration says.
    const through: object = this.#agent === null ? {} : { dispatcher: this.#agent };
    const headers = { ...this.#headers, ...(init?.headers as Record<string, string> | undefined) };
    return fetch(`${this.#url}${path}`, { ...init, headers, ...through });
  }

  /** Has `fetch` send a bearer token. */
  authorize(token: string): void {
    this.#headers = { authorization: `Bearer ${token}` };
  }

  /** Has `fetch` trust an authority, over at most so many connections, which it keeps. */
  trust(ca: string, connections: number): void {
    this.#agent = new Agent({ connections, connect: { ca } });
  }

  async engines(): Promise<readonly EngineReport[]> {
    const response = await this.fetch("/api/v1/engines");
    return ((await response.json()) as { engines: EngineReport[] }).engines;
  }

  /**
   * Sends a signal and waits for the end.
   *
   * @throws Error when a line of the log was not as declared.
   */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    const beganMs = performance.now();
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    const ended = await this.#exited;
    await this.#agent?.destroy();
    rmSync(this.#directory, { recursive: true, force: true });
    if (this.#faults.length > 0)
      throw new Error(`lines that are not as declared: ${this.#faults.join("; ")}`);
    return { ...ended, afterMs: performance.now() - beganMs };
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
