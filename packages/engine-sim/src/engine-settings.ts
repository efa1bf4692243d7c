/** An engine's settings: defaults with their reasons, limits with theirs, and the check of what a caller gave. */
import { type Dialect, DIALECTS } from "@kvsync/core";
import { COST_MODELS } from "./cost-model.ts";
import { voiceOf, type DialectVoice } from "./dialect.ts";
import type { EngineSettings } from "./engine-contract.ts";
import { EngineError } from "./engine-error.ts";
import { BLOCK_SIZE_MAX, type HashAlgorithm, KEY_BYTES_MAX } from "./engine-hash.ts";

/** Settings with every default filled in. */
export type ResolvedEngineSettings = {
  readonly [Key in keyof EngineSettings]-?: Exclude<EngineSettings[Key], undefined>;
} & { readonly hashAlgorithm: HashAlgorithm; readonly dialect: Dialect };

/** vLLM's default of --max-num-batched-tokens with chunked prefill, for a server on large GPUs. */
export const DEFAULT_BATCHED_TOKENS = 8192;
/** vLLM's default of --max-num-seqs. */
export const DEFAULT_SEQUENCES = 256;
/** Far beyond what answers in time; a queue this long is an overload that the owner should see. */
const DEFAULT_WAITING = 16_384;
/** The dialect with the most releases since: maps, and replay replies with a topic. */
export const DEFAULT_DIALECT: Dialect = "vllm-0.26";
/** What vLLM takes itself when PYTHONHASHSEED is unset, since August 2026: engines agree. */
export const DEFAULT_HASH_SEED = "vllm-none-hash";

/** 16 GiB of columns at a hundred bytes a block; a real device has some 10⁵ blocks. */
const BLOCK_COUNT_MAX = 10_000_000;
const TOKENS_MAX = 10_000_000;
const SEQUENCES_MAX = 100_000;
const WAITING_MAX = 10_000_000;
/** Highest data-parallel rank. */
export const DP_RANK_MAX = 255;
const LORA_COUNT_MAX = 1000;
const TEXT_MAX = 256;

/**
 * Fills in defaults and refuses what cannot be run.
 *
 * @param settings - as given.
 * @returns the complete settings.
 * @throws EngineError `invalid_setting`, which names the setting, its value and what was expected.
 */
export function resolveSettings(settings: EngineSettings): ResolvedEngineSettings {
  const dialect = settings.dialect ?? DEFAULT_DIALECT;
  if (!Object.hasOwn(DIALECTS, dialect))
    throw invalid("dialect", dialect, `one of ${Object.keys(DIALECTS).join(", ")}`);
  const voice = voiceOf(dialect);
  const resolved: ResolvedEngineSettings = {
    id: settings.id,
    model: settings.model,
    blockSize: settings.blockSize,
    blockCount: settings.blockCount,
    ...numbersOf(settings),
    hashAlgorithm: settings.hashAlgorithm ?? (voice.family === "vllm" ? "sha256" : "sglang"),
    hashSeed: settings.hashSeed === undefined ? DEFAULT_HASH_SEED : settings.hashSeed,
    dialect,
    hashForm: settings.hashForm ?? "int",
    loraNames: settings.loraNames ?? [],
    hostSelfDescribing: settings.hostSelfDescribing ?? voice.family === "sglang",
    reportMode: settings.reportMode ?? "delta",
    costModel: settings.costModel ?? COST_MODELS["llama-3.1-8b/1xh100"],
  };
  checkNumbers(resolved);
  checkTexts(resolved);
  checkVoice(resolved, voice);
  return resolved;
}

function numbersOf(
  settings: EngineSettings,
): Pick<
  ResolvedEngineSettings,
  | "dpRank"
  | "maxBatchedTokens"
  | "maxSequences"
  | "maxWaiting"
  | "hostBlockCount"
  | "slidingWindowTokens"
  | "slowness"
> {
  return {
    dpRank: settings.dpRank ?? 0,
    maxBatchedTokens: settings.maxBatchedTokens ?? DEFAULT_BATCHED_TOKENS,
    maxSequences: settings.maxSequences ?? DEFAULT_SEQUENCES,
    maxWaiting: settings.maxWaiting ?? DEFAULT_WAITING,
    hostBlockCount: settings.hostBlockCount ?? 0,
    slidingWindowTokens: settings.slidingWindowTokens ?? 0,
    slowness: settings.slowness ?? 1,
  };
}

function checkNumbers(settings: ResolvedEngineSettings): void {
  checkInteger("blockSize", settings.blockSize, 1, BLOCK_SIZE_MAX);
  checkInteger("blockCount", settings.blockCount, 1, BLOCK_COUNT_MAX);
  checkInteger("dpRank", settings.dpRank, 0, DP_RANK_MAX);
  checkInteger("maxBatchedTokens", settings.maxBatchedTokens, 1, TOKENS_MAX);
  checkInteger("maxSequences", settings.maxSequences, 1, SEQUENCES_MAX);
  checkInteger("maxWaiting", settings.maxWaiting, 1, WAITING_MAX);
  checkInteger("hostBlockCount", settings.hostBlockCount, 0, BLOCK_COUNT_MAX);
  checkInteger("slidingWindowTokens", settings.slidingWindowTokens, 0, TOKENS_MAX);
  if (!(settings.slowness > 0 && Number.isFinite(settings.slowness)))
    throw invalid("slowness", settings.slowness, "a finite number above 0");
}

function checkTexts(settings: ResolvedEngineSettings): void {
  checkText("id", settings.id);
  checkText("model", settings.model);
  if (settings.hashSeed !== null && Buffer.byteLength(settings.hashSeed) > KEY_BYTES_MAX)
    throw invalid("hashSeed", settings.hashSeed, `at most ${KEY_BYTES_MAX} bytes`);
  if (settings.loraNames.length > LORA_COUNT_MAX)
    throw invalid("loraNames", settings.loraNames.length, `at most ${LORA_COUNT_MAX} names`);
  if (new Set(settings.loraNames).size !== settings.loraNames.length)
    throw invalid("loraNames", settings.loraNames.join(","), "names that differ");
  for (const name of settings.loraNames) checkText("loraNames", name);
}

// What the dialect's engine cannot do or say.
function checkVoice(settings: ResolvedEngineSettings, voice: DialectVoice): void {
  const { dialect } = settings;
  if ((settings.hashAlgorithm === "sglang") !== (voice.family !== "vllm"))
    throw invalid("hashAlgorithm", settings.hashAlgorithm, `an algorithm of ${dialect}'s engine`);
  if (settings.hashForm === "bytes" && !voice.digestHashes)
    throw invalid("hashForm", settings.hashForm, `"int": ${dialect} has no digests on the wire`);
  if (settings.loraNames.length > 0 && !voice.adapters)
    throw invalid("loraNames", settings.loraNames.join(","), `none: ${dialect} does not announce adapters`);
  if (settings.hostBlockCount > 0 && voice.media.host === null)
    throw invalid("hostBlockCount", settings.hostBlockCount, `0: ${dialect} does not announce a host tier`);
  if (settings.reportMode === "full" && !(voice.family === "vllm" && voice.maps))
    throw invalid("reportMode", settings.reportMode, `"delta": ${dialect} has no report mode`);
  if (!settings.hostSelfDescribing && voice.family === "sglang")
    throw invalid("hostSelfDescribing", false, "true: SGLang has no placeholders");
  if (settings.slidingWindowTokens > 0 && !voice.kinds)
    throw invalid(
      "slidingWindowTokens",
      settings.slidingWindowTokens,
      `0: ${dialect} does not announce groups`,
    );
}

/**
 * Holds a number from outside to whole numbers of a range.
 *
 * @throws EngineError `invalid_setting`.
 */
export function checkInteger(setting: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw invalid(setting, value, `a whole number in ${min} … ${max}`);
}

function checkText(setting: string, value: string): void {
  if (value.length === 0 || Buffer.byteLength(value) > TEXT_MAX)
    throw invalid(setting, value, `1 to ${TEXT_MAX} bytes of text`);
}

function invalid(setting: string, value: unknown, expected: string): EngineError {
  return new EngineError(
    { code: "invalid_setting", setting, value: String(value) },
    `setting ${setting} is ${JSON.stringify(value)}, expected ${expected}`,
  );
}
