/** Windows that are not announced (E1, E2 of chain-sample.ts; A17 of event-applier.ts). */
import { expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import type { Dialect } from "../wire/dialect.ts";
import { behind, removed, stored, ToldEngine } from "./testing/told-engine.ts";

const WINDOW = "partial: unknown_kind";
/** Dialects whose events name no kinds. */
const KINDLESS: readonly Dialect[] = ["vllm-0.9.1", "vllm-0.10.2", "vllm-0.18", "sglang-v1", "sglang-medium"];

function told(dialect: Dialect = "vllm-0.18"): ToldEngine {
  return new ToldEngine(PrefixIndex.create(), {}, dialect);
}

test.each(KINDLESS)("%s: a block that goes before the one behind it shows a window (A17)", (dialect) => {
  const inOneStore = dialect === "sglang-v1" || dialect === "sglang-medium" ? [] : [4, 5];
  const engine = told(dialect).says(stored(1), stored(2, behind(1)), stored(3, behind(2)));
  expect(engine.says(removed(3)).trust).toBe("exact");
  expect(engine.says(removed(1)).trust).toBe(WINDOW);
  if (inOneStore.length > 0)
    expect(told(dialect).says(stored(inOneStore)).says(removed(4)).trust).toBe(WINDOW);
});

test("a run that goes from its first block on, in one message, shows none (E1)", () => {
  const engine = told("sglang-v1").says(stored(1), stored(2, behind(1)), stored(3, behind(2)));
  expect(engine.says(removed(1), removed(2), removed(3)).trust).toBe("exact");
  engine.says(stored([1, 2, 3]));
  expect(engine.says(removed([1, 2, 3])).trust).toBe("exact");
});

test("a further copy of the first block keeps the prefix whole", () => {
  const engine = told().says(stored(1), stored(2, behind(1)), stored(1));
  expect(engine.says(removed(1)).trust).toBe("exact");
  expect(engine.says(removed(1)).trust).toBe(WINDOW);
});

test("copies beyond the device end the sample: a block may be held where it was not removed", () => {
  const engine = told("sglang-medium").says(stored(1), stored(2, behind(1)));
  engine.says(stored(2, { ...behind(1), medium: "CPU_PINNED" }), removed(2), removed(1));
  expect(engine.trust).toBe("exact");
});

test("an engine whose events name kinds has windows that are announced", () => {
  const window = { groupIdx: 0, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 };
  const engine = new ToldEngine(PrefixIndex.create()).says(stored([1, 2], window));
  expect(engine.says(removed(1, { groupIdx: 0 })).trust).toBe("exact");
});

test("more edges than the sample has room for are not sampled, and those that are stay (E2)", () => {
  const names = Array.from({ length: 20_000 }, (_, i) => i + 1);
  const engine = told().says(stored(names));
  // Of twenty thousand edges one in twenty is sampled; the first ones are among them.
  engine.says(removed(names.slice(0, 64)));
  expect(engine.trust).toBe(WINDOW);
});

test("what was sampled of one engine says nothing of the next", () => {
  const engine = told()
    .says(stored([1, 2]))
    .isRestarted();
  expect(engine.says(stored(2), removed(2)).trust).toBe("exact");
});

test("a window is the engine's: it is known after a cleared pool and a restart of the follower (A17, T4)", () => {
  const engine = told().says(stored([1, 2]), removed(1));
  expect(engine.says({ type: "AllBlocksCleared" }, stored([1, 2])).trust).toBe(WINDOW);
  expect(engine.isRestored().says({ type: "AllBlocksCleared" }).trust).toBe(WINDOW);
  expect(engine.isRestarted().says(stored([1, 2])).trust).toBe("exact");
});
