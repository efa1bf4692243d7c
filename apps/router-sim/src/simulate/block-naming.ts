/**
 * Names of KV blocks in a simulation: two words instead of tokens, from a workload's ids.
 *
 *     id's block of 512 tokens   │ 0 │ 1 │ 2 │ …           engine blocks of 16: the id and a number within it
 *     name                       low = mix(id + number · φ)   high = adapter << 16 | number
 *     answer that nobody shares  low = mix(request + block · φ)   high = 2³¹ | block
 *
 *  M1  Equal names are equal prefixes: equal ids are (W2 of workload.ts), and the number is the
 *      place in the id's block. Different
 *      (id, number, adapter) have different names, since mix is a bijection of its word for each high word.
 *  M2  Low words are well mixed, since tables take their home cells from them.
 *
 * The index gets the two words of a block as its "tokens", with blocks of two. It hashes, chains
 * and matches them like any others.
 */
import type { WorkloadRequest } from "../workload/workload.ts";

/** Words, and so index tokens, per block. */
export const NAME_WORDS = 2;

/** Adapters that a workload may have; the number has 15 bits of the high word. */
const ADAPTERS_MAX = 32_767;

const GOLDEN_RATIO_32 = 0x9e37_79b9;
const ANSWER_BIT = 0x8000_0000;

/** Names the blocks of one workload for engines of one block size. */
export class BlockNaming {
  readonly #blockTokens: number;
  readonly #adapters = new Map<string, number>();

  /** @param blockTokens - tokens per id of the workload; the engines' block size divides it. */
  constructor(blockTokens: number) {
    this.#blockTokens = blockTokens;
  }

  /**
   * Names the first blocks of a request's prompt and answer.
   *
   * @param request - see WorkloadRequest.
   * @param requestIndex - its position in the workload.
   * @param blockSize - tokens per block.
   * @param blockCount - full blocks to name, at most those of prompt and answer.
   * @param words - receives the names, shape [2 × blockCount], low then high.
   */
  name(
    request: WorkloadRequest,
    requestIndex: number,
    blockSize: number,
    blockCount: number,
    words: Uint32Array,
  ): void {
    const { hashIds, answerIds, inputTokens } = request;
    const perId = this.#blockTokens / blockSize;
    const adapter = this.#adapterOf(request) << 16;
    const sharedBlocks = answerIds === undefined ? Math.floor(inputTokens / blockSize) : blockCount;
    for (let block = 0; block < blockCount; block++) {
      if (block < sharedBlocks) {
        const position = Math.floor(block / perId);
        const number = block - position * perId;
        const id = hashIds[position] ?? answerIds?.[position - hashIds.length] ?? 0;
        words[2 * block] = mix(id + Math.imul(number + 1, GOLDEN_RATIO_32));
        words[2 * block + 1] = adapter | number;
      } else {
        words[2 * block] = mix(requestIndex + Math.imul(block + 1, GOLDEN_RATIO_32));
        words[2 * block + 1] = ANSWER_BIT | block;
      }
    }
  }

  /** 0 for the base model, then by order of appearance. */
  #adapterOf({ loraName }: WorkloadRequest): number {
    if (loraName === undefined) return 0;
    const known = this.#adapters.get(loraName);
    if (known !== undefined) return known;
    const adapter = this.#adapters.size + 1;
    if (adapter > ADAPTERS_MAX) throw new RangeError(`more than ${ADAPTERS_MAX} adapters in a workload`);
    this.#adapters.set(loraName, adapter);
    return adapter;
  }
}

/** C. Wellons' lowbias32, as in trace/prompt.ts: a bijection in which every input bit sways every output bit. */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb_352d);
  x = Math.imul(x ^ (x >>> 15), 0x846c_a68b);
  return (x ^ (x >>> 16)) >>> 0;
}
