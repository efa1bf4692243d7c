/**
 * For every run of an engine, replaying its batches from 0 gives exactly its blocks (G1 and G2 of
 * simulated-engine.ts, F1 of prefix-cache.ts). Random workloads run on pools so small that hits,
 * evictions, preemptions and copies are the rule. After every step a replica built from the events
 * alone is compared with `contents()`. A failing seed is printed by fast-check with its path.
 */
import { DIALECTS, type Dialect, Prng } from "@kvsync/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventReplica } from "./event-replica.ts";
import { voiceOf } from "../src/dialect.ts";
import type { EngineSettings } from "../src/engine-contract.ts";
import { SimulatedEngine } from "../src/simulated-engine.ts";

interface Workload {
  readonly seed: number;
  readonly requests: number;
  readonly settings: EngineSettings;
  readonly salts: boolean;
}

interface Outcome {
  readonly differences: string[];
  readonly preemptions: number;
  readonly copies: number;
  readonly hits: number;
  readonly hostHits: number;
  readonly aborts: number;
}

/** Prompts that share prefixes: each continues a random cut of an earlier one. */
function promptOf(random: Prng, earlier: Uint32Array[], tokensMax: number): Uint32Array {
  const base = earlier.length > 0 && random.chance(0.7) ? random.pick(earlier) : new Uint32Array(0);
  const kept = base.subarray(0, random.below(base.length + 1));
  const fresh = Uint32Array.from({ length: random.below(12) + 1 }, () => random.below(3));
  const prompt = new Uint32Array(Math.min(tokensMax, kept.length + fresh.length));
  prompt.set(kept.subarray(0, prompt.length));
  prompt.set(
    fresh.subarray(0, prompt.length - Math.min(kept.length, prompt.length)),
    Math.min(kept.length, prompt.length),
  );
  earlier.push(prompt);
  return prompt;
}

function run(workload: Workload): Outcome {
  const random = new Prng(workload.seed);
  const engine = new SimulatedEngine(workload.settings);
  const replica = new EventReplica();
  const earlier: Uint32Array[] = [];
  const tokensMax = engine.settings.blockCount * engine.settings.blockSize - 8;
  const outcome = { differences: [] as string[], preemptions: 0, copies: 0, hits: 0, hostHits: 0, aborts: 0 };
  const apply = (batch: ReturnType<SimulatedEngine["reset"]>) => {
    if (batch !== null) replica.apply(batch.batch, batch.sequenceNumber);
  };
  let submitted = 0;
  for (let step = 0; submitted < workload.requests || engine.hasWork; step++) {
    if (step > 5000) throw new Error("the engine does not come to an end");
    if (submitted < workload.requests && random.chance(0.6)) {
      const loraName = random.pick([null, ...engine.settings.loraNames]);
      const cacheSalt = workload.salts ? random.pick([null, null, "tenant-a", "tenant-b"]) : null;
      const promptTokens = promptOf(random, earlier, tokensMax);
      const output = { count: 1 + random.below(8), seed: random.nextU32() };
      engine.submit({ id: submitted++, promptTokens, output, loraName, cacheSalt }, step);
    }
    if (random.chance(0.02)) apply(engine.reset(step));
    if (random.chance(0.1) && engine.abort(random.below(submitted + 1))) outcome.aborts++;
    const result = engine.step(step);
    apply(result.batch);
    outcome.preemptions += result.preemptionCount;
    for (const finished of result.finished) {
      outcome.hits += finished.cachedBlocks;
      outcome.hostHits += finished.cachedHostBlocks;
    }
    const contents = engine.contents();
    outcome.copies +=
      contents.rowCount -
      new Set(
        Array.from(
          { length: contents.rowCount },
          (_, row) =>
            `${contents.tierOf[row]} ${contents.contextOf[row]} ${contents.prefixHashes[row * 2]} ${contents.prefixHashes[row * 2 + 1]}`,
        ),
      ).size;
    outcome.differences.push(...replica.differences(contents));
    if (outcome.differences.length > 0) break;
  }
  // Whatever was aborted when: in the end no request holds a block.
  if (!engine.hasWork) expect(engine.pressure().freeBlocks).toBe(engine.settings.blockCount);
  return outcome;
}

const settingsOf = (dialect: Dialect, more: Partial<EngineSettings>): EngineSettings => ({
  id: "engine",
  model: "m",
  blockSize: 2,
  blockCount: 16,
  maxBatchedTokens: 16,
  maxSequences: 6,
  dialect,
  ...more,
});

describe("replaying every batch gives exactly what the engine holds (G2, F1)", () => {
  test("for random workloads on tiny pools, in the dialects with all the features", () => {
    const total = { preemptions: 0, copies: 0, hits: 0, hostHits: 0, aborts: 0 };
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          dialect: fc.constantFrom<Dialect>("vllm-0.21", "vllm-0.24", "vllm-0.26", "sglang-map"),
          blockSize: fc.integer({ min: 1, max: 5 }),
          blockCount: fc.integer({ min: 10, max: 40 }),
          hostBlockCount: fc.constantFrom(0, 3, 30),
          maxBatchedTokens: fc.integer({ min: 1, max: 40 }),
        }),
        ({ seed, dialect, ...more }) => {
          const outcome = run({
            seed,
            requests: 25,
            settings: settingsOf(dialect, { ...more, loraNames: ["adapter-a"] }),
            salts: true,
          });
          for (const key of ["preemptions", "copies", "hits", "hostHits", "aborts"] as const)
            total[key] += outcome[key];
          expect(outcome.differences).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
    // The workloads are worth their name: each of these happened, and often.
    expect(Math.min(...Object.values(total))).toBeGreaterThan(100);
  });

  test.each(Object.keys(DIALECTS) as Dialect[])("in dialect %s, with whatever it can say", (dialect) => {
    const voice = voiceOf(dialect);
    const outcome = run({
      seed: 7,
      requests: 60,
      settings: settingsOf(dialect, {
        loraNames: voice.adapters ? ["adapter-a", "adapter-b"] : [],
        hostBlockCount: voice.media.host === null ? 0 : 20,
        hashForm: voice.digestHashes ? "bytes" : "int",
        slidingWindowTokens: voice.kinds ? 4 : 0,
      }),
      salts: voice.extraKeys || voice.salts,
    });
    expect(outcome.differences).toEqual([]);
    expect(outcome.hits).toBeGreaterThan(0);
  });

  test("with host stores that describe themselves", () => {
    const outcome = run({
      seed: 11,
      requests: 80,
      settings: settingsOf("vllm-0.26", {
        hostBlockCount: 40,
        hostSelfDescribing: true,
        loraNames: ["adapter-a"],
      }),
      salts: true,
    });
    expect(outcome.differences).toEqual([]);
    expect(outcome.hostHits).toBeGreaterThan(0);
  });
});
