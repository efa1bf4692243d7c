/**
 * The input of a run: requests in order of arrival, from a trace, a generator or a file. A workload
 * can be read many times, and is the same each time. A long one is made while it is read, not held
 * in memory.
 *
 *     blocks of `blockTokens` tokens    ┌── hashIds ──────────┬─────┐
 *     prompt                            │  0  │  17  │  18  ░░│     │   the last id's block may be filled in part
 *     prompt and answer                 │  0  │  17  │  18  ██│ 19 ░│   …and `answerIds` continue after it
 *
 *  W1  Arrivals never go back.
 *  W2  hashIds.length = ⌈inputTokens / blockTokens⌉. Equal ids name equal blocks after equal prefixes; a block filled in part
 *      holds the beginning of what the whole block holds.
 *  W3  With `answerIds`, hashIds and answerIds together cover ⌈(inputTokens + outputTokens) / blockTokens⌉ blocks, and the
 *      answer fills the prompt's last block up. Without them, no request shares the answer's
 *      blocks.
 *
 * A `TraceRequest` is a `WorkloadRequest` of blocks of TRACE_BLOCK_TOKENS.
 */

const U32_MAX = 4_294_967_295;

/** One request. */
export interface WorkloadRequest {
  /** Milliseconds after the begin. */
  readonly arrivalMs: number;
  /** Prompt length, ≥ 1. */
  readonly inputTokens: number;
  /** Answer length, ≥ 1. */
  readonly outputTokens: number;
  /** u32 ids of the prompt's blocks (W2). */
  readonly hashIds: readonly number[];
  /** u32 ids of the blocks that the answer reaches beyond the prompt's (W3); absent when nobody shares the answer. */
  readonly answerIds?: readonly number[] | undefined;
  /** The conversation or task it belongs to, a u32; absent when it stands alone. */
  readonly sessionId?: number | undefined;
  /** The adapter it asks for; absent for the base model. Equal ids under different adapters are different blocks. */
  readonly loraName?: string | undefined;
}

/** See the header. */
export interface Workload {
  /** For people and reports, e.g. a file's name or `multi-turn-chat`. */
  readonly name: string;
  /** Requests that `requests()` yields. */
  readonly requestCount: number;
  /** Tokens per id; a power of two, so that engines' blocks divide it. */
  readonly blockTokens: number;
  /** Starts over at the first request; every reading yields the same. */
  requests(): Iterable<WorkloadRequest>;
}

/**
 * Looks for what breaks W1 to W3. (That equal ids follow equal ids is looked at too, in blocks' worth of memory.)
 *
 * @param workload - read to its end.
 * @returns the first flaw in words, with the request's position; null when there is none.
 */
export function workloadFlaw(workload: Workload): string | null {
  const { blockTokens, requestCount } = workload;
  if (!Number.isInteger(Math.log2(blockTokens))) return `blockTokens is ${blockTokens}, not a power of two`;
  const parents = new Map<number, number>();
  let position = 0;
  let previousMs = 0;
  for (const request of workload.requests()) {
    const flaw = requestFlaw(request, blockTokens, previousMs) ?? chainFlaw(request, parents);
    if (flaw !== null) return `request ${position}: ${flaw}`;
    previousMs = request.arrivalMs;
    position++;
  }
  return position === requestCount ? null : `${position} requests, not the ${requestCount} that it declares`;
}

function requestFlaw(request: WorkloadRequest, blockTokens: number, previousMs: number): string | null {
  const { arrivalMs, inputTokens, outputTokens, hashIds, answerIds } = request;
  if (!(arrivalMs >= previousMs)) return `arrives at ${arrivalMs} ms, after one at ${previousMs} ms (W1)`;
  if (!isCount(inputTokens) || !isCount(outputTokens)) return `lengths ${inputTokens} and ${outputTokens}`;
  const promptIds = Math.ceil(inputTokens / blockTokens);
  if (hashIds.length !== promptIds) return `${hashIds.length} ids for ${promptIds} blocks (W2)`;
  const textIds = Math.ceil((inputTokens + outputTokens) / blockTokens);
  if (answerIds !== undefined && promptIds + answerIds.length !== textIds)
    return `${promptIds} + ${answerIds.length} ids for ${textIds} blocks (W3)`;
  return null;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

/** The id before each id must always be the same one; a root's is −1. Adapters do not matter: ids are one space. */
function chainFlaw(request: WorkloadRequest, parents: Map<number, number>): string | null {
  let parent = -1;
  for (const ids of [request.hashIds, request.answerIds ?? []]) {
    for (const id of ids) {
      if (!(Number.isInteger(id) && id >= 0 && id <= U32_MAX)) return `id ${id} is no u32 (W2)`;
      const known = parents.get(id);
      if (known !== undefined && known !== parent) return `id ${id} follows ${parent} and ${known} (W2)`;
      parents.set(id, parent);
      parent = id;
    }
  }
  return null;
}
