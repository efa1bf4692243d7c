/**
 * The tokens that an engine will skip of a prompt whose leading blocks it holds.
 *
 *     n tokens, the engine holds m of them in blocks of b
 *       last tokens: computed again, since they give the first output  ─▶ at most floor((n − r) / b) blocks, r ≥ 1
 *       EAGLE, EAGLE3, MTP without lookahead hashes                    ─▶ one block less
 *
 * Rules
 *  U1  vLLM and TensorRT-LLM look for at most n − 1 tokens. So a prompt that is held as a whole is
 *      computed again from its last block on. SGLang likewise; where its blocks are named by pairs
 *      of tokens (EAGLE), n − 1 tokens are n − 2 pairs.
 *  U2  A vLLM that speculates with EAGLE or its kin drops the last matched block for the drafter,
 *      unless its hashes look ahead. No event shows it: `drops_last_block` in the engine's entry
 *      does.
 *  U3  A query by hashes has no prompt length: then its last block counts.
 *
 * Sources: vllm/v1/core/kv_cache_manager.py (`max_cache_hit_length`), single_type_kv_cache_manager.py (`drop_eagle_block`),
 * vllm/config/vllm.py (`num_hash_lookahead_tokens`), 0.33.0; sglang/srt/mem_cache/{common,radix_cache}.py, 0.5.23.
 */

/** What the rule depends on beside the match. */
export interface ReuseFacts {
  /** Tokens of the whole prompt; null when they are not known (U3). */
  readonly promptTokens: number | null;
  readonly blockSize: number;
  /** Tokens at the prompt's end that are computed in any case (U1). */
  readonly recomputedTokens: number;
  /** U2 */
  readonly dropsLastBlock: boolean;
}

/**
 * Applies the rule.
 *
 * @param matchedTokens - leading tokens held, in full blocks.
 * @param facts - of the prompt and the engine.
 * @returns tokens that need no prefill, in full blocks.
 */
export function reusableTokens(matchedTokens: number, facts: ReuseFacts): number {
  const { promptTokens, blockSize, recomputedTokens, dropsLastBlock } = facts;
  const most =
    promptTokens === null
      ? matchedTokens
      : Math.max(0, Math.floor((promptTokens - recomputedTokens) / blockSize) * blockSize);
  const found = Math.min(matchedTokens, most);
  return dropsLastBlock ? Math.max(0, found - blockSize) : found;
}
