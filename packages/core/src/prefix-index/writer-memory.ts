/**
 * The memory of an index, and a writer's scratch in it: the input of the next call, and the kernel's reports.
 *
 *     scratch of one writer   tokens │ hashes │ extra digests │ prefix hashes │ skips │ notes │ report │ context record │ name
 *
 * Views are made when the memory reaches beyond the last of them: a view does not grow with its memory.
 */
import { CONTEXT_NAME_BYTES_MAX, CONTEXT_RECORD_BYTES } from "./context-table.ts";
import { DEFAULT_HASH_SEED, type IndexScratch, LOOKAHEAD_MAX } from "./contract.ts";
import { REPORT_WORDS } from "./index-report.ts";
import type { IndexLimits } from "./index-options.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import { makeKernelMemory, PAGE_BYTES, PAGES_MAX, reach } from "./kernel.ts";

/** The platform's random numbers: core is compiled without ambient types. */
declare const crypto: { getRandomValues(words: Uint32Array): Uint32Array };

/** Longest run of one store, in tokens: the longest prompt that engines serve. */
export const STORE_TOKENS_MAX = 1_048_576;
/** Longest run of one store, remove or known store, in blocks. */
export const STORE_BLOCKS_MAX = 262_144;

/** Memory beside what the limit counts: scratch, readers' buffers, and holes between blocks. */
const MEMORY_SLACK_BYTES = 268_435_456;
/** Kernel's fixed part and the scratch of a writer fit in the first growths; see kernel/layout.ts. */
const PAGES_FIRST = 16;

/** A writer's scratch: views for callers, addresses for the kernel. */
export interface WriterScratch extends IndexScratch {
  readonly skips: Uint8Array;
  readonly notes: Uint8Array;
  readonly tokensAt: number;
  readonly hashesAt: number;
  readonly extrasAt: number;
  readonly prefixesAt: number;
  readonly skipsAt: number;
  readonly notesAt: number;
  readonly reportAt: number;
  readonly describeAt: number;
  readonly nameAt: number;
}

/** A memory that may grow to what the limit needs. */
export function makeIndexMemory({ memoryBytesMax }: IndexLimits): KernelMemory {
  const pagesMax = Math.ceil((memoryBytesMax * 1.25 + MEMORY_SLACK_BYTES) / PAGE_BYTES);
  return makeKernelMemory(PAGES_FIRST, Math.min(PAGES_MAX, pagesMax));
}

/** Makes an empty index in a fresh memory. */
export function initialiseIndex(kernel: KernelExports, limits: IndexLimits): void {
  const seed = BigInt.asUintN(64, BigInt(limits.seed ?? DEFAULT_HASH_SEED));
  kernel.hashSeed(Number(seed & 0xffff_ffffn), Number(seed >> 32n), Number(limits.keyedHashes ?? false));
  const [low0, low1, high0, high1] = limits.secret ?? crypto.getRandomValues(new Uint32Array(4));
  kernel.tableSecret(low0, low1, high0, high1);
  kernel.indexInit(limits.memoryBytesMax, limits.contextCountMax, limits.prefixesPerContextMax);
}

/** Takes a writer's scratch from the index's memory. */
export function makeWriterScratch(kernel: KernelExports, memory: KernelMemory): WriterScratch {
  const ends: number[] = [];
  const take = (bytes: number): number => {
    const at = kernel.scratchMake(bytes);
    ends.push(at + bytes);
    return at;
  };
  const tokensAt = take(4 * (STORE_TOKENS_MAX + LOOKAHEAD_MAX));
  const hashesAt = take(8 * STORE_BLOCKS_MAX);
  const extrasAt = take(8 * STORE_BLOCKS_MAX);
  const prefixesAt = take(8 * STORE_BLOCKS_MAX);
  const skipsAt = take(STORE_BLOCKS_MAX);
  const notesAt = take(STORE_BLOCKS_MAX);
  const reportAt = take(4 * REPORT_WORDS);
  const describeAt = take(CONTEXT_RECORD_BYTES);
  const nameAt = take(CONTEXT_NAME_BYTES_MAX);
  reach(memory, Math.max(...ends));
  return {
    tokens: new Uint32Array(memory.buffer, tokensAt, STORE_TOKENS_MAX + LOOKAHEAD_MAX),
    hashes: new Uint32Array(memory.buffer, hashesAt, 2 * STORE_BLOCKS_MAX),
    extraDigests: new Uint32Array(memory.buffer, extrasAt, 2 * STORE_BLOCKS_MAX),
    skips: new Uint8Array(memory.buffer, skipsAt, STORE_BLOCKS_MAX),
    notes: new Uint8Array(memory.buffer, notesAt, STORE_BLOCKS_MAX),
    tokensAt,
    hashesAt,
    extrasAt,
    prefixesAt,
    skipsAt,
    notesAt,
    reportAt,
    describeAt,
    nameAt,
  };
}
