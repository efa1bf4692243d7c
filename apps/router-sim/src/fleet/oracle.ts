/**
 * Perfect knowledge: the longest prefix of a prompt that any engine holds at this moment, asked of the engines
 * themselves. It bounds what any router could reach with the contents as they are.
 *
 * Asking every engine means hashing the prompt for each, so most are ruled out first. An engine can
 * hold no more of a prompt than the leading trace ids that were ever sent to it, in prompts and
 * answers. Equal ids mean equal prefixes. Engines are asked in order of that bound, about prompts
 * cut to it, until no bound of the rest is better. The result is the same as asking all
 * (oracle.test.ts).
 */
import { TRACE_BLOCK_TOKENS } from "../trace/request.ts";
import type { WorkloadRequest } from "../workload/workload.ts";

/** An engine, as far as the oracle asks it. */
export interface PrefixHolder {
  /** Leading blocks of a prompt that would be found cached now, capped as the engine caps hits. */
  cachedPrefixBlocks(promptTokens: Uint32Array): number;
}

/** See the header. */
export class Oracle {
  readonly #holders: readonly PrefixHolder[];
  readonly #blockSize: number;
  /** Trace ids ever sent to each engine; they are never forgotten, which only makes the bound looser. */
  readonly #idsSent: readonly Set<number>[];

  /**
   * @param holders - the engines, by position.
   * @param blockSize - their tokens per KV block.
   */
  constructor(holders: readonly PrefixHolder[], blockSize: number) {
    this.#holders = holders;
    this.#blockSize = blockSize;
    this.#idsSent = holders.map(() => new Set<number>());
  }

  /** Tells that a request goes to an engine. */
  sent(request: WorkloadRequest, engine: number): void {
    const ids = this.#idsSent[engine];
    for (const id of request.hashIds) ids?.add(id);
    for (const id of request.answerIds ?? []) ids?.add(id);
  }

  /**
   * Asks every engine that may hold something.
   *
   * @param request - whose ids bound the search.
   * @param tokens - its prompt.
   * @returns blocks, by engine's position.
   */
  heldBlocks(request: WorkloadRequest, tokens: Uint32Array): number[] {
    return this.#idsSent.map((ids, engine) => {
      const tokensMax = leadingCount(request.hashIds, ids) * TRACE_BLOCK_TOKENS;
      const cut = tokens.subarray(0, Math.min(tokensMax + 1, tokens.length));
      return tokensMax === 0 ? 0 : (this.#holders[engine]?.cachedPrefixBlocks(cut) ?? 0);
    });
  }

  /**
   * Finds the best match.
   *
   * @param request - whose ids bound the search.
   * @param tokens - its prompt.
   * @returns blocks, 0 when no engine holds the first one.
   */
  bestBlocks(request: WorkloadRequest, tokens: Uint32Array): number {
    const candidates = this.#idsSent
      .map((ids, engine) => ({ engine, tokensMax: leadingCount(request.hashIds, ids) * TRACE_BLOCK_TOKENS }))
      .sort((a, b) => b.tokensMax - a.tokensMax);
    let best = 0;
    for (const { engine, tokensMax } of candidates) {
      // One token more than can match: an engine never counts the block of the last token.
      const cut = tokens.subarray(0, Math.min(tokensMax + 1, tokens.length));
      if (Math.floor((cut.length - 1) / this.#blockSize) <= best) break;
      best = Math.max(best, this.#holders[engine]?.cachedPrefixBlocks(cut) ?? 0);
    }
    return best;
  }
}

function leadingCount(ids: readonly number[], known: ReadonlySet<number>): number {
  let count = 0;
  while (count < ids.length && known.has(ids[count] ?? -1)) count += 1;
  return count;
}
