/**
 * The model against what vLLM's own classes did: `vectors/vllm-0.33.0.json` was recorded by
 * `real/compare.ts --record` from the release's wheel, one run per scenario. The same commands must
 * get the same hits, and the same events in order (C1 to C5 of kv-cache-model.ts, T1 to T3 of
 * group-table.ts). N1 is of block-chain.ts.
 */
import { readFileSync } from "node:fs";
import { Prng } from "@kvsync/core";
import { describe, expect, test } from "vitest";
import { KvCacheModel } from "../../src/coordinator/kv-cache-model.ts";
import { KvBlockPool, NULL_BLOCK } from "../../src/coordinator/kv-block-pool.ts";
import { modelPrompt, runOnModel } from "./model-runner.ts";
import { RECORDED, type Recording } from "./recording.ts";
import { SCENARIOS } from "./scenarios.ts";
import { Transcript } from "./transcript.ts";
import { type Answer, workload } from "./workload.ts";

const recordings = JSON.parse(
  readFileSync(new URL("./vectors/vllm-0.33.0.json", import.meta.url), "utf8"),
) as readonly Recording[];

test("every scenario was recorded", () => {
  expect(recordings.map(({ scenario }) => scenario)).toEqual(SCENARIOS.map(({ name }) => name));
});

test.each(recordings)(
  "$scenario: hits and events are those of vLLM 0.33.0 (C1 to C5, T1 to T3)",
  ({ scenario, lines }) => {
    const found = SCENARIOS.find(({ name }) => name === scenario);
    if (found === undefined) throw new Error(`unknown scenario ${scenario}`);
    const model = new KvCacheModel(found.cache);
    const transcript = new Transcript();
    const work = workload(model.settings, { ...found.shape, ...RECORDED.shape }, new Prng(RECORDED.seed));
    for (let next = work.next(); next.done !== true; ) {
      const command = next.value;
      let answer: Answer = {};
      if (command.do === "publish") transcript.published(model.takeEvents());
      else if (command.do === "ask") {
        const { held, reused } = model.ask(modelPrompt(command.prompt));
        transcript.asked(held, reused);
      } else {
        answer = runOnModel(model, command);
        transcript.answered(command, answer);
      }
      model.check();
      next = work.next(answer);
    }
    expect(transcript.lines).toEqual(lines);
  },
);

describe("the pool", () => {
  function poolOf(blocks: number): { pool: KvBlockPool; removed: number[] } {
    const removed: number[] = [];
    const pool = new KvBlockPool(blocks, 1, (_, name) => removed.push(name));
    return { pool, removed };
  }

  test("M1, M5: unnamed blocks are reused first, named ones last, and the null block never", () => {
    const { pool, removed } = poolOf(5);
    const blocks = pool.take(4);
    expect(blocks).not.toContain(NULL_BLOCK);
    pool.name(0, 7, blocks[1]!, 4);
    pool.release([blocks[1]!, blocks[0]!]);
    pool.release([blocks[3]!, blocks[2]!]);
    expect(pool.take(4)).toEqual([blocks[3], blocks[2], blocks[0], blocks[1]]);
    expect(removed).toEqual([7]);
    pool.check();
  });

  test("M2, M4: each copy of a name is announced when it goes, and the oldest is found first", () => {
    const { pool, removed } = poolOf(4);
    const [first, second] = pool.take(2);
    pool.name(0, 9, first!, 4);
    pool.name(0, 9, second!, 4);
    expect(pool.find(0, 9)).toBe(first);
    pool.removeNames(first!);
    expect(pool.find(0, 9)).toBe(second);
    pool.removeNames(second!);
    expect(pool.find(0, 9)).toBe(-1);
    expect(removed).toEqual([9, 9]);
    pool.check();
  });

  test("M3: a block that bears several names loses them together", () => {
    const { pool, removed } = poolOf(3);
    const [block] = pool.take(1);
    pool.name(0, 1, block!, 4);
    pool.name(0, 2, block!, 8);
    pool.check();
    pool.removeNames(block!);
    expect(removed).toEqual([1, 2]);
  });

  test("M4: a reset ends all names silently, and only while no block is held", () => {
    const { pool, removed } = poolOf(3);
    const [block] = pool.take(1);
    pool.name(0, 1, block!, 4);
    expect(pool.reset()).toBe(false);
    pool.release([block!]);
    expect(pool.reset()).toBe(true);
    expect(pool.find(0, 1)).toBe(-1);
    expect(removed).toEqual([]);
  });
});

test("N1: a block has a name once its lookahead is there", () => {
  const cache = { groups: [{ kind: "full", blockSize: 4 }], blocks: 9, lookahead: 2 } as const;
  const model = new KvCacheModel(cache);
  model.start({ id: "a", tokens: [1, 2, 3, 4, 5] }, [5]);
  expect(model.takeEvents()).toEqual([]);
  model.append("a", [6]);
  model.advance("a", 1);
  expect(model.takeEvents()).toMatchObject([{ tokenIds: [1, 2, 3, 4], lookaheadTokenIds: [[5, 6]] }]);
});
