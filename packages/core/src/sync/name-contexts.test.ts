/**
 * Names that stand for blocks of several contexts (A13 of event-applier.ts; N1 to N4). One engine hash stands under two
 * adapters or two lookaheads, and an event carries the name alone. Both indexes are tested.
 */
import { describe, expect, test } from "vitest";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import { CONTEXTS_KEPT_MAX, CONTEXTS_MAX, NameContexts } from "./name-contexts.ts";
import { removed, stored, ToldEngine } from "./testing/told-engine.ts";

const naive = await NaivePrefixIndex.create();
const EXACT = "exact";
const STALE = "stale: ambiguous_name";
const NO_DRAFTER = { dropsLastBlock: false };
const adapter = { loraName: "x" };
const OTHER_CONTEXTS: readonly (readonly [string, Parameters<typeof stored>[1]])[] = [
  ["an adapter and none", adapter],
  ["two lookaheads", { lookaheadTokenIds: [[9]] }],
];

describe.each([
  ["the naive index", () => naive],
  ["the index", () => PrefixIndex.create({ memoryBytesMax: 16 * 1024 * 1024 })],
])("on %s", (_, make) => {
  test.each(OTHER_CONTEXTS)(
    "a removal of a name that is held under %s is ambiguous (N2, A13)",
    (_name, other) => {
      const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(stored(1), stored(1, other));
      expect(engine.trust).toBe(EXACT);
      engine.says(removed(1));
      expect([engine.trust, engine.counters.eventsDropped.ambiguous_name]).toEqual([STALE, 1]);
    },
  );

  test("whichever copy is taken: of two in one context and one in the other", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(
      stored(1, adapter),
      stored(1),
      stored(1),
    );
    expect(engine.says(removed(1)).trust).toBe(STALE);
  });

  test("a removal of further copies in one context is none, and neither is one of names that differ (N1)", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(
      stored(1),
      stored(1),
      stored(2, adapter),
    );
    expect(engine.says(removed(1)).trust).toBe(EXACT);
    expect(engine.says(removed(1), removed(2)).trust).toBe(EXACT);
  });

  test("a name on the host is no copy of the one on the device", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(
      stored(1),
      stored(1, { ...adapter, medium: "CPU" }),
    );
    expect(engine.says(removed(1)).trust).toBe(EXACT);
  });

  test("a name that waits in one context and is held in another is ambiguous", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(
      stored(1),
      stored(1, { ...adapter, parentBlockHash: 77n }),
    );
    engine.says(removed(1));
    expect(engine.trust).toBe(STALE);
  });

  test("a placeholder of such a name is ambiguous", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(stored(1), stored(1, adapter));
    engine.says(stored(1, { tokenIds: [], blockSize: 0, medium: "CPU" }));
    expect(engine.trust).toMatch(/^stale/);
    expect(engine.counters.eventsDropped.ambiguous_name).toBe(1);
  });

  test("so is the store of a group, which is placed by name", () => {
    const window = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 };
    const full = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(
      stored(1, full),
      stored(1, window),
      stored(2, { ...full, ...adapter }),
      stored(2, { ...window, ...adapter }),
    );
    expect(engine.trust).toBe("exact");
    engine.says(stored(1, { ...window, ...adapter }));
    expect(engine.counters.eventsDropped.ambiguous_name).toBe(1);
  });

  test("a placeholder is not ambiguous where each name is held in one context", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(stored(1), stored(2, adapter));
    engine.says(stored([1, 2], { tokenIds: [], blockSize: 0, medium: "CPU" }));
    expect(engine.counters.eventsDropped.ambiguous_name).toBe(0);
  });

  test.each([
    ["first", 1],
    ["last", 2],
  ])("a group's run is ambiguous whose %s name is held in another context", (_name, shared) => {
    const window = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 };
    const full = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(
      stored(shared, full),
      stored(shared, window),
      stored([1, 2], { ...full, ...adapter }),
    );
    expect(engine.trust).toBe(EXACT);
    engine.says(stored([1, 2], { ...window, ...adapter }));
    expect([engine.trust, engine.counters.eventsDropped.ambiguous_name]).toEqual([STALE, 1]);
  });

  test("of more contexts than go along, a removal is ambiguous that leaves a copy in its context (N4)", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER);
    for (let i = 0; i <= CONTEXTS_KEPT_MAX; i += 1) engine.says(stored(100 + i, { loraName: `a${i}` }));
    engine.says(stored(1, adapter), stored(1), stored(1)).isRestored();
    expect(engine.trust).toBe(EXACT);
    expect(engine.says(removed(1)).trust).toBe(STALE);
  });

  test("of more contexts than are kept, those stored to last are (N3)", () => {
    const engine = new ToldEngine(naive, NO_DRAFTER).says(stored(1));
    for (let i = 0; i <= CONTEXTS_MAX; i += 1) engine.says(stored(100 + i, { loraName: `a${i}` }));
    engine.says(stored(2), stored(2, adapter));
    expect(engine.says(removed(2)).trust).toBe(STALE);
  });

  test("stored to again is a context among the last ones (N3)", () => {
    const engine = new ToldEngine(naive, NO_DRAFTER).says(stored(1));
    for (let i = 0; i < CONTEXTS_MAX - 1; i += 1) engine.says(stored(100 + i, { loraName: `a${i}` }));
    engine.says(stored(1), stored(1, adapter), stored(1, adapter), stored(1, adapter));
    expect(engine.says(removed(1)).trust).toBe(STALE);
  });

  test("contexts of before a clear are none, and those stored to after it are", () => {
    const engine = new ToldEngine(make(), NO_DRAFTER, "vllm-0.33").says(stored(1, adapter), stored(1));
    engine.says({ type: "AllBlocksCleared" });
    expect(engine.state.contexts).toEqual([]);
    engine.says(stored(1), stored(1, adapter));
    expect(engine.says(removed(1)).trust).toBe(STALE);
  });

  test.each([
    ["few", 2],
    ["more contexts than go along", CONTEXTS_KEPT_MAX + 2],
  ])("another applier goes on with the contexts: %s (N4)", (_name, count) => {
    const engine = new ToldEngine(make());
    for (let i = 0; i < count; i += 1) engine.says(stored(100 + i, { loraName: `a${i}` }));
    engine.says(stored(1), stored(1, adapter)).isRestored();
    expect(engine.trust).toBe(EXACT);
    expect(engine.says(removed(1)).trust).toBe(STALE);
  });
});

describe("the contexts of a rank", () => {
  const SLOT = 3;

  function opened(count: number): NameContexts {
    naive.clearRank(SLOT);
    const contexts = new NameContexts(naive, SLOT);
    for (let i = 0; i < count; i += 1)
      contexts.open({ model: "m", loraName: `a${i}`, blockSize: 2, lookahead: 0 });
    return contexts;
  }

  test("go along up to a number of them, and beyond it not at all (N4)", () => {
    expect(opened(CONTEXTS_KEPT_MAX).state()).toHaveLength(CONTEXTS_KEPT_MAX);
    expect(opened(CONTEXTS_KEPT_MAX + 1).state()).toBeNull();
  });

  test("stay unknown from one applier to the next, until the rank is empty (N4)", () => {
    const contexts = opened(0);
    contexts.restore("m", null);
    expect([contexts.isSingle, contexts.state()]).toEqual([false, null]);
    contexts.clear();
    expect([contexts.isSingle, contexts.state()]).toEqual([true, []]);
  });

  /** What a name is counted as, and how many contexts were looked into for it. */
  function asked(contexts: NameContexts): { ambiguous: number; looks: number } {
    const hasBlock = naive.hasBlock.bind(naive);
    let looks = 0;
    naive.hasBlock = (...call) => {
      looks += 1;
      return hasBlock(...call);
    };
    try {
      naive.scratch.hashes.fill(0, 0, 2);
      return { ambiguous: contexts.countNamed(1), looks };
    } finally {
      naive.hasBlock = hasBlock;
    }
  }

  test("are asked about a name up to a number of them (N3)", () => {
    expect(asked(opened(CONTEXTS_MAX))).toEqual({ ambiguous: 0, looks: CONTEXTS_MAX });
  });

  test("make every name ambiguous once one of them is no longer kept (N4)", () => {
    const contexts = opened(CONTEXTS_MAX + 1);
    expect(asked(contexts)).toEqual({ ambiguous: 1, looks: 0 });
    expect(contexts.isRunElsewhere(contexts.last, 1)).toBe(true);
    expect(contexts.state()).toBeNull();
    contexts.clear();
    expect(contexts.isSingle).toBe(true);
  });
});
