/**
 * The router's index in a simulation: core's PrefixIndex and its reader, one rank slot per engine, one context for all (adapters are
 * in the names). Blocks' names are its tokens and its engine hashes at once (block-naming.ts).
 */
import { type MatchResult, PrefixIndex, PrefixReader } from "@kvsync/core";

import { NAME_WORDS } from "./block-naming.ts";
import type { StepLogReader } from "./step-log.ts";

/** The model's name in events and context. */
export const SIMULATED_MODEL = "simulated";

const CONTEXT = { model: SIMULATED_MODEL, loraName: null, blockSize: NAME_WORDS, lookahead: 0 };
const TIER_HOST = 1;

/** Given, since an index draws it at random, and a simulation draws from its seed alone (V4). No answer depends on it. */
const TABLE_SECRET = [1, 2, 3, 4] as const;

/** See the header. */
export class FleetIndex {
  readonly index: PrefixIndex;
  readonly #reader: PrefixReader;

  /** @param queryBlocksMax - longest prompt that will be looked up, in blocks. */
  constructor(queryBlocksMax: number) {
    this.index = PrefixIndex.create({ secret: TABLE_SECRET });
    this.#reader = PrefixReader.attach(this.index.shared, { tokensMax: queryBlocksMax * NAME_WORDS });
  }

  /**
   * Looks a prompt up.
   *
   * @param words - names of its blocks, shape [2 × blockCount].
   * @param blockCount - how many count.
   * @returns the reader's own object, valid until the next call; its rank slots are engines' positions.
   */
  match(words: Uint32Array, blockCount: number): MatchResult {
    this.#reader.tokens.set(words.subarray(0, blockCount * NAME_WORDS));
    return this.#reader.matchTokens(this.index.openContext(CONTEXT), blockCount * NAME_WORDS, false);
  }

  /**
   * What the index says each engine holds, for audits.
   *
   * @param out - receives rows as PrefixReader.dump does.
   */
  dump(cursor: number, out: Uint32Array): { cursor: number; rows: number } {
    return this.#reader.dump(this.index.openContext(CONTEXT), cursor, out);
  }

  /** Ends the use of the index's memory by the reader. */
  close(): void {
    this.#reader.detach();
  }

  /**
   * Writes an engine's changes straight to the index.
   *
   * @param engine - its position, and rank slot.
   */
  writer(engine: number): StepLogReader {
    return new RankWriter(this.index, engine);
  }
}

/** Changes of one engine. */
class RankWriter implements StepLogReader {
  readonly #index: PrefixIndex;
  readonly #rankSlot: number;

  constructor(index: PrefixIndex, rankSlot: number) {
    this.#index = index;
    this.#rankSlot = rankSlot;
  }

  stored(words: Uint32Array, count: number, hasParent: boolean): void {
    const { tokens, hashes } = this.#index.scratch;
    const own = hasParent ? words.subarray(NAME_WORDS) : words;
    tokens.set(own);
    hashes.set(own);
    const [parentLow, parentHigh] = hasParent ? [words[0] ?? 0, words[1] ?? 0] : [0, 0];
    this.#index.storeBlocks(
      this.#index.openContext(CONTEXT),
      this.#rankSlot,
      0,
      count,
      hasParent,
      parentLow,
      parentHigh,
      false,
    );
  }

  offloaded(low: number, high: number): void {
    const { hashes } = this.#index.scratch;
    hashes[0] = low;
    hashes[1] = high;
    this.#index.storeKnownBlocks(this.#rankSlot, TIER_HOST, 1);
  }

  removed(tier: 0 | 1, words: Uint32Array, count: number): void {
    this.#index.scratch.hashes.set(words);
    this.#index.removeBlocks(this.#rankSlot, tier, count);
  }

  cleared(): void {
    this.#index.clearRank(this.#rankSlot);
  }
}
