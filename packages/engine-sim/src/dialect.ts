/**
 * The behavior of an engine of a dialect beyond the bytes. Core has the fields of a dialect and
 * their encoding. This file has the values that such an engine puts in them, and its behavior as a
 * publisher. The README of core's wire lists the versions.
 *
 * A dialect changes the engine's messages, not its cache: the pool is vLLM's in all of them.
 * SGLang's radix tree would share a recomputed last block where ours keeps two copies; listeners
 * must cope with copies anyway.
 */
import { type Dialect, type DialectForm, DIALECTS, type ReplayShape, type WireField } from "@kvsync/core";

/** Whose software. */
type EngineFamily = "vllm" | "sglang" | "trtllm";

/** How an engine of one dialect speaks. */
export interface DialectVoice {
  readonly family: EngineFamily;
  /** Value of `medium` by tier; null where the dialect cannot say it. */
  readonly media: { readonly device: string | null; readonly host: string | null };
  /** Whether hashes are read as signed 64-bit integers. */
  readonly signedHashes: boolean;
  /** Whether whole digests may stand for hashes. */
  readonly digestHashes: boolean;
  /** Whether a store lists extra keys, adapter and salt among them. */
  readonly extraKeys: boolean;
  /** Whether a store has a field for the salt. */
  readonly salts: boolean;
  /** Whether events tell of an adapter, by name or by number. */
  readonly adapters: boolean;
  readonly groups: boolean;
  /** Whether events are maps: vLLM since 0.24. */
  readonly maps: boolean;
  readonly kinds: boolean;
  /** Whether consecutive removals make one event (vLLM: one event per hash). */
  readonly joinsRemovals: boolean;
  /** Whether the first message of a process is AllBlocksCleared. */
  readonly startsWithClear: boolean;
  readonly replayShape: ReplayShape;
}

const TOPIC_IN_REPLAY: ReadonlySet<Dialect> = new Set<Dialect>([
  "vllm-0.26",
  "vllm-0.29",
  "vllm-0.33",
  "trtllm",
]);
const INT_HASHES_ONLY: ReadonlySet<Dialect> = new Set<Dialect>(["vllm-0.9.0", "vllm-0.9.1"]);

/**
 * The voice of a dialect.
 *
 * @param dialect - core's name of it.
 * @returns what such an engine says.
 */
export function voiceOf(dialect: Dialect): DialectVoice {
  const form: DialectForm = DIALECTS[dialect];
  const has = (field: WireField) =>
    form.stored.required.includes(field) || form.stored.optional.includes(field);
  const family = familyOf(dialect);
  const hasMedium = has("medium");
  const hostMedium = { vllm: "CPU", sglang: "CPU_PINNED", trtllm: null }[family];
  return {
    family,
    media: { device: hasMedium ? "GPU" : null, host: hasMedium ? hostMedium : null },
    // vLLM 0.9.0 sent Python's own hash(), which is signed.
    signedHashes: family !== "vllm" || dialect === "vllm-0.9.0",
    digestHashes: family === "vllm" && !INT_HASHES_ONLY.has(dialect),
    extraKeys: has("extra_keys"),
    salts: form.hasMetadataSlot || has("cache_salt"),
    adapters: family === "vllm" || (family === "sglang" && has("lora_name")),
    groups: has("group_idx"),
    maps: form.events === "map",
    kinds: has("kv_cache_spec_kind"),
    joinsRemovals: family !== "vllm",
    startsWithClear: family === "sglang",
    replayShape: TOPIC_IN_REPLAY.has(dialect) ? "topic" : "plain",
  };
}

function familyOf(dialect: Dialect): EngineFamily {
  if (dialect === "trtllm") return "trtllm";
  return dialect.startsWith("sglang") ? "sglang" : "vllm";
}
