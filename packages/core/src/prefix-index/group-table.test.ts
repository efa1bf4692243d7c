/** A rank's groups as readers and copies list them, and the context id that means none. */
import { expect, test } from "vitest";

import type { GroupShape } from "./contract.ts";
import { IndexCopyReader } from "./index-copy.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";

const WINDOW: GroupShape = {
  index: 1,
  rule: "window",
  kind: "sliding_window",
  windowTokens: 9,
  blockSize: 4,
};
const STATE: GroupShape = { index: 7, rule: "last", kind: "mamba", windowTokens: 0, blockSize: 16 };

test("readers and copies list a rank's groups, its main one first, until the rank is cleared", () => {
  const index = PrefixIndex.create({ memoryBytesMax: 2 ** 24 });
  const reader = PrefixReader.attach(index.shared, { tokensMax: 16 });
  expect(reader.groups(3)).toEqual([]);
  const window = index.openGroup(3, WINDOW);
  index.openMainGroup(3, 4, 0, "full_attention");
  index.openGroup(2, STATE);
  const state = index.openGroup(3, STATE);
  const groups = [
    { slot: 3, isMain: true, index: 0, rule: "run", kind: "full_attention", windowTokens: 0, blockSize: 4 },
    { slot: window, isMain: false, ...WINDOW },
    { slot: state, isMain: false, ...STATE },
  ];
  expect(reader.groups(3)).toEqual(groups);
  expect(new IndexCopyReader(index.copy(null)).groups(3)).toEqual(groups);
  expect(reader.groups(4)).toEqual([]);
  index.clearRank(3);
  expect(reader.groups(3)).toEqual([]);
  expect(reader.groups(2)).toMatchObject([{ kind: "mamba" }]);
});

test("a main group whose events name neither number nor kind is listed as such", () => {
  const index = PrefixIndex.create({ memoryBytesMax: 2 ** 24 });
  index.openMainGroup(5, 16);
  const reader = PrefixReader.attach(index.shared, { tokensMax: 16 });
  expect(reader.groups(5)).toMatchObject([{ isMain: true, index: -1, kind: "none", blockSize: 16 }]);
});

test("a rank's groups count as the same engine, also when its engine is named later (G4, by I15)", () => {
  const index = PrefixIndex.create({ memoryBytesMax: 2 ** 24 });
  index.openGroup(3, WINDOW);
  index.setRankOwner(3, 1);
  index.openGroup(3, STATE);
  expect(index.check()).toEqual([]);
});

test("context id 0 means no context: a lookup in it matches nothing", () => {
  const reader = PrefixReader.attach(PrefixIndex.create({ memoryBytesMax: 2 ** 24 }).shared, {
    tokensMax: 16,
  });
  expect(reader.matchTokens(0, 16, false).matchCount).toBe(0);
  expect(reader.matchHashes(0, 2).matchCount).toBe(0);
});
