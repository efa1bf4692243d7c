/**
 * The facts that an engine with several KV-cache groups shows (S1 to S3 of engine-signs.ts; P1, P2 of drafter-proof.ts; A15,
 * A16 of event-applier.ts). Whether the proof is ever wrong is tested with the model of vLLM's coordinator (engine-sim).
 */
import { describe, expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import type { BlockStored, KvEvent } from "../wire/events.ts";
import { behind, removed, stored, ToldEngine } from "./testing/told-engine.ts";

const full = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
const window = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 };
const UNKNOWN = "stale: drafter_unknown";

function told(dropsLastBlock?: boolean): ToldEngine {
  return new ToldEngine(PrefixIndex.create(), { dropsLastBlock });
}

/** Likewise, of an engine whose groups are known: stores are watched from then on. */
function watched(): ToldEngine {
  return told().says(...both(90));
}

/** A store in both groups, in their order. */
function both(names: number | readonly number[], parent: Partial<BlockStored> = {}): KvEvent[] {
  return [stored(names, { ...full, ...parent }), stored(names, { ...window, ...parent })];
}

function gone(name: number): KvEvent[] {
  return [removed(name, { groupIdx: 0 }), removed(name, { groupIdx: 1 })];
}

describe("whether the last block of a match is dropped (A15)", () => {
  test("is not known before the stores show it, or the operator says it", () => {
    expect(told().says(...both([1, 2, 3])).trust).toBe(UNKNOWN);
    expect(told(false).says(...both([1, 2, 3])).trust).toBe("exact");
    expect(told(true).says(...both([1, 2, 3])).trust).toBe("stale: dropped_block");
  });

  test("is asked after all that a message did, also of one that breaks off", () => {
    expect(told().breaksOff(...both([1, 2])).trust).toBe("stale: unreadable_message");
  });

  test("changes a block at most where there is one group", () => {
    expect(told().says(stored([1, 2, 3], full)).trust).toBe("exact");
  });

  test("is shown by two different blocks behind one that was announced once (P1)", () => {
    const engine = watched().says(...both([1, 2, 3]));
    expect(engine.says(...both(4, behind(3))).trust).toBe(UNKNOWN);
    expect(engine.says(...both(5, behind(3))).trust).toBe("exact");
  });

  test("is not shown where the block before was announced again", () => {
    const engine = watched().says(...both([1, 2, 3]), ...both(4, behind(3)));
    expect(engine.says(...both([3, 5], behind(2)), ...both(6, behind(3))).trust).toBe(UNKNOWN);
  });

  test("is not shown by a block that some group has, nor by the same block twice", () => {
    const engine = watched().says(
      ...both([1, 2, 3]),
      ...both([3, 7], behind(2)),
      ...gone(3),
      ...both(4, behind(3)),
    );
    engine.says(stored(4, { ...full, ...behind(3) }), stored(7, { ...full, ...behind(3) }));
    expect(engine.trust).toBe(UNKNOWN);
  });

  test("is not shown by a block that was removed in the same message", () => {
    const engine = watched().says(...both([1, 2, 3]), ...both(4, behind(3)), ...both([9, 5]));
    expect(engine.says(...gone(5), ...both(5, behind(3))).trust).toBe(UNKNOWN);
    expect(engine.says(...both(6, behind(3))).trust).toBe("exact");
  });

  test("is not shown where parts of blocks are matched", () => {
    const part = { ...full, ...behind(3), blockSize: 1, tokenIds: [8] };
    const engine = watched().says(...both([1, 2, 3]), stored(8, part), ...both(4, behind(3)));
    expect(engine.says(...both(5, behind(3))).trust).toBe(UNKNOWN);
  });

  test("is not shown by a group of states, whose matches the others cut", () => {
    const state = { groupIdx: 0, kvCacheSpecKind: "mamba" };
    const states = { groupIdx: 1, kvCacheSpecKind: "mamba" };
    const all = (name: number, parent = {}): KvEvent[] => [
      stored(name, { ...state, ...parent }),
      stored(name, { ...states, ...parent }),
    ];
    const engine = told().says(...all(90), ...all(3), ...all(4, behind(3)));
    expect(engine.says(...all(5, behind(3))).trust).toBe(UNKNOWN);
  });

  test("is not shown by a group of coarser blocks, whose matches the others cut", () => {
    const coarse = (name: number, parent = {}): KvEvent => {
      const tokenIds = [name - 1, name - 1, name, name];
      return stored(name, { ...window, groupIdx: 0, blockSize: 4, tokenIds, ...parent });
    };
    const fine = (names: number[], parent = {}): KvEvent =>
      stored(names, { ...full, groupIdx: 1, ...parent });
    const engine = told().says(fine([1, 2]), coarse(2), fine([3, 4]), coarse(4));
    engine.says(coarse(6, behind(4)), coarse(8, behind(4)));
    expect([engine.trust, Math.max(...Object.values(engine.counters.eventsDropped))]).toEqual([UNKNOWN, 0]);
    expect(engine.says(fine([5], behind(4)), fine([7], behind(4))).trust).toBe("exact");
  });

  test("is known where hashes look ahead", () => {
    const ahead = { lookaheadTokenIds: [[9]] };
    const engine = new ToldEngine(PrefixIndex.create(), {}, "vllm-0.33");
    expect(engine.says(...both(1, ahead)).trust).toBe("exact");
  });

  test("is not known where hashes look ahead and no group has a kind", () => {
    const engine = new ToldEngine(PrefixIndex.create(), {}, "vllm-0.33");
    const ahead = { lookaheadTokenIds: [[9]] };
    expect(
      engine.says(stored(1, { groupIdx: 0, ...ahead }), stored(1, { groupIdx: 1, ...ahead })).trust,
    ).toBe(UNKNOWN);
  });

  test("is still shown after more names than are remembered (P2)", () => {
    const names = Array.from({ length: 10_000 }, (_, i) => 100 + i);
    const engine = watched().says(...both(names), ...both([1, 2, 3]), ...both(4, behind(3)));
    expect(engine.says(...both(5, behind(3))).trust).toBe("exact");
  });
});

describe("whether every group has announced itself (A16)", () => {
  const late = (): ToldEngine => new ToldEngine(PrefixIndex.create(), {}, "vllm-0.33");
  const UNSEEN = "stale: groups_unseen";

  test("is not known of vLLM 0.33 while single blocks come (S2)", () => {
    const engine = late().says(stored(1, full));
    expect(engine.trust).toBe(UNSEEN);
    expect(engine.says(stored(2, { ...full, ...behind(1) })).trust).toBe(UNSEEN);
    expect(engine.says(stored([3, 4], { ...full, ...behind(2) })).trust).toBe("exact");
    expect(engine.says(stored(5, full)).trust).toBe("exact");
  });

  test("is shown by a second group, and by releases that match whole blocks", () => {
    const engine = new ToldEngine(PrefixIndex.create(), { dropsLastBlock: false }, "vllm-0.33");
    expect(engine.says(...both(1)).trust).toBe("exact");
    expect(told().says(stored(1, full)).trust).toBe("exact");
  });

  test("is still known of a rank that goes on from its state", () => {
    const shown = late()
      .says(stored([1, 2], full))
      .isRestored();
    expect(shown.says(stored(3, full)).trust).toBe("exact");
  });

  test("is asked of each engine anew (S3)", () => {
    const shown = late()
      .says(stored([1, 2], full))
      .isRestarted();
    expect(shown.says(stored(1, full)).trust).toBe(UNSEEN);
    expect(shown.isRestarted().trust).toBe("exact");
  });
});

test("a rank with one group and a kind on the wire is looked at no more (S1)", () => {
  const index = PrefixIndex.create();
  let looks = 0;
  const noteHeld = index.noteHeld.bind(index);
  const hasBlock = index.hasBlock.bind(index);
  index.noteHeld = (...call) => {
    looks += 1;
    noteHeld(...call);
  };
  index.hasBlock = (...call) => {
    looks += 1;
    return hasBlock(...call);
  };
  const engine = new ToldEngine(index, {}, "vllm-0.33").says(stored([1, 2], full));
  looks = 0;
  engine.says(stored(3, { ...full, ...behind(2) }), removed(3, { groupIdx: 0 }), stored([4, 5], full));
  expect([looks, engine.trust]).toEqual([0, "exact"]);
});

describe("what was shown", () => {
  const proved = (): ToldEngine =>
    watched().says(...both([1, 2, 3]), ...both(4, behind(3)), ...both(5, behind(3)));
  const cleared: KvEvent = { type: "AllBlocksCleared" };

  test("holds after a cleared pool and on another thread, and not for another engine (S3)", () => {
    expect(proved().says(cleared, ...both(1)).trust).toBe("exact");
    expect(
      proved()
        .isRestored()
        .says(...both(9)).trust,
    ).toBe("exact");
    expect(
      proved()
        .isRestarted()
        .says(...both([1, 2])).trust,
    ).toBe(UNKNOWN);
  });

  test("nor is a drafter excluded on another thread where parts of blocks are matched (S3)", () => {
    const part = { ...full, ...behind(3), blockSize: 1, tokenIds: [8] };
    const engine = watched()
      .says(...both([1, 2, 3]), stored(8, part))
      .isRestored();
    engine.says(...both(30)).says(...both(4, behind(30)));
    expect(engine.says(...both(5, behind(30))).trust).toBe(UNKNOWN);
  });

  test("and what was not shown goes along too", () => {
    expect(
      told()
        .says(...both([1, 2]))
        .isRestored().trust,
    ).toBe(UNKNOWN);
    const single = new ToldEngine(PrefixIndex.create(), {}, "vllm-0.33").says(stored(1, full)).isRestored();
    expect(single.trust).toBe("stale: groups_unseen");
  });
});
