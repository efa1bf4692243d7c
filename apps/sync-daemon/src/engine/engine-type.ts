/**
 * The type of an engine, by the names that people and registering clients give it: each project
 * writes its own name in several ways. A hint for `reusable_tokens` and for people; the dialect of
 * the events is recognized event by event.
 */

/** The engines that speak the protocol. */
export const ENGINE_TYPES = ["vllm", "sglang", "tensorrt-llm"] as const;

/** One of ENGINE_TYPES. */
export type EngineType = (typeof ENGINE_TYPES)[number];

/** Every spelling without its separators, in lower case. */
const TYPE_OF_SPELLING: Readonly<Record<string, EngineType>> = {
  vllm: "vllm",
  sglang: "sglang",
  tensorrtllm: "tensorrt-llm",
  trtllm: "tensorrt-llm",
  tllm: "tensorrt-llm",
};

/** What a type may be, for people. */
export const ENGINE_TYPE_EXPECTED =
  "vLLM, SGLang or TensorRT-LLM (or TRT-LLM); upper and lower case, - _ . and spaces make no difference";

/**
 * The engine that a spelling means.
 *
 * @param spelling - as a client wrote it.
 * @returns null when it is none.
 */
export function engineTypeOf(spelling: string): EngineType | null {
  const key = spelling.toLowerCase().replaceAll(/[-_. ]/g, "");
  return Object.hasOwn(TYPE_OF_SPELLING, key) ? (TYPE_OF_SPELLING[key] ?? null) : null;
}
