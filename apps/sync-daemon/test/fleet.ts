/**
 * Simulated engines on real sockets with a seeded load, and the audit of a daemon's index. It
 * compares the index with the engines' blocks: prefix hash by prefix hash, tier by tier, copy by
 * copy.
 */
import { Prng, toHex } from "@kvsync/core";
import {
  EngineServer,
  type EngineServerSettings,
  type EngineSettings,
  freePort,
  SimulatedEngine,
} from "@kvsync/engine-sim";

import type { DaemonProcess, EngineReport, RankReport } from "./daemon-process.ts";

const POLL_MS = 20;
/** Only what never happens takes this long. On an idle machine a condition holds within a second or two. */
const GIVE_UP_MS = 60_000;
const VOCABULARY = 128_000;

/** What rank 0 would bind to, so that this rank's port is one that nobody takes while its engine is away. */
async function portOfRank(dpRank = 0): Promise<number> {
  return (await freePort()) - dpRank;
}

/** One engine process stand-in: pool, scheduler, sockets. */
export class TestEngine {
  readonly engine: SimulatedEngine;
  readonly server: EngineServer;
  readonly #random: Prng;
  #nextRequest = 0;
  #nowSeconds = Date.now() / 1000;
  readonly #prompts: Uint32Array[] = [];

  private constructor(engine: SimulatedEngine, server: EngineServer, seed: number) {
    this.engine = engine;
    this.server = server;
    this.#random = new Prng(seed);
  }

  static async start(
    settings: Partial<EngineSettings> & { readonly id: string },
    seed: number,
    serving: Partial<EngineServerSettings> = {},
  ): Promise<TestEngine> {
    const engine = new SimulatedEngine({ model: "test/model", blockSize: 16, blockCount: 400, ...settings });
    const ports = { port: await portOfRank(settings.dpRank), replayPort: await portOfRank(settings.dpRank) };
    return new TestEngine(engine, await EngineServer.start({ seed, ...ports, ...serving, engine }), seed);
  }

  /** The entry that registers it; ranks of one worker are joined by `entryOf`. */
  get entry(): object {
    return entryOf([this]);
  }

  /** The prompt of its first request. */
  get firstPrompt(): Uint32Array {
    return this.#prompts[0] ?? new Uint32Array();
  }

  /** Serves seeded requests, growing conversations among them, until each is done and everything is published. */
  async serve(
    count: number,
    options: { readonly loraName?: string; readonly cacheSalt?: string; readonly isFresh?: boolean } = {},
  ): Promise<void> {
    // Requests arrive now: messages carry the time at which they are published, and not one long ago.
    this.#nowSeconds = Math.max(this.#nowSeconds, Date.now() / 1000);
    for (let i = 0; i < count; i++) {
      this.engine.submit(
        {
          id: this.#nextRequest++,
          promptTokens: this.#prompt(options.isFresh ?? false),
          output: { count: 1 + this.#below(40), seed: this.#below(1e9) },
          loraName: options.loraName ?? null,
          cacheSalt: options.cacheSalt ?? null,
        },
        this.#nowSeconds,
      );
      if (i % 4 === 3) await this.#work();
    }
    await this.#work();
  }

  async stop(): Promise<void> {
    await this.server.stop();
  }

  async #work(): Promise<void> {
    while (this.engine.hasWork) {
      const { batch, durationSeconds } = this.engine.step(this.#nowSeconds);
      this.#nowSeconds += durationSeconds;
      if (batch !== null) this.server.publish(batch);
      if (this.server.backlogged) await this.server.drained();
    }
    await this.server.drained();
  }

  #prompt(isFresh: boolean): Uint32Array {
    const known = isFresh ? undefined : this.#prompts[this.#below(this.#prompts.length * 2)];
    const fresh = Uint32Array.from({ length: 20 + this.#below(600) }, () => this.#below(VOCABULARY));
    const head = known === undefined ? new Uint32Array() : known.subarray(0, this.#below(known.length));
    const prompt = new Uint32Array(head.length + fresh.length);
    prompt.set(head);
    prompt.set(fresh, head.length);
    // Bounded, so that a conversation always fits into the pool.
    const kept = prompt.subarray(0, 2000);
    this.#prompts.push(kept);
    return kept;
  }

  #below(limit: number): number {
    return limit <= 0 ? 0 : this.#random.below(limit);
  }
}

/** The registration entry of one worker, whose DP ranks are given in order. */
export function entryOf(ranks: readonly TestEngine[]): object {
  const replays = ranks.map(({ server }) => server.replayEndpoint);
  return {
    id: ranks[0]?.engine.settings.id,
    model: ranks[0]?.engine.settings.model,
    endpoints: ranks.map(({ server }) => server.endpoint),
    ...(replays.every((replay) => replay !== null) ? { replay_endpoints: replays } : {}),
  };
}

/** Waits for a condition, asking again and again, and says what it waited for when it gives up. */
export async function until<Value>(
  what: string,
  ask: () => Promise<Value | null | false>,
  timeoutMs = GIVE_UP_MS,
): Promise<Value> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await ask();
    if (value !== null && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** One rank's status, looked up by worker and rank. */
export function rankOf(engines: readonly EngineReport[], { engine }: TestEngine): RankReport | undefined {
  const { id, dpRank } = engine.settings;
  return engines.find((candidate) => candidate.id === id)?.ranks.find((rank) => rank.dp_rank === dpRank);
}

/** Waits until the daemon has applied each engine's last message and trusts it as told. */
export async function caughtUp(
  daemon: DaemonProcess,
  engines: readonly TestEngine[],
  trust: readonly string[] = ["exact"],
): Promise<void> {
  let last: unknown = null;
  await until("the daemon catches up with the engines", async () => {
    const reports = await daemon.engines();
    last = engines.map((engine) => [engine.engine.lastSequenceNumber, rankOf(reports, engine)]);
    return engines.every((engine) => {
      const rank = rankOf(reports, engine);
      if (rank === undefined || !trust.includes(rank.trust)) return false;
      return (rank.last_sequence_number ?? -1) === engine.engine.lastSequenceNumber;
    });
  }).catch((error: unknown) => {
    throw new Error(`not caught up: ${JSON.stringify(last)}`, { cause: error });
  });
}

/** Every row that the engines hold, as text, with its number of copies. */
function held(daemonEngines: readonly EngineReport[], engines: readonly TestEngine[]): Map<string, number> {
  const rows = new Map<string, number>();
  for (const test of engines) {
    const slot = rankOf(daemonEngines, test)?.rank_slot ?? -1;
    const contents = test.engine.contents();
    for (let i = 0; i < contents.rowCount; i++) {
      const hash = toHex(contents.prefixHashes[2 * i] ?? 0, contents.prefixHashes[2 * i + 1] ?? 0);
      const lora = contents.contexts[contents.contextOf[i] ?? 0]?.loraName ?? "";
      const key = `slot ${slot} lora "${lora}" tier ${contents.tierOf[i]} ${hash}`;
      rows.set(key, (rows.get(key) ?? 0) + 1);
    }
  }
  return rows;
}

/** Every row of the daemon's dump, as text, with its number of copies (0: not known). */
export async function dumped(daemon: DaemonProcess, model: string): Promise<Map<string, number>> {
  const response = await daemon.fetch(`/api/v1/dump?model=${encodeURIComponent(model)}`);
  const body = Buffer.from(await response.arrayBuffer());
  const end = body.indexOf(10);
  const header = JSON.parse(body.subarray(0, end).toString()) as { contexts: { lora_name: string | null }[] };
  const rows = new Map<string, number>();
  for (let at = end + 1; at < body.length; at += 24) {
    const hash = toHex(body.readUInt32LE(at), body.readUInt32LE(at + 4));
    const lora = header.contexts[body.readUInt32LE(at + 8)]?.lora_name ?? "";
    const key = `slot ${body.readUInt32LE(at + 12)} lora "${lora}" tier ${body.readUInt32LE(at + 16)} ${hash}`;
    rows.set(key, (rows.get(key) ?? 0) + body.readUInt32LE(at + 20));
  }
  return rows;
}

/** Differences between what the engines hold and what the daemon says; none when they agree exactly. */
export async function audit(daemon: DaemonProcess, engines: readonly TestEngine[]): Promise<string[]> {
  const expected = held(await daemon.engines(), engines);
  const actual = await dumped(daemon, engines[0]?.engine.settings.model ?? "");
  const differences: string[] = [];
  for (const [key, copies] of expected) {
    const found = actual.get(key);
    if (found === undefined) differences.push(`missing: ${key}`);
    else if (found !== 0 && found !== copies)
      differences.push(`${key}: ${found} copies instead of ${copies}`);
  }
  for (const key of actual.keys()) if (!expected.has(key)) differences.push(`ghost: ${key}`);
  return differences;
}
