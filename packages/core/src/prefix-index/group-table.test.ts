/**
 * A rank's groups as readers and copies list them, and the context id that means none. `check` holds the lists against the
 * invariants of kernel/groups.ts (G1 to G4) under the one number I15.
 */
import { expect, test } from "vitest";

import type { GroupShape } from "./contract.ts";
import { listGroups } from "./group-table.ts";
import { IndexCopyReader } from "./index-copy.ts";
import { instantiateKernel } from "./kernel.ts";
import {
  GROUP_BLOCK_SIZE,
  GROUP_INDEX,
  GROUP_KIND,
  GROUP_NEXT,
  GROUP_RULE,
  GROUP_WORDS,
} from "./kernel-boundary.generated.ts";
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

test("each group in use is in its rank's list once, and alignments and counts fit the lists (G1, G2, G3, by I15)", () => {
  const index = PrefixIndex.create({ memoryBytesMax: 2 ** 24 });
  index.openMainGroup(3, 4, 0, "full_attention");
  const window = index.openGroup(3, { ...WINDOW, blockSize: 6 });
  const state = index.openGroup(3, STATE);
  const loose = index.openGroup(5, STATE);
  expect(index.check()).toEqual([]);
  const { memory } = index.shared;
  const words = new Uint32Array(memory.buffer, instantiateKernel(memory).groupsAt());
  const at = (slot: number, field: number): number => GROUP_WORDS * slot + field;
  const ALIGNMENT = GROUP_WORDS - 1;
  expect([words[at(3, ALIGNMENT)], words[at(5, ALIGNMENT)]]).toEqual([48, 16]);
  const damages: readonly (readonly [cell: number, value: number])[] = [
    // Left out of its list, in another rank's too, and another rank's by its owner.
    [at(window, GROUP_NEXT), 0],
    [at(loose, GROUP_NEXT), state],
    [at(window, 1), 5],
    // A free slot in a list, and one in use outside of any.
    [at(window, GROUP_RULE), 0],
    [at(loose + 1, GROUP_RULE), 1],
    // An alignment that is not that of the sizes, also without a main group.
    [at(state, GROUP_BLOCK_SIZE), 32],
    [at(5, ALIGNMENT), 4],
    // A rank that has its main group, and a loose one that is not counted.
    [at(3, GROUP_KIND), 0],
    [at(5, GROUP_KIND), 1],
  ];
  for (const [cell, value] of damages) {
    const before = words[cell];
    words[cell] = value;
    const found = index.check().map((violation) => violation.slice(0, violation.indexOf(":")));
    words[cell] = before;
    expect(new Set(found), `cell ${cell}`).toEqual(new Set(["I15"]));
  }
  index.clearRank(3);
  index.clearRank(5);
  expect([words[at(3, ALIGNMENT)], words[at(5, ALIGNMENT)], index.check()]).toEqual([0, 0, []]);
});

test("a list is read again while a writer changes lists, and the last one read counts when that does not end (L1)", () => {
  const index = PrefixIndex.create({ memoryBytesMax: 2 ** 24 });
  index.openGroup(3, STATE);
  const { memory } = index.shared;
  const kernel = instantiateKernel(memory);
  const words = new Uint32Array(memory.buffer);
  const cell = kernel.groupsAt() / 4 + GROUP_WORDS * index.openGroup(3, WINDOW) + GROUP_INDEX;
  const before = kernel.groupsVersion();
  const version = words.findIndex((_, i) => {
    if (words[i] !== before) return false;
    words[i] += 2;
    const isVersion = kernel.groupsVersion() === before + 2;
    words[i] -= 2;
    return isVersion;
  });
  let steps = 0;
  /** A writer that gets as far as its next step whenever the reader asks for the version, and is done after some. */
  const besideWriter = (stepsMax: number): typeof kernel => ({
    ...kernel,
    groupsVersion: () => {
      if (steps < stepsMax) {
        words[cell] = ++steps;
        words[version] = before + (steps < stepsMax ? 1 : 2);
      }
      return kernel.groupsVersion();
    },
  });
  expect(listGroups(besideWriter(6), memory, 3).map((group) => group.index)).toEqual([7, 6]);
  steps = 0;
  expect(listGroups(besideWriter(Number.POSITIVE_INFINITY), memory, 3)[1].index).toBe(1000);
});

test("context id 0 means no context: a lookup in it matches nothing", () => {
  const reader = PrefixReader.attach(PrefixIndex.create({ memoryBytesMax: 2 ** 24 }).shared, {
    tokensMax: 16,
  });
  expect(reader.matchTokens(0, 16, false).matchCount).toBe(0);
  expect(reader.matchHashes(0, 2).matchCount).toBe(0);
});
