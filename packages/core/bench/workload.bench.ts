/**
 * The index, and the way to it from an engine's bytes, on the workload of fleet-workload.ts. Prefill runs and single blocks of
 * decoding are stored, then removed in runs and singly. By itself, or against another checkout, slice by slice in turn.
 *
 *     node packages/core/bench/workload.bench.ts [--against=CHECKOUT] [--sharing=1,1.38,32] [--only=PART] [--rounds=1] [--quick]
 *     node packages/core/bench/workload.bench.ts --instructions [--against=CHECKOUT]         counted by valgrind, if it is there
 *     node packages/core/bench/workload.bench.ts --write=FILE [--sharing=1]                  for drivers in other languages
 *
 * Times are CPU times of the thread. From decoded events the copy of an event's tokens and names to the index's scratch is
 * counted, and printed by itself too. From wire bytes a message goes through its stream's state machine. Half of the workers
 * lose their blocks in runs, the others singly. Lookups copy the query to the reader.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { PrefixHasher } from "../src/prefix-index/prefix-hasher.ts";
import { nameHigh, nameLow } from "../src/prefix-index/testing/fleet-world.ts";
import { benchFigure, benchShare } from "./bench-figure.ts";
import {
  type Build,
  CONTEXT,
  FleetStreams,
  follow,
  idleTarget,
  indexTarget,
  loadBuild,
  messagesOf,
  play,
  type Slice,
  slicesOf,
} from "./fleet-replay.ts";
import {
  BLOCK_SIZE,
  encodeWorkload,
  EVENT_WORDS,
  type FleetWorkload,
  makeWorkload,
  workerOf,
  writeTokens,
} from "./fleet-workload.ts";

const { values: options } = parseArgs({
  options: {
    against: { type: "string" },
    sharing: { type: "string", default: "1,1.38,32" },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
    write: { type: "string" },
    instructions: { type: "boolean", default: false },
    work: { type: "string" },
    times: { type: "string", default: "1" },
  },
});
const SHARINGS = options.sharing.split(",").map((each) => benchShare("--sharing", each, 1, 128));
const ROUNDS = benchFigure("--rounds", options.rounds, 1, 1_000);
const TIMES = benchFigure("--times", options.times, 1, 1_000);
const SEED = 20_261_201;
const SLICE_EVENTS = 16_384;
const LOOKUP_BLOCKS = 8_192;
const RUN_BLOCKS = 64;
const own = resolve(import.meta.dirname, "../../..");

/** CPU time of both sides by what they did; sides take turns. */
class Times {
  readonly #rows = new Map<string, { times: number[][]; units: number }>();

  add(name: string, side: number, microseconds: number, units: number): void {
    const row = this.#rows.get(name) ?? { times: [[], []], units: 0 };
    this.#rows.set(name, row);
    row.times[side].push(microseconds);
    if (side === 0) row.units += units;
  }

  print(title: string, unit: string, scale: number): void {
    console.log(
      `\n### ${title}\n\n| what | this, ${unit} | other | ratio | of slices |\n| --- | ---: | ---: | ---: | ---: |`,
    );
    for (const [name, { times, units }] of this.#rows) {
      const [mine, other] = times.map((each) => (scale * each.reduce((sum, time) => sum + time, 0)) / units);
      const ratios = times[1].map((time, i) => times[0][i] / time).sort((a, b) => a - b);
      const cells = [
        mine.toFixed(1),
        other.toFixed(1),
        (mine / other).toFixed(3),
        ratios.at(ratios.length >> 1)?.toFixed(3),
      ];
      console.log(`| ${name} | ${(ratios.length === 0 ? cells.slice(0, 1) : cells).join(" | ")} |`);
    }
  }
}

function cpuMicroseconds(run: () => void): number {
  const start = process.threadCpuUsage();
  run();
  const { user, system } = process.threadCpuUsage(start);
  return user + system;
}

/** Each side in turn, which begins alternates. */
function inTurn(builds: readonly Build[], turn: number, run: (side: number) => void): void {
  const order = builds.map((_, side) => side);
  for (const side of turn % 2 === 0 ? order : order.reverse()) run(side);
}

function halves(
  workload: FleetWorkload,
): { name: string; isSingly: boolean; part: FleetWorkload; from: number; to: number }[] {
  return [false, true].map((isSingly) => {
    const kept: number[] = [];
    for (let event = workload.stores; event < workload.stores + workload.removals; event++) {
      const at = EVENT_WORDS * event;
      if ((workerOf(workload, at) % 2 === 1) === isSingly)
        kept.push(...workload.events.subarray(at, at + EVENT_WORDS));
    }
    const part = {
      ...workload,
      stores: 0,
      removals: kept.length / EVENT_WORDS,
      events: Uint32Array.from(kept),
    };
    return { name: isSingly ? "singly" : "in runs", isSingly, part, from: 0, to: part.removals };
  });
}

function benchEvents(builds: readonly Build[], workload: FleetWorkload, times: Times): number[] {
  const indexes = builds.map(({ PrefixIndex }) => PrefixIndex.create());
  const empty = indexes.map((index) => index.stats().allocatedBytes);
  const idle = idleTarget();
  const targets = indexes.map(indexTarget);
  let turn = 0;
  const time = (name: string, part: FleetWorkload, slice: Slice, isSingly: boolean): void => {
    times.add(
      `of which copying, ${name}`,
      0,
      cpuMicroseconds(() => {
        play(idle, part, slice, isSingly);
      }),
      slice.blocks,
    );
    inTurn(builds, turn++, (side) => {
      times.add(
        name,
        side,
        cpuMicroseconds(() => {
          play(targets[side], part, slice, isSingly);
        }),
        slice.blocks,
      );
    });
  };
  for (const slice of slicesOf(workload, 0, workload.stores, SLICE_EVENTS))
    time("store from tokens", workload, slice, false);
  const pairs = workload.events.reduce(
    (sum, word, i) => (i % EVENT_WORDS === 1 && i < EVENT_WORDS * workload.stores ? sum + word : sum),
    0,
  );
  const bytes = indexes.map((index, side) => (index.stats().allocatedBytes - empty[side]) / pairs);
  for (const { name, isSingly, part, from, to } of halves(workload))
    for (const slice of slicesOf(part, from, to, SLICE_EVENTS / 128))
      time(`remove ${name}, a call each`, part, slice, isSingly);
  if (indexes.some((index) => index.stats().prefixCount !== 0)) throw new Error("blocks are left");
  return bytes;
}

function benchWire(builds: readonly Build[], workload: FleetWorkload, times: Times): void {
  const fleets = builds.map((build) => new FleetStreams(build, workload.workers));
  let turn = 0;
  const time = (name: string, part: FleetWorkload, slice: Slice, isSingly: boolean): void => {
    const messages = messagesOf(part, slice, isSingly);
    const frames = fleets.map((fleet) => fleet.framesOf(messages));
    inTurn(builds, turn++, (side) => {
      times.add(
        name,
        side,
        cpuMicroseconds(() => {
          follow(frames[side]);
        }),
        slice.blocks,
      );
    });
  };
  for (const slice of slicesOf(workload, 0, workload.stores, SLICE_EVENTS))
    time("store from wire bytes", workload, slice, false);
  for (const { name, isSingly, part, from, to } of halves(workload))
    for (const slice of slicesOf(part, from, to, SLICE_EVENTS / 128))
      time(`remove ${name} in one message, from wire bytes`, part, slice, isSingly);
  if (fleets.some((fleet) => fleet.index.stats().prefixCount !== 0 || !fleet.areExact()))
    throw new Error("not followed");
}

/** What a lookup is given, and which prefix hashes its index has: a daemon's are keyed unless they are public. */
const QUERIES = [
  { from: "tokens", by: "tokens", keyedHashes: true },
  { from: "tokens, public hashes", by: "tokens", keyedHashes: false },
  { from: "hashes", by: "hashes", keyedHashes: false },
] as const;

/** One reader of an index whose workers all hold the prompt. A build without keyed hashes has XXH3's instead. */
function lookupSide({ PrefixIndex, PrefixReader }: Build, workers: number, keyedHashes: boolean) {
  const index = PrefixIndex.create({ keyedHashes });
  const contextId = index.openContext(CONTEXT);
  for (let worker = 0; worker < workers; worker++)
    for (let first = 0; first < LOOKUP_BLOCKS; first += RUN_BLOCKS) {
      writeTokens(index.scratch.tokens, 0, first, RUN_BLOCKS);
      for (let i = 0; i < RUN_BLOCKS; i++)
        index.scratch.hashes.set([nameLow(first + i, 0), nameHigh(first + i, 0)], 2 * i);
      index.storeBlocks(
        contextId,
        worker,
        0,
        RUN_BLOCKS,
        first > 0,
        nameLow(first - 1, 0),
        nameHigh(first - 1, 0),
        false,
      );
    }
  return { reader: PrefixReader.attach(index.shared), contextId };
}

/** A lookup's query is copied to the reader: callers have it elsewhere. */
function benchLookups(builds: readonly Build[], workers: number, times: Times): void {
  const tokens = new Uint32Array(LOOKUP_BLOCKS * BLOCK_SIZE);
  writeTokens(tokens, 0, 0, LOOKUP_BLOCKS);
  const hashes = new Uint32Array(2 * LOOKUP_BLOCKS);
  PrefixHasher.create().hash(tokens, LOOKUP_BLOCKS, BLOCK_SIZE, null, hashes);
  for (const { from, by, keyedHashes } of QUERIES) {
    const sides = builds.map((build) => lookupSide(build, workers, keyedHashes));
    for (const blocks of [256, LOOKUP_BLOCKS]) {
      const input =
        by === "tokens" ? tokens.subarray(0, blocks * BLOCK_SIZE) : hashes.subarray(0, 2 * blocks);
      const repeats = (by === "tokens" ? 64 : 512) * (LOOKUP_BLOCKS / blocks);
      for (let turn = 0; turn < 24; turn++)
        inTurn(builds, turn, (side) => {
          const { reader, contextId } = sides[side];
          const microseconds = cpuMicroseconds(() => {
            for (let i = 0; i < repeats; i++) {
              reader[by].set(input);
              const found =
                by === "tokens"
                  ? reader.matchTokens(contextId, input.length, false)
                  : reader.matchHashes(contextId, blocks);
              if (found.matchCount !== workers) throw new Error("no match");
            }
          });
          if (turn >= 4)
            times.add(`${blocks} blocks from ${from}, ${workers} holders`, side, microseconds, repeats);
        });
    }
  }
}

/** What a process does under valgrind: all of a small workload, again and again, up to a stage. */
const STAGES = [
  "copy",
  "store",
  "store, remove in runs",
  "store, remove singly",
  "wire, store",
  "wire, store, remove in runs",
  "wire, store, remove singly",
];

async function work(stage: string, checkout: string, times: number): Promise<void> {
  const workload = smallWorkload();
  const build = await loadBuild(checkout);
  const isSingly = stage.endsWith("singly");
  for (let i = 0; i < times; i++) {
    if (stage.startsWith("wire")) {
      const fleet = new FleetStreams(build, workload.workers);
      const to = stage.includes("remove") ? workload.stores + workload.removals : workload.stores;
      for (const slice of smallSlices(workload, 0, to))
        follow(fleet.framesOf(messagesFor(workload, slice, isSingly)));
    } else {
      const target = stage === "copy" ? idleTarget() : indexTarget(build.PrefixIndex.create());
      const to =
        stage.includes("remove") || stage === "copy" ? workload.stores + workload.removals : workload.stores;
      for (const slice of smallSlices(workload, 0, to)) play(target, workload, slice, isSingly);
    }
  }
}

const prepared = new Map<FleetWorkload, Slice[]>();
const encoded = new Map<Slice, ReturnType<typeof messagesOf>>();

/** Slices, and their messages, are made once: they are not what is counted. */
function smallSlices(workload: FleetWorkload, from: number, to: number): Slice[] {
  const known = prepared.get(workload) ?? [
    ...slicesOf(workload, from, workload.stores, SLICE_EVENTS),
    ...slicesOf(workload, workload.stores, workload.stores + workload.removals, SLICE_EVENTS),
  ];
  prepared.set(workload, known);
  return known.filter((slice) => slice.to <= to);
}

function messagesFor(
  workload: FleetWorkload,
  slice: Slice,
  isSingly: boolean,
): ReturnType<typeof messagesOf> {
  const known = encoded.get(slice) ?? messagesOf(workload, slice, isSingly);
  encoded.set(slice, known);
  return known;
}

function smallWorkload(): FleetWorkload {
  return makeWorkload({ workers: 16, poolBlocks: 2_048, sharing: 1, seed: SEED });
}

const NODE_FLAGS = [
  "--no-liftoff",
  "--no-wasm-tier-up",
  "--single-threaded",
  "--predictable",
  "--hash-seed=1",
  "--random-seed=1",
];

function instructionsOf(stage: string, checkout: string): number {
  const count = (times: number): number => {
    const script = [
      import.meta.filename,
      `--work=${stage}`,
      `--against=${checkout}`,
      `--times=${String(times)}`,
    ];
    const flags = [
      "--tool=cachegrind",
      "--cache-sim=no",
      "--cachegrind-out-file=/dev/null",
      "--smc-check=all-non-file",
    ];
    const { stderr, status } = spawnSync("valgrind", [...flags, process.execPath, ...NODE_FLAGS, ...script], {
      encoding: "utf8",
    });
    const found = /I\s+refs:\s+([\d,]+)/.exec(stderr);
    if (status !== 0 || found === null) throw new Error(`valgrind ended with ${String(status)}:\n${stderr}`);
    return Number(found[1].replaceAll(",", ""));
  };
  return (count(12) - count(4)) / (8 * 16 * 2_048);
}

function hasValgrind(): boolean {
  return spawnSync("valgrind", ["--version"]).status === 0;
}

function benchInstructions(): void {
  if (!hasValgrind()) {
    console.log("valgrind is not on the path: instructions are not counted");
    return;
  }
  const checkouts = options.against === undefined ? [own] : [own, resolve(options.against)];
  console.log(
    "\n| instructions a block, 16 workers of 2,048 blocks, unshared | this | other | ratio |\n| --- | ---: | ---: | ---: |",
  );
  const counts = checkouts.map(() => new Map<string, number>());
  for (const stage of STAGES.filter((name) => name.includes(options.only))) {
    checkouts.forEach((checkout, side) => counts[side].set(stage, instructionsOf(stage, checkout)));
    const cells = counts.map((count) => count.get(stage) ?? 0);
    console.log(
      `| ${stage} | ${cells.map((cell) => cell.toFixed(0)).join(" | ")} | ${(cells[0] / (cells[1] ?? Number.NaN)).toFixed(3)} |`,
    );
  }
}

function describe(workload: FleetWorkload): string {
  let pairs = 0;
  let singles = 0;
  let messages = 0;
  for (let event = 0; event < workload.stores; event++) {
    const at = EVENT_WORDS * event;
    pairs += workload.events[at + 1];
    singles += workload.events[at + 1] === 1 ? 1 : 0;
    messages += (workload.events[at + 3] >> 16) & 1;
  }
  return `${pairs} (worker, block) pairs, ${workload.blocks} blocks, ${((100 * singles) / workload.stores).toFixed(1)} % of ${workload.stores} stores single, ${(pairs / messages).toFixed(1)} blocks a message`;
}

async function benchTimes(): Promise<void> {
  const checkouts = options.against === undefined ? [own] : [own, resolve(options.against)];
  const builds = await Promise.all(checkouts.map(loadBuild));
  const shape = options.quick ? { workers: 32, poolBlocks: 4_096 } : { workers: 128, poolBlocks: 16_384 };
  const only = (part: string): boolean => options.only === "" || options.only === part;
  for (const sharing of SHARINGS) {
    const workload = makeWorkload({ ...shape, sharing, seed: SEED });
    const times = new Times();
    // The first time is for the compilers.
    benchEvents(builds, makeWorkload({ workers: 16, poolBlocks: 4_096, sharing, seed: 1 }), new Times());
    let bytes: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      if (only("events")) bytes = benchEvents(builds, workload, times);
      if (only("wire")) benchWire(builds, workload, times);
    }
    if (only("events") || only("wire"))
      times.print(`Sharing ${String(sharing)}: ${describe(workload)}`, "ns a block", 1e3);
    if (only("events"))
      console.log(`\nbytes a pair: ${bytes.map((each) => each.toFixed(1)).join(", other ")}`);
  }
  if (!only("lookups")) return;
  const times = new Times();
  for (const workers of [1, 1_000]) benchLookups(builds, workers, times);
  times.print("Lookups, copy of the query included", "µs", 1);
}

if (options.work !== undefined) await work(options.work, options.against ?? own, TIMES);
else if (options.write !== undefined) {
  const [sharing] = SHARINGS;
  const workload = makeWorkload({ workers: 128, poolBlocks: 16_384, sharing, seed: SEED });
  writeFileSync(options.write, encodeWorkload(workload));
  console.log(`${options.write}: ${describe(workload)}`);
} else {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: own, encoding: "utf8" }).trim();
  console.log(
    `workload, commit ${commit}, seed ${SEED}, Node ${process.version}, ${cpus().length} × ${cpus()[0].model}, ` +
      `node ${process.argv.slice(1).join(" ")}`,
  );
  if (options.instructions) benchInstructions();
  else await benchTimes();
}
