/**
 * A built daemon as a process of its own, and simulated engines that publish over ZeroMQ from this process.
 *
 *     RealEngine ──ZeroMQ──▶ RealDaemon (dist/main.js, configuration file, free port) ──HTTP──▶ page, fetch
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { EngineServer, freePort, SimulatedEngine } from "@kvsync/engine-sim";

/** Model of every engine. */
export const MODEL = "test/model";

const MAIN = fileURLToPath(new URL("../../sync-daemon/dist/main.js", import.meta.url));
const PATIENCE_MS = 60_000;
const POLL_MS = 20;
const PROMPT_TOKENS = 300;
const VOCABULARY = 128_000;

/** An engine: its scheduler, its cache, its sockets. */
export class RealEngine {
  readonly server: EngineServer;
  /** The prompt of its first request. */
  readonly firstPrompt: Uint32Array;
  readonly #engine: SimulatedEngine;
  #seed: number;
  #requests = 0;
  #nowSeconds = Date.now() / 1000;

  private constructor(engine: SimulatedEngine, server: EngineServer, seed: number) {
    this.#engine = engine;
    this.server = server;
    this.#seed = seed;
    this.firstPrompt = this.#prompt();
  }

  /** Starts one on free ports, or on those of an engine that is gone. */
  static async start(
    id: string,
    seed: number,
    ports?: { port: number; replayPort: number },
  ): Promise<RealEngine> {
    const engine = new SimulatedEngine({ id, model: MODEL, blockSize: 16, blockCount: 800 });
    const own = ports ?? { port: await freePort(), replayPort: await freePort() };
    return new RealEngine(engine, await EngineServer.start({ seed, ...own, engine }), seed);
  }

  get id(): string {
    return this.#engine.settings.id;
  }

  /** Number of the last message; null before the first. */
  get lastSequenceNumber(): number {
    return this.#engine.lastSequenceNumber;
  }

  get ports(): { port: number; replayPort: number } {
    const portOf = (endpoint: string | null): number => Number(new URL(endpoint ?? "tcp://none:0").port);
    return { port: portOf(this.server.endpoint), replayPort: portOf(this.server.replayEndpoint) };
  }

  /** Its entry in a configuration file. */
  entry(replayPort = this.ports.replayPort): object {
    return {
      id: this.id,
      model: MODEL,
      endpoint: this.server.endpoint,
      replay_endpoint: `tcp://127.0.0.1:${replayPort}`,
    };
  }

  /** Serves requests, until each is done and everything is published. */
  async serve(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.ask(this.#requests === 0 ? this.firstPrompt : this.#prompt());
  }

  /** Serves one request with this prompt. */
  async ask(promptTokens: Uint32Array): Promise<void> {
    this.#nowSeconds = Math.max(this.#nowSeconds, Date.now() / 1000);
    const output = { count: 8, seed: this.#requests };
    this.#engine.submit(
      { id: this.#requests++, promptTokens, output, loraName: null, cacheSalt: null },
      this.#nowSeconds,
    );
    while (this.#engine.hasWork) {
      const { batch, durationSeconds } = this.#engine.step(this.#nowSeconds);
      this.#nowSeconds += durationSeconds;
      if (batch !== null) this.server.publish(batch);
    }
    await this.server.drained();
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  #prompt(): Uint32Array {
    return Uint32Array.from({ length: PROMPT_TOKENS }, () => {
      this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
      return this.#seed % VOCABULARY;
    });
  }
}

/** A rank as the list of engines has it. */
export interface ListedRank {
  readonly trust: string;
  readonly last_sequence_number: number | null;
  readonly blocks_held: number;
}

/** A running daemon. */
export class RealDaemon {
  readonly #child: ChildProcess;
  readonly #folder = mkdtempSync(join(tmpdir(), "kvsync-page-"));
  readonly #exited: Promise<void>;
  url = "";

  private constructor(config: object, port: number) {
    writeFileSync(this.configFile, JSON.stringify(config));
    this.#child = spawn(process.execPath, [MAIN, "--config", this.configFile, "--port", String(port)], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env["PATH"] },
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", () => {
        resolve();
      });
    });
  }

  /** Starts one, and waits until it listens. */
  static async start(config: object, port = 0): Promise<RealDaemon> {
    const daemon = new RealDaemon(config, port);
    const { stdout } = daemon.#child;
    if (stdout === null) throw new Error("the daemon's output is not piped");
    const lines: string[] = [];
    const listensAt = await new Promise<number>((resolve, reject) => {
      createInterface({ input: stdout }).on("line", (line) => {
        lines.push(line);
        const { event, port: at } = JSON.parse(line) as { readonly event: string; readonly port?: number };
        if (event === "listening" && at !== undefined) resolve(at);
      });
      void daemon.#exited.then(() => {
        reject(new Error(`the daemon ended: ${lines.join("\n")}`));
      });
    });
    daemon.url = `${"tls" in config ? "https" : "http"}://127.0.0.1:${listensAt}`;
    return daemon;
  }

  get configFile(): string {
    return join(this.#folder, "config.yaml");
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`${this.url}${path}`, init);
  }

  /** The first rank of each engine, by the engine's id. */
  async ranks(): Promise<ReadonlyMap<string, ListedRank>> {
    const { engines } = (await (await this.fetch("/api/v1/engines")).json()) as {
      readonly engines: readonly { readonly id: string; readonly ranks: readonly [ListedRank] }[];
    };
    return new Map(engines.map(({ id, ranks: [rank] }) => [id, rank]));
  }

  /** Waits until it has applied each engine's last message, with such a trust. */
  async caughtUp(engines: readonly RealEngine[], trusts: readonly string[] = ["exact"]): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const ranks = await this.ranks();
      const isDone = engines.every(({ id, lastSequenceNumber }) => {
        const rank = ranks.get(id);
        return (
          rank !== undefined &&
          trusts.includes(rank.trust) &&
          rank.last_sequence_number === lastSequenceNumber
        );
      });
      if (isDone) return;
      if (performance.now() > deadline) throw new Error(`not caught up: ${JSON.stringify([...ranks])}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Sends a signal, and waits for the end. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.#child.kill(signal);
    await this.#exited;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
