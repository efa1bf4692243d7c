/**
 * The reading side of an index, for any thread: lookups in shared memory without locks. A reader may miss what is being
 * written; it never reports a rank that never held the block.
 *
 * A reader has a record in shared memory (kernel/match.ts, `Reader`). The caller writes a query into `tokens` or `hashes`, asks, and reads the rows.
 *
 *     tokens ─▶ hashes, as far as the lookup asks ─▶ carried to shared memory ─▶ kernel/lookup.ts ─▶ rows
 *     └ this thread's (prompt-memory.ts) ┘
 */
import type { ContextKey, EvictionReason, MatchResult } from "./contract.ts";
import { HOLDER_SLOTS_MAX, LOOKAHEAD_MAX, MATCH_ROW_WORDS, RANK_SLOTS_MAX } from "./contract.ts";
import type { ContextSummary } from "./context-table.ts";
import { CONTEXT_RECORD_BYTES, keyText, listContexts, serialOf, slotOf } from "./context-table.ts";
import { assert } from "../assert.ts";
import { ByteDigester } from "./byte-digester.ts";
import { type HeldGroup, listGroups } from "./group-table.ts";
import { IndexError } from "./index-error.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import { instantiateKernel, reach } from "./kernel.ts";
import { PromptMemory } from "./prompt-memory.ts";
import {
  DIGEST_TOKENS_MIN,
  DIGEST_WORDS,
  DUMP_BLOCK,
  DUMP_DONE,
  DUMP_HOLDER,
  DUMP_ROW_WORDS,
  DUMP_ROWS,
  DUMP_WORDS,
  LOST_TO_CONTEXTS,
  LOST_TO_MEMORY,
  LOST_TO_PREFIXES,
  RANK_WORDS,
  READER_BLOCK_COUNT,
  READER_BLOCK_SIZE,
  READER_CURSOR,
  READER_HASHES,
  READER_LINE,
  READER_LOOKAHEAD,
  READER_ROW_COUNT,
  READER_ROWS,
  READER_WORDS,
  READERS_MAX,
} from "./kernel-boundary.generated.ts";

/** What a reader needs: structured-cloneable, so that it can be posted to other threads of the process. */
export interface SharedPrefixIndex {
  readonly memory: KernelMemory;
}

/** Longest query by default: a million tokens, the longest contexts that engines serve. */
export const QUERY_TOKENS_MAX = 1_048_576;

/** u32 words per row of `PrefixReader.dump`: prefix hash low, high, rank slot, tier, copies. */
export { DUMP_ROW_WORDS };
/** u32 words per digest of `PrefixReader.digestChunks`. */
export { DIGEST_WORDS };
/** `dump` counts holders of one block up to this. */
const HOLDERS = 4 * HOLDER_SLOTS_MAX;
const DUMP_ROWS_MAX = Math.floor((MATCH_ROW_WORDS * RANK_SLOTS_MAX) / DUMP_ROW_WORDS);

/** By the kernel's number of a limit. */
const LIMITS: (EvictionReason | null)[] = [null];
LIMITS[LOST_TO_CONTEXTS] = "context_limit";
LIMITS[LOST_TO_PREFIXES] = "prefix_limit";
LIMITS[LOST_TO_MEMORY] = "memory_limit";
const NO_CONTEXTS: readonly ContextSummary[] = [];

/**
 * Holds the longest query to its range.
 *
 * @throws IndexError `invalid_option`.
 */
export function checkTokensMax(tokensMax: number = QUERY_TOKENS_MAX): number {
  if (Number.isInteger(tokensMax) && tokensMax >= 1 && tokensMax <= 16_777_216) return tokensMax;
  throw new IndexError(
    { code: "invalid_option", option: "tokensMax", actual: tokensMax, expected: "1 … 16777216" },
    `tokensMax is ${tokensMax}, expected a whole number in 1 … 16777216`,
  );
}

/** Where a query is written, and what carries its hashes to the index's memory. */
interface Query {
  readonly prompt: PromptMemory;
  readonly hashes: Uint32Array;
  readonly carry: (from: number, to: number) => void;
}

/** Looks prefixes up. Made per thread; holds a line and buffers in shared memory until `detach`. */
export class PrefixReader {
  readonly #kernel: KernelExports;
  readonly #memory: KernelMemory;
  readonly #at: number;
  readonly #record: Uint32Array;
  readonly #tokensMax: number;
  #query: Query | null = null;
  readonly #rankLosses: Uint32Array;
  readonly #digester: ByteDigester;
  readonly #describeAt: number;
  /** By key without lookahead. Counts in the summaries are of when they were listed. */
  readonly #found = new Map<string, ContextSummary[]>();
  readonly #modelsOfAdapter = new Map<string, readonly string[]>();
  #foundVersion = -1;
  /** Keys of the contexts that were listed, by id. */
  readonly #keys = new Map<number, ContextKey>();
  #keysVersion = -1;
  /** By the number of rows: at most `RANK_SLOTS_MAX` and the empty one. */
  readonly #rowViews: (Uint32Array | undefined)[] = Array.from({ length: RANK_SLOTS_MAX + 1 });
  readonly #result: MatchResult = { blockCount: 0, matchCount: 0, rows: new Uint32Array(0) };

  /** @param prompt - memory of another reader of this thread, for one prompt that both look up; null for one of its own. */
  protected constructor(memory: KernelMemory, tokensMax: number, prompt: PromptMemory | null = null) {
    this.#memory = memory;
    this.#tokensMax = tokensMax;
    this.#kernel = instantiateKernel(memory);
    // A block may have one token.
    this.#at = this.#kernel.readerOpen(tokensMax + LOOKAHEAD_MAX);
    if (this.#at === 0)
      throw new IndexError(
        { code: "too_many_readers", readersMax: READERS_MAX },
        `${READERS_MAX} readers are attached already: detach some`,
      );
    this.#rankLosses = new Uint32Array(
      memory.buffer,
      this.#kernel.rankLossesAt(),
      RANK_WORDS * (RANK_SLOTS_MAX - 1) + 1,
    );
    this.#digester = new ByteDigester(this.#kernel, memory);
    this.#describeAt = this.#kernel.scratchMake(CONTEXT_RECORD_BYTES);
    reach(memory, Math.max(this.#describeAt + CONTEXT_RECORD_BYTES, this.#at + 4 * READER_WORDS));
    this.#record = new Uint32Array(memory.buffer, this.#at, READER_WORDS);
    if (prompt !== null) this.#query = this.#queryIn(prompt);
  }

  /** Token ids of a query, `LOOKAHEAD_MAX` more than the longest prompt. Written by the caller. */
  get tokens(): Uint32Array {
    return this.#ownQuery().prompt.tokens;
  }

  /** Digests of extra keys, shape [2 × blocks], 0 for none. Written by the caller. */
  get extraDigests(): Uint32Array {
    return this.#ownQuery().prompt.extraDigests;
  }

  /** Prefix hashes of a query, shape [2 × blocks], low then high. Written by the caller. */
  get hashes(): Uint32Array {
    return this.#ownQuery().hashes;
  }

  /** Made when it is first asked for: whoever looks nothing up has none. */
  #ownQuery(): Query {
    return (this.#query ??= this.#queryIn(this.#makePrompt()));
  }

  #queryIn(prompt: PromptMemory): Query {
    const hashes = prompt.hashes.subarray(0, 2 * this.#tokensMax);
    return { prompt, hashes, carry: prompt.carrierTo(this.#memory, this.#record[READER_HASHES]) };
  }

  #makePrompt(): PromptMemory {
    this.#kernel.hashSeedRead(this.#describeAt);
    const [low, high, keyed] = new Uint32Array(this.#memory.buffer, this.#describeAt, 3);
    const seed = { value: (BigInt(high) << 32n) | BigInt(low), isKeyed: keyed === 1 };
    return new PromptMemory(seed, this.#tokensMax + LOOKAHEAD_MAX, this.#tokensMax + LOOKAHEAD_MAX);
  }

  /**
   * Attaches to an index of this process.
   *
   * @param shared - `PrefixIndex.shared`, as it is or from a message.
   * @param options - `tokensMax`: longest query in tokens, and in blocks; 36 bytes of address space each, and 33 more up
   *   to 65,536.
   * @throws IndexError `too_many_readers`; `invalid_option` when `tokensMax` is not in 1 … 2²⁴.
   */
  static attach(shared: SharedPrefixIndex, options: { readonly tokensMax?: number } = {}): PrefixReader {
    return new PrefixReader(shared.memory, checkTokensMax(options.tokensMax));
  }

  /** Gives line and buffers back. The reader and its arrays must not be used afterwards. */
  detach(): void {
    this.#digester.release();
    this.#kernel.scratchFree(this.#describeAt);
    this.#kernel.readerEnd(this.#at);
  }

  /** The contexts there are now, in no particular order. */
  contexts(): ContextSummary[] {
    const version = this.#kernel.contextsVersion();
    // Ids are never given twice: a key that is too old is of no context that is listed.
    if (version !== this.#keysVersion) this.#keys.clear();
    this.#keysVersion = version;
    return listContexts(this.#kernel, this.#memory, this.#record[READER_LINE], this.#describeAt, this.#keys);
  }

  /**
   * Blocks that a rank holds in all contexts together, each counted once, whatever the tiers.
   *
   * @param rankSlot - the rank's.
   * @returns 0 for a rank that holds nothing or that there cannot be. One load; a writer may be in the middle of a message.
   */
  rankBlockCount(rankSlot: number): number {
    return rankSlot >= 0 && rankSlot < RANK_SLOTS_MAX ? this.#kernel.rankBlocks(rankSlot) : 0;
  }

  /**
   * The limit that last took blocks of a rank since it was cleared: it under-reports. Asked after a lookup, it is true of what
   * the lookup saw. One load.
   *
   * @param rankSlot - 0 … RANK_SLOTS_MAX − 1.
   * @returns null when no limit took any.
   */
  rankLostTo(rankSlot: number): EvictionReason | null {
    return LIMITS[Atomics.load(this.#rankLosses, RANK_WORDS * rankSlot)] ?? null;
  }

  /** The id of a context, −1 when there is none with this key. A Map lookup, while contexts neither come nor go. */
  findContext(key: ContextKey): number {
    return this.findContexts(key).find(({ key: { lookahead } }) => lookahead === key.lookahead)?.id ?? -1;
  }

  /**
   * The contexts with this model, adapter and block size, one for each lookahead in use. A Map lookup, while
   * contexts neither come nor go.
   */
  findContexts({ model, loraName, blockSize }: Omit<ContextKey, "lookahead">): readonly ContextSummary[] {
    this.#findAgain();
    return this.#found.get(keyText({ model, loraName, blockSize, lookahead: 0 })) ?? NO_CONTEXTS;
  }

  /**
   * The models in which blocks of this adapter were stored, each once. A Map lookup, while contexts neither come nor go.
   *
   * @param loraName - the adapter.
   * @returns none when there is no such context.
   */
  modelsWithAdapter(loraName: string): readonly string[] {
    this.#findAgain();
    return this.#modelsOfAdapter.get(loraName) ?? [];
  }

  #findAgain(): void {
    const version = this.#kernel.contextsVersion();
    if (version === this.#foundVersion) return;
    this.#found.clear();
    this.#modelsOfAdapter.clear();
    for (const found of this.contexts()) {
      const { model, loraName } = found.key;
      const text = keyText({ ...found.key, lookahead: 0 });
      this.#found.set(text, [...(this.#found.get(text) ?? []), found]);
      if (loraName === null) continue;
      const models = this.#modelsOfAdapter.get(loraName) ?? [];
      if (!models.includes(model)) this.#modelsOfAdapter.set(loraName, [...models, model]);
    }
    this.#foundVersion = version;
  }

  /**
   * The KV-cache groups of a rank, its main one first.
   *
   * @param rankSlot - 0 … RANK_SLOTS_MAX − 1.
   * @returns none before the rank's first store. O(groups).
   */
  groups(rankSlot: number): HeldGroup[] {
    return listGroups(this.#kernel, this.#memory, rankSlot);
  }

  /** Whether any rank has KV-cache groups beside its main one. One load. */
  get hasGroups(): boolean {
    return this.#kernel.groupsOpen() > 0;
  }

  /**
   * XXH3-64 of any bytes with the index's seed, for digests of extra keys.
   *
   * @param bytes - at most 1 MiB.
   * @param out - receives low and high at `index`, `index + 1`.
   * @throws IndexError `too_many_bytes`.
   */
  digestBytes(bytes: Uint8Array, out: Uint32Array, index: number): void {
    this.#digester.digest(bytes, out, index);
  }

  /**
   * Looks up the prompt in `tokens` (and `extraDigests`).
   *
   * @param contextId - from `findContext` or `openContext`; of a context that is gone nothing matches.
   * @param tokenCount - tokens in the prompt; what does not fill a block is left out.
   * @returns the reader's own object, valid until its next call. O(matched blocks + set changes × ranks / 64).
   * @throws IndexError `too_many_tokens` when the prompt is longer than `tokens`.
   */
  matchTokens(contextId: number, tokenCount: number, hasExtra: boolean): MatchResult {
    this.checkTokenCount(tokenCount);
    return this.#match(contextId, tokenCount, true, hasExtra);
  }

  /**
   * Digests the chunks of the prompt in `tokens`, for memories of prompts: one seed or another gives the same. They take the place
   * of `hashes`.
   *
   * @param tokenCount - tokens in the prompt; what does not fill a chunk is left out.
   * @param chunkTokens - a multiple of `DIGEST_TOKENS_MIN`.
   * @returns `DIGEST_WORDS` words per chunk: a view, valid until the reader's next call.
   * @throws IndexError `too_many_tokens` when the prompt is longer than `tokens`.
   */
  digestChunks(tokenCount: number, chunkTokens: number): Uint32Array {
    this.checkTokenCount(tokenCount);
    assert(
      chunkTokens > 0 && chunkTokens % DIGEST_TOKENS_MIN === 0,
      "a chunk has whole rounds of the kernel's",
    );
    const count = Math.floor(tokenCount / chunkTokens);
    return this.#ownQuery().prompt.digestChunks(chunkTokens, count);
  }

  /**
   * Looks up the prefix hashes in `hashes`.
   *
   * @param contextId - as in `matchTokens`.
   * @param blockCount - hashes given.
   * @returns the reader's own object, valid until its next call.
   * @throws IndexError `too_many_blocks` when there are more than `hashes` holds.
   */
  matchHashes(contextId: number, blockCount: number): MatchResult {
    this.checkHashCount(blockCount);
    return this.#match(contextId, blockCount, false, false);
  }

  /**
   * Holds a query to what `tokens` has room for.
   *
   * @throws IndexError `too_many_tokens`.
   */
  protected checkTokenCount(tokenCount: number): void {
    if (tokenCount <= this.#tokensMax + LOOKAHEAD_MAX) return;
    throw new IndexError(
      { code: "too_many_tokens", actual: tokenCount, expectedMax: this.#tokensMax + LOOKAHEAD_MAX },
      `a query of ${tokenCount} tokens does not fit: at most ${this.#tokensMax + LOOKAHEAD_MAX}`,
    );
  }

  /**
   * The same for `hashes`.
   *
   * @throws IndexError `too_many_blocks`.
   */
  protected checkHashCount(blockCount: number): void {
    const blocksMax = this.#tokensMax;
    if (blockCount <= blocksMax) return;
    throw new IndexError(
      { code: "too_many_blocks", actual: blockCount, expectedMax: blocksMax },
      `a query of ${blockCount} blocks does not fit: at most ${blocksMax}`,
    );
  }

  /** Hashes blocks of `tokens` into `hashes`: `count` of them from block `from` on; those before it are there. */
  protected hashTokens(
    { blockSize, lookahead }: Omit<ContextKey, "model" | "loraName">,
    from: number,
    count: number,
    hasExtra: boolean,
  ): void {
    this.#ownQuery().prompt.hash(blockSize, lookahead, from, from + count, hasExtra, null);
  }

  /** A reader of another index with the same seed, which looks up what is in `hashes` of this one. */
  protected attachBeside(other: SharedPrefixIndex): PrefixReader {
    return new PrefixReader(other.memory, this.#tokensMax, this.#ownQuery().prompt);
  }

  /** Raised when a context of this memory is made or dropped. */
  get contextsVersion(): number {
    return this.#kernel.contextsVersion();
  }

  /** The rank that a holder slot of a dump belongs to. */
  ownerOf(holderSlot: number): number {
    return this.#kernel.holderOwner(holderSlot);
  }

  #match(contextId: number, count: number, isTokens: boolean, hasExtra: boolean): MatchResult {
    const record = this.#record;
    // Before the lookup begins: one that begins and does not end would keep the writer's memory for good.
    const query = this.#ownQuery();
    const isThere = this.#kernel.readerBegin(this.#at, slotOf(contextId), serialOf(contextId)) !== 0;
    const blockCount = !isTokens ? count : isThere ? this.#blocksOf(count) : 0;
    if (isThere) this.#walk(query, blockCount, isTokens, hasExtra);
    const result = this.#result;
    const matchCount = record[READER_ROW_COUNT];
    result.blockCount = blockCount;
    result.matchCount = matchCount;
    result.rows = this.#rowViews[matchCount] ?? this.#viewRows(matchCount);
    return result;
  }

  /** Full blocks of so many tokens, in the context of the lookup at hand. */
  #blocksOf(tokenCount: number): number {
    const { [READER_BLOCK_SIZE]: blockSize, [READER_LOOKAHEAD]: lookahead } = this.#record;
    return tokenCount < lookahead ? 0 : Math.floor((tokenCount - lookahead) / blockSize);
  }

  /** Goes through a lookup that has begun, with as many hashes as it asks for. */
  #walk({ prompt, carry }: Query, blockCount: number, isTokens: boolean, hasExtra: boolean): void {
    const record = this.#record;
    record[READER_BLOCK_COUNT] = blockCount;
    for (let ready = 0; ; ) {
      const asked = this.#kernel.readerMatch(this.#at, ready);
      if (asked === 0) return;
      // To carry a hash takes a twentieth of making it: the whole query is a few calls.
      const wanted = isTokens ? asked : Math.min(4 * asked, blockCount);
      if (isTokens)
        prompt.hash(record[READER_BLOCK_SIZE], record[READER_LOOKAHEAD], ready, wanted, hasExtra, null);
      carry(ready, wanted);
      ready = wanted;
    }
  }

  /** Makes the view of so many rows, once: making one takes longer than a short lookup. */
  #viewRows(matchCount: number): Uint32Array {
    const record = this.#record;
    const view = new Uint32Array(record.buffer, record[READER_ROWS], MATCH_ROW_WORDS * matchCount);
    this.#rowViews[matchCount] = view;
    return view;
  }

  /**
   * What a context holds, page by page, for audits and snapshots. What is written meanwhile may be in it or not. Ends the
   * validity of the last `MatchResult`.
   *
   * @param cursor - 0 to begin, then what the last call returned.
   * @param out - receives rows of `DUMP_ROW_WORDS` words: prefix hash low, high, rank slot, tier, copies.
   * @returns the next cursor, −1 at the end; and the rows written. Nothing of a context that is gone.
   */
  dump(contextId: number, cursor: number, out: Uint32Array): { cursor: number; rows: number } {
    const record = this.#record;
    const state = new Uint32Array(record.buffer, record[READER_CURSOR], DUMP_WORDS);
    state[DUMP_BLOCK] = Math.floor(cursor / HOLDERS);
    state[DUMP_HOLDER] = cursor % HOLDERS;
    const capacity = Math.floor(out.length / DUMP_ROW_WORDS);
    let rows = 0;
    for (;;) {
      const page = Math.min(DUMP_ROWS_MAX, capacity - rows);
      this.#kernel.readerDump(this.#at, slotOf(contextId), serialOf(contextId), record[READER_ROWS], page);
      const written = state[DUMP_ROWS];
      out.set(
        new Uint32Array(record.buffer, record[READER_ROWS], written * DUMP_ROW_WORDS),
        rows * DUMP_ROW_WORDS,
      );
      rows += written;
      if (state[DUMP_DONE] === 1) return { cursor: -1, rows };
      if (rows === capacity) return { cursor: state[DUMP_BLOCK] * HOLDERS + state[DUMP_HOLDER], rows };
    }
  }
}
