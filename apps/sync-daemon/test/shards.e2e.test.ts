/**
 * Eight real daemons that follow one fleet between them, against one daemon that follows all of it. They take over from four,
 * one of them is killed, and it comes back.
 *
 * Engines' histories are shorter than what they hold: a shard that began cold could not know the first prompts.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import {
  ClientError,
  KvsyncClient,
  type MatchAnswer,
  type Question,
  ShardedClient,
  type WorkerMatch,
} from "@kvsync/client";
import { shardOf } from "@kvsync/core";
import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { expect, onTestFinished, test } from "vitest";

import { CHILD_ENVIRONMENT, DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

const TOOLS = fileURLToPath(new URL("../dist/tools/main.js", import.meta.url));
/** Not the synchronous one: the engines live in this process. */
const execute = promisify(execFile);
const MODEL = "test/model";
const BEFORE = 4;
const AFTER = 8;
const KILLED = 5;
/** A busy machine may be slow; what is not there fails at once. */
const PATIENT_MS = 20_000;
/** Messages that an engine keeps. */
const HISTORY = 60;

/** Ids of which each shard of eight has two. */
function ids(): string[] {
  const found = Array.from({ length: AFTER }, () => [] as string[]);
  for (let n = 0; found.some((own) => own.length < 2); n++) {
    const own = found[shardOf(`engine-${n}`, AFTER)];
    if (own !== undefined && own.length < 2) own.push(`engine-${n}`);
  }
  return found.flat();
}

/** How a daemon is started. */
interface More {
  readonly warmFrom?: readonly DaemonProcess[];
  readonly port?: number;
  /** Of its own snapshots; none without it. */
  readonly folder?: string;
}

/** Daemons by the number of their fleet's shards, in a folder of the test. */
class Fleet {
  readonly engines: readonly TestEngine[];
  readonly #folder: string;
  readonly #daemons = new Set<DaemonProcess>();

  private constructor(engines: readonly TestEngine[]) {
    this.engines = engines;
    this.#folder = mkdtempSync(join(tmpdir(), "kvsync-shards-"));
    writeFileSync(join(this.#folder, "seed"), "a secret that all shards have\n");
  }

  static async start(): Promise<Fleet> {
    // Each daemon's errors are shown, which takes a listener or two a process.
    process.stderr.setMaxListeners(200);
    const settings = { blockCount: 100_000, model: MODEL };
    const fleet = new Fleet(
      await Promise.all(
        ids().map((id, seed) => TestEngine.start({ id, ...settings }, seed + 1, { bufferSteps: HISTORY })),
      ),
    );
    onTestFinished(() => fleet.#stop());
    return fleet;
  }

  /** The engines of one shard. */
  of(index: number, count: number): readonly TestEngine[] {
    return this.engines.filter(({ engine }) => shardOf(engine.settings.id, count) === index);
  }

  /** A daemon for a part of the fleet. */
  async daemon(
    shard: { readonly index: number; readonly count: number },
    more: More = {},
  ): Promise<DaemonProcess> {
    const { warmFrom = [], port = 0, folder } = more;
    if (folder !== undefined) mkdirSync(join(this.#folder, folder), { recursive: true });
    const kept =
      folder === undefined
        ? { enabled: false }
        : { enabled: true, directory: join(this.#folder, folder), interval_seconds: 1 };
    const daemon = await DaemonProcess.start(
      {
        engines: this.engines.map(({ entry }) => entry),
        shard,
        index: { prefix_hashes: "secret", seed_file: join(this.#folder, "seed") },
        snapshot: { ...kept, warm_from: warmFrom.map(({ url }) => url) },
      },
      ["--port", String(port)],
    );
    this.#daemons.add(daemon);
    return daemon;
  }

  /** All shards of a fleet. */
  shards(count: number, more: (index: number) => More = () => ({})): Promise<DaemonProcess[]> {
    return Promise.all(
      Array.from({ length: count }, (_, index) => this.daemon({ index, count }, more(index))),
    );
  }

  async kill(daemons: readonly DaemonProcess[]): Promise<void> {
    await Promise.all(
      daemons.map(async (daemon) => {
        this.#daemons.delete(daemon);
        await daemon.end("SIGKILL");
      }),
    );
  }

  async serve(requests: number): Promise<void> {
    for (const engine of this.engines) await engine.serve(requests);
  }

  /** Waits until each shard has applied all that its engines sent. */
  async inSync(daemons: readonly DaemonProcess[]): Promise<void> {
    await Promise.all(daemons.map((daemon, index) => caughtUp(daemon, this.of(index, daemons.length))));
  }

  async #stop(): Promise<void> {
    await this.kill([...this.#daemons]);
    await Promise.all(this.engines.map((engine) => engine.stop()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function clientOf(daemons: readonly DaemonProcess[]): ShardedClient {
  return new ShardedClient({ shards: daemons.map(({ url }) => url), timeoutMs: PATIENT_MS });
}

/** Rows without what depends on the time. */
function rowsOf(matches: readonly WorkerMatch[]): object[] {
  return matches.map((match) => ({ ...match, trust_since: null, age_seconds: null }));
}

/** An answer without what depends on the time. */
function timeless(answer: MatchAnswer): object {
  return { ...answer, matches: rowsOf(answer.matches) };
}

/** An answer, or the code with which there is none. */
async function told(answer: Promise<MatchAnswer>): Promise<object | string> {
  try {
    return timeless(await answer);
  } catch (error) {
    if (error instanceof ClientError && error.facts.code === "refused") return error.facts.problem.code;
    throw error;
  }
}

function questionsOf({ engines }: Fleet): readonly Question[] {
  const prompts = engines.map(({ firstPrompt }) => ({ model: MODEL, tokenIds: firstPrompt }));
  const [first = { model: MODEL, tokenIds: [] }] = prompts;
  return [
    ...prompts,
    { ...first, includeUnmatched: true },
    { ...first, includeUnmatched: true, topK: 3 },
    { ...first, blockSize: 16 },
    { ...first, blockSize: 32 },
    { ...first, workers: ["engine-0", "engine-1", "nobody", "nothing"], includeUnmatched: true },
    { ...first, model: "another/model" },
    { model: MODEL, tokenIds: [1, 2, 3] },
  ];
}

async function json(daemon: DaemonProcess, path: string, init?: RequestInit): Promise<unknown> {
  return (await daemon.fetch(path, init)).json();
}

async function whatIsElsewhereIsVisible(daemon: DaemonProcess, index: number): Promise<void> {
  const elsewhere = 2 * (AFTER - 1);
  expect(await json(daemon, "/api/v1/engines")).toMatchObject({
    shard: { index, count: AFTER, engines_elsewhere: elsewhere },
  });
  expect(await json(daemon, "/health")).toMatchObject({
    checks: {
      discovery: {
        message: `every source of engines is up to date; shard ${index} of ${AFTER}, ${elsewhere} engines belong to other shards`,
      },
    },
  });
  const metrics = await (await daemon.fetch("/metrics")).text();
  expect(metrics).toMatch(
    new RegExp(`^${NAMESPACE}_kv_discovery_shard_engines\\{.*shard="elsewhere".*\\} ${elsewhere}$`, "m"),
  );
  const { stdout } = await execute(process.execPath, [TOOLS, "doctor", "--no-engines", "--url", daemon.url], {
    env: CHILD_ENVIRONMENT,
  });
  expect(stdout).toMatch(
    new RegExp(
      `^ok +daemon +shard ${index} of ${AFTER}: follows 2 engines; ${elsewhere} belong to other shards$`,
      "m",
    ),
  );
  const strangers = Array.from({ length: 100 }, (_, n) => `stranger-${n}`);
  const id = strangers.find((one) => shardOf(one, AFTER) !== index) ?? "";
  const entry = { id, model: MODEL, endpoint: "tcp://127.0.0.1:5557" };
  const request = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(entry),
  };
  expect(await json(daemon, "/api/v1/engines", request)).toMatchObject({
    status: 421,
    code: "other_shard",
    shard: shardOf(id, AFTER),
    count: AFTER,
  });
  const snapshotOf = async (asked: string): Promise<number> =>
    (await daemon.fetch(`/api/v1/snapshot?${asked}`)).status;
  expect(await snapshotOf(`shard_index=${index + 1}&shard_count=${AFTER}`)).toBe(204);
  expect(await snapshotOf(`shard_index=${index}&shard_count=${AFTER}`)).toBe(200);
  for (const wrong of ["shard_index=8&shard_count=8", "shard_index=1", "shard_count=0&shard_index=0"])
    expect(await snapshotOf(wrong)).toBe(400);
}

test("eight shards take over from four without a cold lookup, answer as one daemon, and say when one of them is away", async () => {
  const fleet = await Fleet.start();
  const [whole, before] = await Promise.all([fleet.daemon({ index: 0, count: 1 }), fleet.shards(BEFORE)]);
  await fleet.serve(2);
  // Connected, and without a gap: what is missing from here on would be in no history any more.
  await caughtUp(whole, fleet.engines);
  await fleet.inSync(before);
  const beganMs = performance.now();
  await fleet.serve(2 * HISTORY);
  const reference = new KvsyncClient({ url: whole.url, timeoutMs: PATIENT_MS });
  const heldOf = async (client: KvsyncClient | ShardedClient, engine: TestEngine): Promise<number> => {
    const { id } = engine.engine.settings;
    const answer = await client.match({ model: MODEL, tokenIds: engine.firstPrompt, workers: [id] });
    return answer.matches[0]?.matched_blocks ?? 0;
  };
  await caughtUp(whole, fleet.engines);
  await fleet.inSync(before);
  const held = await Promise.all(fleet.engines.map((engine) => heldOf(reference, engine)));
  expect(Math.min(...held)).toBeGreaterThan(0);
  for (const { ranks } of await whole.engines())
    expect(Number(ranks[0]?.last_sequence_number)).toBeGreaterThan(HISTORY + 20);

  // A publisher proves itself by a message that is 5 to 10 s old: from here on the histories have one.
  let servedMs = 0;
  await until("the histories cover the proof", async () => {
    const nowMs = performance.now();
    if (nowMs - servedMs > 300) {
      servedMs = nowMs;
      await fleet.serve(1);
    }
    return nowMs - beganMs > 11_000;
  });

  // From four to eight: each new shard takes the rows of its workers from the old one that has them.
  const kept = { port: await freePort(), folder: "kept" };
  const after = await fleet.shards(AFTER, (index) => ({
    warmFrom: before,
    ...(index === KILLED ? kept : {}),
  }));
  const client = clientOf(after);
  const warm = await Promise.all(fleet.engines.map((engine) => heldOf(client, engine)));
  expect(warm).toEqual(held);
  for (const daemon of after)
    expect(daemon.log.find(({ event }) => event === "snapshot_loaded")).toMatchObject({ origin: "sibling" });
  await fleet.kill(before);
  await fleet.serve(1);
  await caughtUp(whole, fleet.engines);
  await fleet.inSync(after);

  // The same answers as those of one daemon.
  for (const question of questionsOf(fleet)) {
    const expected = await told(reference.match(question));
    const merged = await told(client.match(question));
    expect(merged).toEqual(typeof expected === "string" ? expected : { ...expected, missing: [] });
  }
  const followed = await Promise.all(after.map(async (daemon) => (await daemon.engines()).length));
  expect(followed).toEqual(Array.from({ length: AFTER }, () => 2));
  await whatIsElsewhereIsVisible(after[3] ?? whole, 3);

  // One shard away: named, the others right.
  const killed = after[KILLED] ?? whole;
  const written = killed.log.filter(({ event }) => event === "snapshot_written").length;
  await until("its snapshot has the latest state", () =>
    Promise.resolve(killed.log.filter(({ event }) => event === "snapshot_written").length > written + 1),
  );
  await fleet.kill([killed]);
  const [engine] = fleet.engines;
  const asked = { model: MODEL, tokenIds: engine?.firstPrompt ?? [], includeUnmatched: true };
  const partial = await client.match(asked);
  expect(partial).toMatchObject({
    decision: "degraded",
    trust: "partial",
    missing: [{ shard: KILLED, url: killed.url, facts: { code: "unreachable" } }],
  });
  const complete = await reference.match(asked);
  const others = complete.matches.filter(({ worker }) => shardOf(worker, AFTER) !== KILLED);
  expect(timeless(partial)).toMatchObject({ matches: rowsOf(others) });
  expect(partial.matches).toHaveLength(2 * (AFTER - 1));

  // Back, with its own snapshot: exact.
  const back = await fleet.daemon({ index: KILLED, count: AFTER }, kept);
  expect(back.log.find(({ event }) => event === "snapshot_loaded")).toMatchObject({ origin: "own" });
  after[KILLED] = back;
  await fleet.inSync(after);
  const expected = timeless(await reference.match(asked));
  expect(timeless(await client.match(asked))).toEqual({ ...expected, missing: [] });

  // From eight to four: what its own snapshot of shard 5 of 8 lacks comes from the others.
  await fleet.kill([back]);
  const moved = shardOf(fleet.of(KILLED, AFTER)[0]?.engine.settings.id ?? "", BEFORE);
  const fewer = await fleet.daemon(
    { index: moved, count: BEFORE },
    { folder: kept.folder, warmFrom: after.filter((daemon) => daemon !== back) },
  );
  expect(fewer.log.find(({ event }) => event === "snapshot_loaded")).toMatchObject({ origin: "sibling" });
  for (const one of fleet.of(moved, BEFORE)) {
    const single = new KvsyncClient({ url: fewer.url, timeoutMs: PATIENT_MS });
    expect(await heldOf(single, one)).toBe(await heldOf(reference, one));
  }
});
