/** Blocks of groups that wait for another group's: their bound (U1), and the scratch that they share with removals (U2). */
import { expect, test } from "vitest";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { RootVerdict } from "./root-verdict.ts";
import { UNPLACED_BLOCKS_MAX, UnplacedStores } from "./unplaced-stores.ts";

const CONTEXT = { model: "m", loraName: null, blockSize: 2, lookahead: 0 };

test("what fits waits, and what does not is refused until the rank is empty (U1)", async () => {
  const unplaced = new UnplacedStores(await NaivePrefixIndex.create(), 3);
  expect([unplaced.keep(CONTEXT, 0, 4096, UNPLACED_BLOCKS_MAX), unplaced.isEmpty]).toEqual([true, false]);
  expect(unplaced.keep(CONTEXT, 0, 4096, 1)).toBe(false);
  unplaced.clear();
  expect([unplaced.isEmpty, unplaced.keep(CONTEXT, 0, 4096, 1)]).toEqual([true, true]);
});

test("placing says what no group has, and leaves the names in scratch as they were (U2)", async () => {
  const index = await NaivePrefixIndex.create();
  const unplaced = new UnplacedStores(index, 3);
  index.openMainGroup(3, 2);
  const slot = index.openGroup(3, { index: 1, kind: "mamba", rule: "last", windowTokens: 0, blockSize: 2 });
  index.tokens.set([5, 5]);
  index.hashes.set([1, 0, 2, 0]);
  index.storeBlocks(index.openContext(CONTEXT), 3, 0, 1, false, 0, 0, false);
  unplaced.keep(CONTEXT, 0, slot, 2);
  index.hashes.set([8, 0, 9, 0]);
  const done: (readonly [placed: number, lost: number])[] = [];
  unplaced.placeAll((placed, lost) => {
    done.push([placed, lost]);
  });
  expect([done, [...index.hashes.slice(0, 4)]]).toEqual([[[1, 1]], [8, 0, 9, 0]]);
});

test("a verdict counts for the same name at the end, in the message at hand (V1)", () => {
  const root = new RootVerdict();
  const names = Uint32Array.of(1, 0, 2, 0);
  const isCertain = (): boolean[] => [root.isCertain(names, 2), root.isCertain(names, 1)];
  root.note(names, 2, true);
  expect(isCertain()).toEqual([true, false]);
  root.note(names, 2, false);
  expect(isCertain()).toEqual([false, false]);
  root.note(names, 2, true);
  root.forget();
  expect(isCertain()).toEqual([false, false]);
});
