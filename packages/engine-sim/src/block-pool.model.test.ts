/**
 * The pool against a naive one: arrays in order of use, searched from the front. Both get the same
 * random commands over a handful of blocks and hashes, so that copies, evictions and reuse are the
 * rule. After each command every answer is compared. Hashes collide in their home cells on purpose:
 * their low words differ in few bits.
 *
 * The pool's free queue is lru-list.ts (L), its names are in copy-table.ts (C).
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockPool } from "./block-pool.ts";

const BLOCKS = 6;
const HASHES: readonly (readonly [number, number])[] = [
  [0, 1],
  [0, 2],
  [16, 1],
  [1, 1],
  [17, 0],
  [0xffff_ffff, 0xffff_ffff],
];

class NaivePool {
  free = Array.from({ length: BLOCKS }, (_, id) => id);
  readonly holders = new Array<number>(BLOCKS).fill(0);
  /** Named blocks, in the order in which they were named. */
  named: { id: number; hash: number }[] = [];
  readonly evicted: number[] = [];

  find(hash: number): number {
    return this.named.find((entry) => entry.hash === hash)?.id ?? -1;
  }

  allocate(): number {
    const id = this.free.shift() ?? -1;
    if (this.named.some((entry) => entry.id === id)) this.evicted.push(id);
    this.named = this.named.filter((entry) => entry.id !== id);
    this.holders[id] = 1;
    return id;
  }

  retain(id: number): void {
    this.free = this.free.filter((other) => other !== id);
    this.holders[id] = (this.holders[id] ?? 0) + 1;
  }

  release(id: number): void {
    this.holders[id] = (this.holders[id] ?? 0) - 1;
    if (this.holders[id] === 0) this.free.push(id);
  }
}

type Command =
  | { readonly kind: "allocate" }
  | { readonly kind: "register"; readonly choice: number; readonly hash: number }
  | { readonly kind: "retain"; readonly hash: number }
  | { readonly kind: "release"; readonly choice: number }
  | { readonly kind: "reset" };

const hash = fc.nat({ max: HASHES.length - 1 });
const choice = fc.nat({ max: 100 });
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("allocate" as const) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("register" as const), choice, hash }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("retain" as const), hash }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("release" as const), choice }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("reset" as const) }) },
  ),
  { maxLength: 120, size: "max" },
);

function heldIds(naive: NaivePool): number[] {
  return naive.holders.flatMap((count, id) => (count > 0 ? [id] : []));
}

function run(command: Command, pool: BlockPool, naive: NaivePool): void {
  const held = heldIds(naive);
  switch (command.kind) {
    case "allocate":
      if (naive.free.length > 0) expect(pool.allocate()).toBe(naive.allocate());
      break;
    case "register": {
      const unnamed = held.filter((id) => !naive.named.some((entry) => entry.id === id));
      const id = unnamed[command.choice % unnamed.length];
      if (id === undefined) break;
      pool.names.engineWords.set(HASHES[command.hash]!, id * 2);
      pool.register(id);
      naive.named.push({ id, hash: command.hash });
      break;
    }
    case "retain": {
      const id = naive.find(command.hash);
      if (id < 0) break;
      pool.retain(id);
      naive.retain(id);
      break;
    }
    case "release": {
      const id = held[command.choice % held.length];
      if (id === undefined) break;
      pool.release(id);
      naive.release(id);
      break;
    }
    case "reset":
      expect(pool.reset()).toBe(held.length === 0);
      if (held.length === 0) naive.named = [];
      break;
  }
}

test("the pool answers and evicts as the naive one, whatever happens to it (P1, P2, P3; C1, C2; L1, L2)", () => {
  let evictions = 0;
  let copies = 0;
  fc.assert(
    fc.property(commands, (list) => {
      const evicted: number[] = [];
      const pool = new BlockPool(BLOCKS, { digests: false, describedBlockSize: 0 }, (id) => {
        // P3: the name still means something when its end is announced.
        const [low, high] = [pool.names.engineWords[id * 2]!, pool.names.engineWords[id * 2 + 1]!];
        expect(pool.find(low, high)).not.toBe(-1);
        evicted.push(id);
      });
      const naive = new NaivePool();
      for (const command of list) {
        run(command, pool, naive);
        expect(pool.freeCount).toBe(naive.free.length);
        expect(HASHES.map(([low, high]) => pool.find(low, high))).toEqual(
          HASHES.map((_, i) => naive.find(i)),
        );
        for (let id = 0; id < BLOCKS; id++) {
          expect(pool.isFree(id)).toBe(naive.free.includes(id));
          expect(pool.isNamed(id)).toBe(naive.named.some((entry) => entry.id === id));
        }
        copies += naive.named.length - new Set(naive.named.map((entry) => entry.hash)).size;
      }
      expect(evicted).toEqual(naive.evicted);
      evictions += evicted.length;
    }),
    { numRuns: 1000 },
  );
  expect(Math.min(evictions, copies)).toBeGreaterThan(1000);
});
