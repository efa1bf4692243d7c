/**
 * The daemon as a process of its own: started with a configuration file, stopped, killed, frozen and started again. It is
 * the real one; nothing of it is imported.
 *
 *     start ──▶ running ──stop──▶ gone        freeze/thaw: SIGSTOP, SIGCONT
 *                 │  ▲
 *                 kill (SIGKILL), then start again: same file, same port, empty index
 *
 * P1: the port is free when the daemon takes it first (port 0), and named in every later start, so that clients stay valid.
 * P2: no daemon outlives this process, unless this process is itself killed without warning.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, type WriteStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";

import { DaemonError } from "./daemon-error.ts";

/** The daemon of this workspace, as built. */
export const DEFAULT_DAEMON_PATH: string = fileURLToPath(
  new URL("../../../sync-daemon/dist/main.js", import.meta.url),
);

const START_TIMEOUT_MS = 30_000;
/** The daemon promises to end within five seconds of SIGTERM. */
const STOP_TIMEOUT_MS = 8_000;
/** Last lines of its log that a failed start shows. */
const LOG_LINES_KEPT = 15;

/** One engine as the daemon's configuration names it. */
interface EngineEntry {
  readonly id: string;
  readonly model: string;
  readonly endpoint: string;
  readonly replay_endpoint: string | null;
  /** Addresses of its OpenAI API, for the picker. */
  readonly http?: readonly string[];
}

/** How the daemon is run. */
export interface DaemonSettings {
  /** Its main.js. */
  readonly path: string;
  readonly engines: readonly EngineEntry[];
  /** Where its log goes; null for nowhere. */
  readonly logPath: string | null;
  /** Section `picker`; none leaves it off. */
  readonly picker?: Readonly<Record<string, unknown>>;
}

/** See the header. */
export class DaemonProcess {
  readonly #settings: DaemonSettings;
  readonly #folder: string;
  readonly #log: WriteStream | null;
  readonly #lastLines: string[] = [];
  #child: ChildProcess | null = null;
  #port = 0;
  /** Kept so that it can be taken off again: one listener per daemon, not per run. */
  readonly #killAtExit = (): void => {
    this.#child?.kill("SIGKILL");
  };

  private constructor(settings: DaemonSettings, folder: string) {
    this.#settings = settings;
    this.#folder = folder;
    this.#log = settings.logPath === null ? null : createWriteStream(settings.logPath, { flags: "a" });
    process.on("exit", this.#killAtExit);
  }

  /**
   * Starts a daemon and waits until it listens.
   *
   * @throws DaemonError `daemon_absent`, `daemon_exited`, `daemon_not_listening`.
   */
  static async start(settings: DaemonSettings): Promise<DaemonProcess> {
    if (!existsSync(settings.path)) {
      const facts = { code: "daemon_absent", path: settings.path } as const;
      throw new DaemonError(
        facts,
        `no daemon at ${settings.path}; build the workspace, or name one with --daemon`,
      );
    }
    const folder = await mkdtemp(join(tmpdir(), "router-sim-"));
    const daemon = new DaemonProcess(settings, folder);
    try {
      await daemon.startAgain();
    } catch (error) {
      await daemon.#release();
      throw error;
    }
    return daemon;
  }

  /** Where it answers. The same over restarts. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Process id of the running daemon; null when there is none. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * Starts it after a kill, with the same configuration and port.
   *
   * @throws DaemonError `daemon_exited`, `daemon_not_listening`.
   */
  async startAgain(): Promise<void> {
    const configPath = join(this.#folder, "daemon.yaml");
    const engines = this.#settings.engines.map(({ replay_endpoint, ...entry }) => ({
      ...entry,
      ...(replay_endpoint === null ? {} : { replay_endpoint }),
    }));
    await writeFile(
      configPath,
      stringify({
        http: { host: "127.0.0.1", port: this.#port },
        // Audits compare the index's hashes with those of the engines.
        index: { prefix_hashes: "public" },
        engines,
        ...(this.#settings.picker === undefined ? {} : { picker: this.#settings.picker }),
      }),
    );
    const child = spawn(process.execPath, [this.#settings.path, "--config", configPath], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#port = await this.#listening(child);
  }

  /** Kills it without warning, as a node failure would, and waits until it is gone. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Stops it from running, as an overloaded or paused machine would. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  /** Lets it run again. */
  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  /**
   * Ends it in good order and removes what it left.
   *
   * @returns its exit code; null when it had to be killed.
   */
  async stop(): Promise<number | null> {
    this.thaw();
    const exitCode = await this.#end("SIGTERM");
    await this.#release();
    return exitCode;
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
    const child = this.#child;
    if (child === null) return null;
    this.#child = null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, "exit");
    child.kill(signal);
    const deadline = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(deadline);
    return child.exitCode;
  }

  async #release(): Promise<void> {
    await this.#end("SIGKILL");
    process.off("exit", this.#killAtExit);
    this.#log?.end();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Resolves to the port of the log line that says it listens. */
  #listening(child: ChildProcess): Promise<number> {
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        const seconds = START_TIMEOUT_MS / 1000;
        child.kill("SIGKILL");
        reject(
          this.#failure({ code: "daemon_not_listening", seconds }, `did not listen within ${seconds} s`),
        );
      }, START_TIMEOUT_MS);
      child.once("error", (cause) => {
        clearTimeout(deadline);
        reject(this.#failure({ code: "daemon_exited", exitCode: null, signal: null }, cause.message));
      });
      child.once("exit", (exitCode, signal) => {
        clearTimeout(deadline);
        reject(
          this.#failure(
            { code: "daemon_exited", exitCode, signal },
            `ended with ${String(exitCode ?? signal)}`,
          ),
        );
      });
      for (const stream of [child.stdout, child.stderr]) {
        if (stream === null) continue;
        createInterface({ input: stream }).on("line", (line) => {
          this.#keepLine(line);
          const port = portOf(line);
          if (port === null) return;
          clearTimeout(deadline);
          resolve(port);
        });
      }
    });
  }

  #keepLine(line: string): void {
    this.#log?.write(`${line}\n`);
    this.#lastLines.push(line);
    if (this.#lastLines.length > LOG_LINES_KEPT) this.#lastLines.shift();
  }

  #failure(facts: DaemonError["facts"], what: string): DaemonError {
    return new DaemonError(facts, `the daemon ${what}; its last words:\n${this.#lastLines.join("\n")}`);
  }
}

/** The port in a log line that says `"event":"listening"`; null in any other. */
function portOf(line: string): number | null {
  if (!line.includes('"listening"')) return null;
  try {
    const entry = JSON.parse(line) as { event?: unknown; port?: unknown };
    return entry.event === "listening" && typeof entry.port === "number" ? entry.port : null;
  } catch {
    // Not a log entry: some other line that holds the word.
    return null;
  }
}
