/**
 * The contexts of an index as both sides see them in shared memory: no messages are needed to find or list them.
 *
 *     id      serial × 4,096 + slot: a serial is never given twice, so an id is not either
 *     record  kernel/dump.ts, `ContextRecord` │ name
 *     name    JSON [model, LoRA name] in UTF-8
 */
import { lenientUtf8, utf8 } from "../text-codec.ts";
import type { ContextKey } from "./contract.ts";
import { IndexError } from "./index-error.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import {
  CONTEXT_BLOCK_SIZE,
  CONTEXT_BYTES,
  CONTEXT_LOOKAHEAD,
  CONTEXT_MAPPING_COUNT,
  CONTEXT_NAME_LENGTH,
  CONTEXT_PREFIX_COUNT,
  CONTEXT_SERIAL,
  CONTEXT_WORDS,
} from "./kernel-boundary.generated.ts";

/** What is known of a context. */
export interface ContextSummary {
  readonly id: number;
  readonly key: ContextKey;
  /** Distinct prefixes that anybody holds. */
  readonly prefixCount: number;
  /** Engine hashes known, over all ranks. */
  readonly mappingCount: number;
  /** Memory that the context takes. */
  readonly bytes: number;
}

/** Longest name of a context, model and adapter together: names are paths or repository ids, a few hundred bytes at most. */
export const CONTEXT_NAME_BYTES_MAX = 4096;

const SLOTS = 4096;
const RECORD_BYTES = 4 * CONTEXT_WORDS;
/** Bytes that `summaryAt` needs. */
export const CONTEXT_RECORD_BYTES: number = RECORD_BYTES + CONTEXT_NAME_BYTES_MAX;

/** The id of the context with this slot and serial. */
export function contextIdOf(slot: number, serial: number): number {
  return serial * SLOTS + slot;
}

/** The slot in a context id. */
export function slotOf(contextId: number): number {
  return contextId % SLOTS;
}

/** The serial in a context id. */
export function serialOf(contextId: number): number {
  return Math.floor(contextId / SLOTS);
}

/**
 * A context's name as it lies in shared memory.
 *
 * @throws IndexError `context_name_too_long`.
 */
export function encodeName(key: ContextKey): Uint8Array {
  const bytes = utf8.encode(JSON.stringify([key.model, key.loraName]));
  if (bytes.length > CONTEXT_NAME_BYTES_MAX)
    throw new IndexError(
      { code: "context_name_too_long", bytes: bytes.length, bytesMax: CONTEXT_NAME_BYTES_MAX },
      `the names of model and adapter take ${bytes.length} bytes, at most ${CONTEXT_NAME_BYTES_MAX} are kept`,
    );
  return bytes;
}

/** Equal for equal keys only: for Maps. */
export function keyText(key: ContextKey): string {
  return JSON.stringify([key.model, key.loraName, key.blockSize, key.lookahead]);
}

/**
 * The contexts there are, read from shared memory.
 *
 * @param readerLine - line of the reader that asks; −1 for the writer.
 * @param recordAt - address of `CONTEXT_RECORD_BYTES` of the caller's.
 * @param keys - by id, of contexts that were listed before: theirs are not read again. Receives the others.
 */
export function listContexts(
  kernel: KernelExports,
  memory: KernelMemory,
  readerLine: number,
  recordAt: number,
  keys: Map<number, ContextKey> = new Map(),
): ContextSummary[] {
  const summaries: ContextSummary[] = [];
  for (let slot = 0; slot < kernel.contextSlotCount(); slot++) {
    // Most slots are empty: one load each, where a description takes a fence, a record and a view of it.
    if (kernel.contextSerial(slot) === 0) continue;
    kernel.contextDescribe(readerLine, slot, recordAt);
    const words = new Uint32Array(memory.buffer, recordAt, CONTEXT_WORDS);
    if (words[CONTEXT_SERIAL] === 0) continue;
    const id = contextIdOf(slot, words[CONTEXT_SERIAL]);
    const key = keys.get(id) ?? readKey(memory, recordAt, words);
    keys.set(id, key);
    summaries.push({
      id,
      key,
      prefixCount: words[CONTEXT_PREFIX_COUNT],
      mappingCount: words[CONTEXT_MAPPING_COUNT],
      bytes: words[CONTEXT_BYTES],
    });
  }
  return summaries;
}

function readKey(memory: KernelMemory, recordAt: number, words: Uint32Array): ContextKey {
  // Copied, as a decoder refuses memory that other threads may change.
  const name = new Uint8Array(memory.buffer, recordAt + RECORD_BYTES, words[CONTEXT_NAME_LENGTH]).slice();
  const [model, loraName] = JSON.parse(lenientUtf8.decode(name)) as [string, string | null];
  return { model, loraName, blockSize: words[CONTEXT_BLOCK_SIZE], lookahead: words[CONTEXT_LOOKAHEAD] };
}
