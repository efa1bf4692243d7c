/**
 * Several indexes read as one: each of several writers has a part in a memory of its own, and a rank is in one part.
 *
 *     tokens ─▶ hashes of a piece, once ─────────┬▶ part 0 ─▶ rows of its ranks ─┐
 *        ▲                                       ├▶ part 1 ─▶ rows of its ranks ─┼─▶ rows
 *        └── as far as the longest match ◀───────┴▶ …                           ─┘
 *
 * It is itself the reader of part 0. All parts read the query from one memory, which is this thread's. A row is a rank's, so rows of parts are put one behind the
 * other, and none is added to another. Facts of one rank are asked of its home.
 *
 * A context is in each part that has a rank that stored to it. Its id here is this reader's own.
 *
 * Invariants (prefix-index.model.test.ts, parts-reader.test.ts, parts-reader.concurrency.test.ts)
 *  Q1  An answer is that of one index which all writers write.
 *  Q2  A prompt is hashed once, to at most four times the length of its longest match and `PIECE`.
 *  Q3  Each rank's rows are from one part, also while ranks move (H1, H2 of rank-homes.ts).
 *  Q4  An id is of one key for as long as a part has a context with it, and is never given twice.
 *  Q5  Contexts are listed after the ranks' homes were copied. A part that a rank comes to makes the context before it becomes the
 *      rank's home. All parts had the listed contexts at one moment.
 *
 * Counts of contexts are sums over the parts: a block that ranks of two parts hold is counted in both.
 */
import { type ContextSummary, keyText } from "./context-table.ts";
import {
  type ContextKey,
  type EvictionReason,
  MATCH_ROW_WORDS,
  type MatchResult,
  RANK_SLOTS_MAX,
} from "./contract.ts";
import type { HeldGroup } from "./group-table.ts";
import { checkTokensMax, DUMP_ROW_WORDS, PrefixReader, type SharedPrefixIndex } from "./prefix-reader.ts";
import { RankHomes } from "./rank-homes.ts";

/** Blocks that are hashed and asked first: a prompt of 4,096 tokens at the usual block size is asked once. */
const PIECE = 256;
/** How much longer the next try is, where the longest match goes to the end of the last one. */
const GROWTH = 4;
/** Lookups of one query while ranks change their homes, and lists of contexts: a fleet changes some in a second. */
const ATTEMPTS_MAX = 16;
const NOWHERE = -1;

/** Parts of an index: structured-cloneable, so that they can be posted to other threads of the process. */
export interface SharedIndexParts {
  /** At least one; with the same seed. */
  readonly parts: readonly SharedPrefixIndex[];
  /** Memory of `RankHomes`. */
  readonly homes: SharedArrayBuffer;
}

/** A context that a part has. */
interface PartsContext {
  readonly id: number;
  readonly key: ContextKey;
  /** Its id in each part; `NOWHERE` where it is not. */
  readonly ids: readonly number[];
}

/**
 * Makes the reader of a whole index, for the calling thread.
 *
 * @param shared - its parts; the reader of a single one is that part's.
 * @param options - as for `PrefixReader.attach`.
 * @throws IndexError as `PrefixReader.attach`.
 */
export function attachReader(
  { parts, homes }: SharedIndexParts,
  options: { readonly tokensMax?: number } = {},
): PrefixReader {
  const [first, ...others] = parts;
  if (others.length === 0) return PrefixReader.attach(first, options);
  return new PartsReader(first, others, RankHomes.attach(homes), checkTokensMax(options.tokensMax));
}

class PartsReader extends PrefixReader {
  readonly #others: readonly PrefixReader[];
  readonly #homes: RankHomes;
  /** As they were at a number of changes (H2). */
  readonly #homeOf = new Uint8Array(RANK_SLOTS_MAX);
  #homesChanges = -1;
  #contexts = new Map<number, PartsContext>();
  #ids = new Map<string, number>();
  #lastId = 0;
  readonly #versions: number[];
  /** By key without lookahead. */
  readonly #found = new Map<string, ContextSummary[]>();
  readonly #modelsOfAdapter = new Map<string, string[]>();
  readonly #rows = new Uint32Array(MATCH_ROW_WORDS * RANK_SLOTS_MAX);
  readonly #rowViews: (Uint32Array | undefined)[] = Array.from({ length: RANK_SLOTS_MAX + 1 });
  readonly #result: MatchResult = { blockCount: 0, matchCount: 0, rows: this.#rows.subarray(0, 0) };
  #rowCount = 0;

  constructor(
    first: SharedPrefixIndex,
    others: readonly SharedPrefixIndex[],
    homes: RankHomes,
    tokensMax: number,
  ) {
    super(first.memory, tokensMax);
    this.#others = others.map((other) => this.attachBeside(other));
    this.#homes = homes;
    this.#versions = others.map(() => NOWHERE);
    this.#versions.push(NOWHERE);
  }

  override detach(): void {
    for (const other of this.#others) other.detach();
    super.detach();
  }

  override contexts(): ContextSummary[] {
    return this.#listAgain();
  }

  override findContexts({
    model,
    loraName,
    blockSize,
  }: Omit<ContextKey, "lookahead">): readonly ContextSummary[] {
    this.#refresh();
    return this.#found.get(keyText({ model, loraName, blockSize, lookahead: 0 })) ?? [];
  }

  override modelsWithAdapter(loraName: string): readonly string[] {
    this.#refresh();
    return this.#modelsOfAdapter.get(loraName) ?? [];
  }

  override rankBlockCount(rankSlot: number): number {
    const other = this.#otherOf(rankSlot);
    return other === undefined ? super.rankBlockCount(rankSlot) : other.rankBlockCount(rankSlot);
  }

  override rankLostTo(rankSlot: number): EvictionReason | null {
    const other = this.#otherOf(rankSlot);
    return other === undefined ? super.rankLostTo(rankSlot) : other.rankLostTo(rankSlot);
  }

  override groups(rankSlot: number): HeldGroup[] {
    const other = this.#otherOf(rankSlot);
    return other === undefined ? super.groups(rankSlot) : other.groups(rankSlot);
  }

  override get hasGroups(): boolean {
    return super.hasGroups || this.#others.some((other) => other.hasGroups);
  }

  override matchTokens(contextId: number, tokenCount: number, hasExtra: boolean): MatchResult {
    this.checkTokenCount(tokenCount);
    return this.#match(contextId, tokenCount, true, hasExtra);
  }

  override matchHashes(contextId: number, blockCount: number): MatchResult {
    this.checkHashCount(blockCount);
    return this.#match(contextId, blockCount, false, false);
  }

  override dump(contextId: number, cursor: number, out: Uint32Array): { cursor: number; rows: number } {
    const context = this.#contextOf(contextId);
    const count = 1 + this.#others.length;
    let from = Math.floor(cursor / count);
    for (let part = cursor % count; context !== undefined && part < count; part++) {
      const id = context.ids[part];
      if (id !== NOWHERE) {
        const page = part === 0 ? super.dump(id, from, out) : this.#others[part - 1].dump(id, from, out);
        const rows = this.#keepOwn(part, out, page.rows);
        if (page.cursor >= 0) return { cursor: page.cursor * count + part, rows };
        return { cursor: part + 1 < count ? part + 1 : -1, rows };
      }
      from = 0;
    }
    return { cursor: -1, rows: 0 };
  }

  /** Moves the rows of a part's own ranks to the front of a page; returns how many they are. */
  #keepOwn(part: number, out: Uint32Array, rows: number): number {
    let kept = 0;
    for (let at = 0; at < rows * DUMP_ROW_WORDS; at += DUMP_ROW_WORDS) {
      const holder = out[at + 2];
      const owner =
        holder < RANK_SLOTS_MAX
          ? holder
          : part === 0
            ? super.ownerOf(holder)
            : this.#others[part - 1].ownerOf(holder);
      if (this.#homes.of(owner) !== part) continue;
      if (kept * DUMP_ROW_WORDS !== at) out.copyWithin(kept * DUMP_ROW_WORDS, at, at + DUMP_ROW_WORDS);
      kept += 1;
    }
    return kept;
  }

  /** The reader of a rank's home; undefined for part 0, which is this one. */
  #otherOf(rankSlot: number): PrefixReader | undefined {
    const isSlot = rankSlot >= 0 && rankSlot < RANK_SLOTS_MAX;
    return isSlot ? this.#others[this.#homes.of(rankSlot) - 1] : undefined;
  }

  /** `count` is of tokens or of hashes. */
  #match(contextId: number, count: number, isTokens: boolean, hasExtra: boolean): MatchResult {
    for (let attempt = 1; ; attempt++) {
      const { changes } = this.#homes;
      if (changes !== this.#homesChanges) this.#homes.copyTo(this.#homeOf);
      this.#homesChanges = changes;
      const context = this.#contextOf(contextId);
      const blockCount = isTokens ? blocksIn(context, count) : count;
      this.#rowCount = 0;
      if (context !== undefined) this.#search(context, blockCount, isTokens, hasExtra);
      if (this.#homes.changes === changes || attempt === ATTEMPTS_MAX) return this.#answer(blockCount);
    }
  }

  /** Asks for longer and longer beginnings of the query, until it is over or no match goes to the end of what was asked. */
  #search(context: PartsContext, blockCount: number, isTokens: boolean, hasExtra: boolean): void {
    // A group's rule may look at the end of the query, so that a beginning has another answer.
    let asked = Math.min(blockCount, this.hasGroups ? blockCount : PIECE);
    let given = 0;
    for (;;) {
      if (isTokens) this.hashTokens(context.key, given, asked - given, hasExtra);
      const isBeginning = asked < blockCount;
      this.#rowCount = 0;
      let part = 0;
      while (part < context.ids.length && !this.#takeRows(context.ids[part], part, asked, isBeginning))
        part++;
      if (part === context.ids.length) return;
      given = asked;
      asked = Math.min(blockCount, GROWTH * asked);
    }
  }

  /**
   * Asks a part and adds the rows of its own ranks.
   *
   * @param isBeginning - whether the query is longer than what is asked.
   * @returns true where a match may go on behind it: then the rows are of no use.
   */
  #takeRows(id: number, part: number, asked: number, isBeginning: boolean): boolean {
    if (id === NOWHERE) return false;
    const { matchCount, rows } =
      part === 0 ? super.matchHashes(id, asked) : this.#others[part - 1].matchHashes(id, asked);
    const all = this.#rows;
    const begin = MATCH_ROW_WORDS * this.#rowCount;
    const behind = begin + MATCH_ROW_WORDS * matchCount;
    let end = begin;
    all.set(rows, begin);
    for (let from = begin; from < behind; from += MATCH_ROW_WORDS) {
      if (this.#homeOf[all[from]] !== part) continue;
      if (isBeginning && all[from + 1] === asked) return true;
      if (end !== from) all.copyWithin(end, from, from + MATCH_ROW_WORDS);
      end += MATCH_ROW_WORDS;
    }
    this.#rowCount = end / MATCH_ROW_WORDS;
    return false;
  }

  #answer(blockCount: number): MatchResult {
    const count = this.#rowCount;
    const result = this.#result;
    result.blockCount = blockCount;
    result.matchCount = count;
    result.rows = this.#rowViews[count] ??= this.#rows.subarray(0, MATCH_ROW_WORDS * count);
    return result;
  }

  #contextOf(id: number): PartsContext | undefined {
    this.#refresh();
    return this.#contexts.get(id);
  }

  /** Q5: what is current after it was listed was there at one moment. */
  #refresh(): void {
    for (let attempt = 0; attempt < ATTEMPTS_MAX && !this.#isCurrent(); attempt++) this.#listAgain();
  }

  #isCurrent(): boolean {
    const versions = this.#versions;
    let isSame = versions[0] === super.contextsVersion;
    for (let part = 1; part < versions.length; part++)
      isSame &&= versions[part] === this.#others[part - 1].contextsVersion;
    return isSame;
  }

  #listAgain(): ContextSummary[] {
    const versions = this.#versions;
    const listed = versions.map((_, part) => {
      // Before the list: what comes meanwhile has it listed again.
      versions[part] = part === 0 ? super.contextsVersion : this.#others[part - 1].contextsVersion;
      return part === 0 ? super.contexts() : this.#others[part - 1].contexts();
    });
    const merged = this.#merge(listed);
    this.#found.clear();
    this.#modelsOfAdapter.clear();
    for (const summary of merged) {
      const { model, loraName } = summary.key;
      const text = keyText({ ...summary.key, lookahead: 0 });
      this.#found.set(text, [...(this.#found.get(text) ?? []), summary]);
      if (loraName === null) continue;
      const models = this.#modelsOfAdapter.get(loraName) ?? [];
      if (!models.includes(model)) this.#modelsOfAdapter.set(loraName, [...models, model]);
    }
    return merged;
  }

  /** Q4 */
  #merge(listed: readonly (readonly ContextSummary[])[]): ContextSummary[] {
    const ids = new Map<string, number>();
    const contexts = new Map<number, PartsContext>();
    const sums = new Map<number, ContextSummary>();
    for (const [part, summaries] of listed.entries())
      for (const summary of summaries) {
        const text = keyText(summary.key);
        const id = ids.get(text) ?? this.#ids.get(text) ?? ++this.#lastId;
        ids.set(text, id);
        const before = contexts.get(id)?.ids ?? listed.map(() => NOWHERE);
        contexts.set(id, { id, key: summary.key, ids: before.with(part, summary.id) });
        const sum = sums.get(id);
        sums.set(id, {
          id,
          key: summary.key,
          prefixCount: summary.prefixCount + (sum?.prefixCount ?? 0),
          mappingCount: summary.mappingCount + (sum?.mappingCount ?? 0),
          bytes: summary.bytes + (sum?.bytes ?? 0),
        });
      }
    this.#ids = ids;
    this.#contexts = contexts;
    return [...sums.values()];
  }
}

/** Blocks of so many tokens; none where the context is gone. */
function blocksIn(context: PartsContext | undefined, tokenCount: number): number {
  if (context === undefined) return 0;
  const { blockSize, lookahead } = context.key;
  return tokenCount < lookahead ? 0 : Math.floor((tokenCount - lookahead) / blockSize);
}
