/**
 * The tier of each medium: the one list of the words that publishers use, with their sources. Words
 * are compared without regard to case, since publishers spell the same word differently and no two
 * words differ only in case.
 *
 *     device  GPU         vLLM kv_events.py @ 0.33.0; SGLang kv_events.py @ 0.5.23; TensorRT-LLM kv_cache_events.py; in lower
 *                         case llm-d-inference-sim; absent: vLLM before 0.10.2, SGLang before 2026-02
 *             DEVICE      Dynamo lib/kv-router protocols.rs @ 2bd0a36d
 *     host    CPU         vLLM kv_events.py @ 0.33.0 (offloading); in lower case LMCache before 2026-09 and llm-d-inference-sim
 *             CPU_PINNED  SGLang kv_events.py @ 0.5.23
 *             CPU_TIER1   SGLang, early 2026
 *     disk    STORAGE     vLLM kv_events.py @ 0.33.0 (0.27 and later)
 *             FS, OBJ     vLLM 0.26
 *             DISK        SGLang kv_events.py @ 0.5.23
 *             CPU_TIER2   SGLang, early 2026
 *             NVME        Dynamo lib/kv-router protocols.rs @ 2bd0a36d
 *     remote  EXTERNAL    SGLang kv_events.py @ 0.5.23
 *             NETWORK, REMOTE, SHARED   Dynamo lib/kv-router protocols.rs @ 2bd0a36d
 *
 * A word that is not on the list has no tier: blocks there are not reported, and the rank reports
 * that some may be missing.
 */
import type { Tier } from "../prefix-index/contract.ts";

const WORDS_BY_TIER: readonly (readonly string[])[] = [
  ["GPU", "DEVICE"],
  ["CPU", "CPU_PINNED", "CPU_TIER1"],
  ["STORAGE", "FS", "OBJ", "DISK", "CPU_TIER2", "NVME"],
  ["EXTERNAL", "NETWORK", "REMOTE", "SHARED"],
];

const TIER_BY_WORD: ReadonlyMap<string, Tier> = new Map(
  WORDS_BY_TIER.flatMap((words, tier) => words.map((word) => [word, tier as Tier] as const)),
);

/** Longest word of the list: a longer one needs no other spelling tried. */
const WORD_LENGTH_MAX = Math.max(...[...TIER_BY_WORD.keys()].map((word) => word.length));

/**
 * The tier of a medium.
 *
 * @param medium - `null` is device memory: engines that name no medium have no other.
 * @returns `undefined` for a word that is not on the list.
 */
export function tierOfMedium(medium: string | null): Tier | undefined {
  if (medium === null) return 0;
  const tier = TIER_BY_WORD.get(medium);
  if (tier !== undefined || medium.length > WORD_LENGTH_MAX) return tier;
  return TIER_BY_WORD.get(medium.toUpperCase());
}
