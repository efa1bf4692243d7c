/**
 * A large world of prompts and engines, for scale, churn and benchmarks: a tree of runs, as conversations make it. A run is
 * a row of blocks behind one parent block; a system prompt is a run at the root that many others continue.
 *
 *     run 0   ▢▢▢▢▢▢▢▢▢▢▢▢                 block number = position over all runs: 0 … blockCount − 1
 *     run 1         └▢▢▢▢▢▢                 parent of its first block: a block of an older run
 *     run 2             └▢▢▢▢▢▢▢
 *
 * All columns are flat, made once and seeded. Engines name block b by a mix of b and their seed. Tests and benchmarks only.
 */
import { hexAt, type ReferenceHash, wordsOf } from "../../block-hash/testing/reference-hash.ts";
import { Prng } from "../../prng.ts";
import type { IndexScratch } from "../contract.ts";

/** What a world is like. */
export interface FleetShape {
  readonly blockCount: number;
  readonly blockSize: number;
  /** Blocks of a run: 1 … this. */
  readonly runBlocksMax: number;
  /** Of 100 runs, how many are roots. */
  readonly rootPercent: number;
  readonly seed: number;
}

/** The blocks of a world and how they follow each other. */
export class FleetWorld {
  readonly blockSize: number;
  readonly blockCount: number;
  /** First block of each run; one more entry, the block count, ends it. */
  readonly runStarts: readonly number[];
  /** Block → its parent block, −1 at a root. */
  readonly parents: Int32Array;
  /** Token ids of all blocks. */
  readonly tokens: Uint32Array;

  constructor({ blockCount, blockSize, runBlocksMax, rootPercent, seed }: FleetShape) {
    const random = new Prng(seed);
    this.blockSize = blockSize;
    this.blockCount = blockCount;
    this.parents = new Int32Array(blockCount);
    this.tokens = Uint32Array.from({ length: blockCount * blockSize }, () => random.below(128_000));
    const starts: number[] = [];
    for (let block = 0; block < blockCount; ) {
      starts.push(block);
      const isRoot = block === 0 || random.chance(rootPercent / 100);
      this.parents[block] = isRoot ? -1 : random.below(block);
      const end = Math.min(blockCount, block + 1 + random.below(runBlocksMax));
      for (block++; block < end; block++) this.parents[block] = block - 1;
    }
    this.runStarts = [...starts, blockCount];
  }

  /** The blocks of the prompt that ends with `block`, first one first. */
  pathTo(block: number): number[] {
    const path: number[] = [];
    for (let at = block; at >= 0; at = this.parents[at]) path.push(at);
    return path.reverse();
  }

  /** Writes the names that an engine with this seed gives these blocks. */
  writeNames(scratch: IndexScratch, blocks: ArrayLike<number>, engineSeed: number): void {
    const { hashes } = scratch;
    for (let i = 0; i < blocks.length; i++) {
      hashes[2 * i] = nameLow(blocks[i], engineSeed);
      hashes[2 * i + 1] = nameHigh(blocks[i], engineSeed);
    }
  }

  /** Writes the tokens of these blocks. */
  writeTokens(scratch: IndexScratch, blocks: ArrayLike<number>): void {
    const { blockSize, tokens } = this;
    for (let i = 0; i < blocks.length; i++) {
      const start = blocks[i] * blockSize;
      scratch.tokens.set(tokens.subarray(start, start + blockSize), i * blockSize);
    }
  }

  /** Prefix hashes of all blocks, shape [2 × blockCount], low then high. */
  prefixHashes(hash: ReferenceHash): Uint32Array {
    const { blockCount, blockSize, parents, tokens } = this;
    const locals = hash.locals(tokens, blockCount, blockSize, 0, null);
    const hashes = new Uint32Array(2 * blockCount);
    locals.forEach((local, block) => {
      const parent = parents[block];
      const [prefix] = hash.prefixes([local], parent < 0 ? null : hexAt(hashes, parent));
      hashes.set(wordsOf(prefix), 2 * block);
    });
    return hashes;
  }
}

/** Low word of the name that an engine gives a block. */
export function nameLow(block: number, engineSeed: number): number {
  return (Math.imul(block + 1, 0x9e37_79b1) ^ Math.imul(engineSeed + 1, 0x85eb_ca6b)) >>> 0;
}

/** High word of the name that an engine gives a block. */
export function nameHigh(block: number, engineSeed: number): number {
  const mixed = Math.imul((block ^ (block >>> 15)) + 0x7f4a_7c15, 0xc2b2_ae35);
  return ((mixed ^ (mixed >>> 13)) + Math.imul(engineSeed, 0x27d4_eb2f)) >>> 0;
}
