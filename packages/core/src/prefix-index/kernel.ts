/**
 * The compiled kernels (kernel/, AssemblyScript): their bytes made a module once per thread, and an instance of it per user.
 *
 *     thread A                thread B
 *     ┌──────────┐            ┌──────────┐
 *     │ instance │            │ instance │     no state of their own
 *     └────┬─────┘            └────┬─────┘
 *          └──── one shared WebAssembly.Memory ────┘     all state
 *
 * The one of prompts (kernel/prompt.ts) is over a memory of its own for each user, which is not shared.
 *
 * The few members of the platform that are used here are declared here: core is compiled without ambient types.
 */
import { assert } from "../assert.ts";
import { CARRY_BASE64 } from "./carry.generated.ts";
import { KERNEL_BASE64 } from "./kernel.generated.ts";
import { PROMPT_KERNEL_BASE64 } from "./prompt-kernel.generated.ts";

/** Bytes of a page of linear memory. */
export const PAGE_BYTES = 65_536;
/** Pages that 32-bit addresses reach: 4 GiB. The kernel is compiled for this maximum. */
export const PAGES_MAX = 65_536;

/** Looks at a growing memory before it is taken as broken; one or two do. */
const REACH_ATTEMPTS_MAX = 1_000_000;

/** A shared `WebAssembly.Memory`. It grows, and each growth leaves older views of `buffer` too short, never wrong. */
export interface KernelMemory {
  readonly buffer: SharedArrayBuffer;
  /** Growing by 0 pages makes `buffer` as long as other threads have made the memory. */
  grow(pages: number): number;
}

/** What kernel/index.ts exports, where it is told what each does; addresses are byte offsets in the memory. */
export interface KernelExports {
  hashSeed(low: number, high: number, isKeyed: number): void;
  hashSeedRead(out: number): void;
  tableSecret(low0: number, low1: number, high0: number, high1: number): void;
  hashDigest(at: number, bytes: number, out: number): void;
  indexInit(memoryBytesMax: number, contextsMax: number, prefixesMax: number): void;
  scratchMake(bytes: number): number;
  scratchFree(at: number): void;
  contextMake(
    blockSize: number,
    lookahead: number,
    name: number,
    nameBytes: number,
    rankSlot: number,
  ): number;
  contextSerial(slot: number): number;
  contextDescribe(readerLine: number, slot: number, out: number): void;
  contextSlotCount(): number;
  contextsVersion(): number;
  rankBlocks(rankSlot: number): number;
  rankLossesAt(): number;
  rankOwner(rankSlot: number, owner: number): void;
  indexStats(out: number): void;
  evictionsTake(out: number): void;
  hasEvictions(): number;
  indexStore(
    slot: number,
    serial: number,
    rankSlot: number,
    tier: number,
    count: number,
    hasParent: number,
    parentLow: number,
    parentHigh: number,
    tokens: number,
    engineHashes: number,
    extras: number,
    skips: number,
    prefixes: number,
    repeats: number,
    notes: number,
  ): number;
  indexHas(slot: number, serial: number, rankSlot: number, low: number, high: number): boolean;
  indexNoteHeld(holderSlot: number, tier: number, count: number, engineHashes: number, notes: number): void;
  indexStoreKnown(rankSlot: number, tier: number, count: number, engineHashes: number): number;
  indexRemove(rankSlot: number, tier: number, count: number, engineHashes: number, misses: number): number;
  indexStoreNamed(slot: number, tier: number, count: number, engineHashes: number, misses: number): number;
  rankMain(rankSlot: number, blockSize: number, index: number, kind: number): void;
  rankGroup(
    rankSlot: number,
    index: number,
    rule: number,
    kind: number,
    window: number,
    blockSize: number,
    first: number,
    step: number,
  ): number;
  rankGroupAt(
    slot: number,
    rankSlot: number,
    index: number,
    rule: number,
    kind: number,
    window: number,
    blockSize: number,
  ): void;
  groupsAt(): number;
  groupsVersion(): number;
  groupsOpen(): number;
  holderOwner(slot: number): number;
  groupNext(slot: number): number;
  indexClear(rankSlot: number): void;
  indexCheck(out: number): number;
  indexExport(slot: number, cursor: number, out: number, rowsMax: number): void;
  indexExportHolder(slot: number, holderSlot: number, cursor: number, out: number, rowsMax: number): void;
  rankContexts(rankSlot: number, out: number): number;
  indexImport(
    slot: number,
    rankSlot: number,
    tier: number,
    count: number,
    prefixes: number,
    engineHashes: number,
  ): number;
  rankContextFirst(slot: number, rankSlot: number): void;
  readerOpen(blocks: number): number;
  readerEnd(reader: number): void;
  readerBegin(reader: number, slot: number, serial: number): number;
  readerMatch(reader: number, ready: number): number;
  readerDump(reader: number, slot: number, serial: number, out: number, rowsMax: number): void;
}

/** A memory of one thread; it does not grow, so that views of it stay good. */
export interface PromptKernelMemory {
  readonly buffer: ArrayBuffer;
}

/** What kernel/prompt.ts exports, where it is told what each does. */
export interface PromptKernelExports {
  promptSeed(low: number, high: number, isKeyed: number): void;
  promptDigest(at: number, bytes: number, out: number): void;
  promptHash(
    tokens: number,
    blockBytes: number,
    hashedBytes: number,
    extras: number,
    isRoot: number,
    parentLow: number,
    parentHigh: number,
    count: number,
    out: number,
  ): void;
  promptChunks(at: number, chunkBytes: number, count: number, out: number): void;
}

/** What kernel/carry.wat exports. */
export interface CarryExports {
  readonly carry: (to: number, from: number, bytes: number) => void;
}

interface WebAssemblyNamespace {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
  readonly Memory: {
    new (descriptor: { initial: number; maximum: number; shared: true }): KernelMemory;
    new (descriptor: { initial: number; maximum: number }): PromptKernelMemory;
  };
}

const { atob, WebAssembly } = globalThis as unknown as {
  atob: (base64: string) => string;
  WebAssembly: WebAssemblyNamespace;
};

let compiledModule: object | undefined;
let compiledPromptModule: object | undefined;
let compiledCarryModule: object | undefined;

/**
 * Makes a shared memory for a kernel.
 *
 * @param pages - pages to begin with.
 * @param pagesMax - pages it may grow to; at most `PAGES_MAX`. Address space is reserved, memory is not.
 */
export function makeKernelMemory(pages: number, pagesMax: number): KernelMemory {
  return new WebAssembly.Memory({ initial: pages, maximum: pagesMax, shared: true });
}

/**
 * Makes a memory that no other thread has large enough.
 *
 * @param bytes - that it has to have at least.
 * @throws RangeError when that is beyond its maximum.
 */
export function growTo(memory: KernelMemory, bytes: number): void {
  const missing = Math.ceil((bytes - memory.buffer.byteLength) / PAGE_BYTES);
  if (missing > 0) memory.grow(missing);
}

/**
 * Makes `memory.buffer` reach an address that the kernel has given out. Other threads make the memory larger, too, and a
 * thread that looks while several do may for a moment be shown less than there is.
 *
 * @param end - first byte behind what is wanted.
 */
export function reach(memory: KernelMemory, end: number): void {
  for (let attempt = 0; memory.buffer.byteLength < end; attempt++) {
    assert(
      attempt < REACH_ATTEMPTS_MAX,
      () => `memory of ${memory.buffer.byteLength} bytes does not reach ${end}`,
    );
    memory.grow(0);
  }
}

/** Makes an instance of the kernel over `memory`, synchronously; the first of a thread compiles, about 20 ms. */
export function instantiateKernel(memory: KernelMemory): KernelExports {
  compiledModule ??= compile(KERNEL_BASE64);
  return new WebAssembly.Instance(compiledModule, { env: { memory } }).exports as KernelExports;
}

/**
 * Makes a memory for one thread's prompts.
 *
 * @param pages - pages that it has.
 */
export function makePromptMemory(pages: number): PromptKernelMemory {
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}

/** Makes an instance of the kernel of prompts over `memory`. */
export function instantiatePromptKernel(memory: PromptKernelMemory): PromptKernelExports {
  compiledPromptModule ??= compile(PROMPT_KERNEL_BASE64);
  return new WebAssembly.Instance(compiledPromptModule, { env: { memory } }).exports as PromptKernelExports;
}

/** Makes an instance that copies from `prompt` to `index`. */
export function instantiateCarry(index: KernelMemory, prompt: PromptKernelMemory): CarryExports {
  compiledCarryModule ??= compile(CARRY_BASE64);
  return new WebAssembly.Instance(compiledCarryModule, { env: { index, prompt } }).exports as CarryExports;
}

function compile(base64: string): object {
  return new WebAssembly.Module(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
}
