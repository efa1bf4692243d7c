/**
 * The router's index in a simulation: core's PrefixIndex and its reader, one rank slot per engine, one context for all (adapters are
 * in the names). Blocks' names are its tokens and its engine hashes at once (block-naming.ts).
 *
 *     engine    0 … 4095 │ 4096 … 8191 │ …       a fleet beyond one index's rank slots has several, as shards have;
 *     index     0        │ 1           │ …       a lookup asks all of them
 */
import { MATCH_ROW_WORDS, PrefixIndex, PrefixReader, RANK_SLOTS_MAX } from "@kvsync/core";

import { NAME_WORDS } from "./block-naming.ts";
import type { StepLogReader } from "./step-log.ts";

/** The model's name in events and context. */
export const SIMULATED_MODEL = "simulated";

const CONTEXT = { model: SIMULATED_MODEL, loraName: null, blockSize: NAME_WORDS, lookahead: 0 };
const TIER_HOST = 1;

/** Given, since an index draws it at random, and a simulation draws from its seed alone (V4). No answer depends on it. */
const TABLE_SECRET = [1, 2, 3, 4] as const;

/** The index of some engines, and its reader. */
interface Part {
  readonly index: PrefixIndex;
  readonly reader: PrefixReader;
}

/** See the header. */
export class FleetIndex {
  readonly #parts: readonly Part[];

  /**
   * @param queryBlocksMax - longest prompt that will be looked up, in blocks.
   * @param engineCount - engines of the fleet.
   */
  constructor(queryBlocksMax: number, engineCount: number) {
    this.#parts = Array.from({ length: Math.ceil(engineCount / RANK_SLOTS_MAX) }, () => {
      const index = PrefixIndex.create({ secret: TABLE_SECRET });
      const reader = PrefixReader.attach(index.shared, { tokensMax: queryBlocksMax * NAME_WORDS });
      return { index, reader };
    });
  }

  /** The index of the first 4,096 engines: all there are, where streams are followed. */
  get index(): PrefixIndex {
    return this.#partAt(0).index;
  }

  /**
   * Looks a prompt up.
   *
   * @param words - names of its blocks, shape [2 × blockCount].
   * @param blockCount - how many count.
   * @param visit - told of each engine that holds some: its position, leading blocks, and those of them on the device.
   */
  match(
    words: Uint32Array,
    blockCount: number,
    visit: (engine: number, blocks: number, deviceBlocks: number) => void,
  ): void {
    const tokens = words.subarray(0, blockCount * NAME_WORDS);
    for (const [part, { index, reader }] of this.#parts.entries()) {
      reader.tokens.set(tokens);
      const { rows, matchCount } = reader.matchTokens(index.openContext(CONTEXT), tokens.length, false);
      for (let row = 0; row < matchCount * MATCH_ROW_WORDS; row += MATCH_ROW_WORDS)
        visit(part * RANK_SLOTS_MAX + (rows[row] ?? 0), rows[row + 1] ?? 0, rows[row + 2] ?? 0);
    }
  }

  /**
   * What the index says each of the first 4,096 engines holds, for audits.
   *
   * @param out - receives rows as PrefixReader.dump does.
   */
  dump(cursor: number, out: Uint32Array): { cursor: number; rows: number } {
    const { index, reader } = this.#partAt(0);
    return reader.dump(index.openContext(CONTEXT), cursor, out);
  }

  /** Ends the use of the indexes' memory by the readers. */
  close(): void {
    for (const { reader } of this.#parts) reader.detach();
  }

  /**
   * Writes an engine's changes straight to the index.
   *
   * @param engine - its position.
   */
  writer(engine: number): StepLogReader {
    const { index } = this.#partAt(Math.floor(engine / RANK_SLOTS_MAX));
    return new RankWriter(index, engine % RANK_SLOTS_MAX);
  }

  #partAt(at: number): Part {
    const part = this.#parts[at];
    if (part === undefined) throw new RangeError(`there is no index ${at}`);
    return part;
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
