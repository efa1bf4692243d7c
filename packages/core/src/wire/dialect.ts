/**
 * How each engine and version spells the protocol, as data for the encoder. A dialect is named
 * after the first release that used it and lasts until the next of its family. The table with
 * sources and dates is in README.md.
 *
 *     array   [tag, field, field, …]                         all fields, nil where an event has none
 *     map     {"type": tag, required…, optional…}            required fields even when nil, optional ones only when not
 *
 * The decoder uses no dialects: it reads each event by its shape.
 */

/** Name of a dialect: engine and first release. */
export type Dialect =
  | "vllm-0.9.0"
  | "vllm-0.9.1"
  | "vllm-0.10.2"
  | "vllm-0.14"
  | "vllm-0.17"
  | "vllm-0.18"
  | "vllm-0.21"
  | "vllm-0.24"
  | "vllm-0.26"
  | "vllm-0.29"
  | "vllm-0.33"
  | "sglang-v1"
  | "sglang-medium"
  | "sglang-salted"
  | "sglang-map"
  | "trtllm";

/** A field of any event, by its name on the wire. */
export type WireField =
  | "block_hashes"
  | "parent_block_hash"
  | "token_ids"
  | "block_size"
  | "lora_id"
  | "medium"
  | "lora_name"
  | "extra_keys"
  | "group_idx"
  | "kv_cache_spec_kind"
  | "kv_cache_spec_sliding_window"
  | "locality"
  | "ownership"
  | "session_id"
  | "cache_salt"
  | "lookahead_token_ids";

/** Fields of one event type in the order of the wire. In arrays all are required. */
export interface FieldOrder {
  readonly required: readonly WireField[];
  readonly optional: readonly WireField[];
}

/** The shape of a dialect's messages. */
export interface DialectForm {
  readonly events: "array" | "map";
  /** 2 before data_parallel_rank was added. */
  readonly batchSlots: 2 | 3;
  readonly stored: FieldOrder;
  readonly removed: FieldOrder;
  /** Whether a salted or session-bound store gets an eighth slot, a map of both (SGLang). */
  readonly hasMetadataSlot: boolean;
  /** Whether a store's map has a 16-bit header whatever its size (msgspec: structs of 15 fields and more). */
  readonly hasMap16Header: boolean;
}

const STORED_SLOTS: readonly WireField[] = [
  "block_hashes",
  "parent_block_hash",
  "token_ids",
  "block_size",
  "lora_id",
  "medium",
  "lora_name",
  "extra_keys",
  "group_idx",
  "kv_cache_spec_kind",
  "kv_cache_spec_sliding_window",
];
const REMOVED_SLOTS: readonly WireField[] = ["block_hashes", "medium", "group_idx"];

/** An array dialect by the lengths of its arrays, tag included. */
function arrays(storedSlots: number, removedSlots: number, batchSlots: 2 | 3 = 3): DialectForm {
  return {
    events: "array",
    batchSlots,
    stored: { required: STORED_SLOTS.slice(0, storedSlots - 1), optional: [] },
    removed: { required: REMOVED_SLOTS.slice(0, removedSlots - 1), optional: [] },
    hasMetadataSlot: false,
    hasMap16Header: false,
  };
}

/** A map dialect of vLLM's: seven fields without defaults, then those that came with one. */
function maps(storedOptional: readonly WireField[], removedOptional: readonly WireField[]): DialectForm {
  return {
    events: "map",
    batchSlots: 3,
    stored: { required: STORED_SLOTS.slice(0, 7), optional: storedOptional },
    removed: { required: ["block_hashes", "medium"], optional: removedOptional },
    hasMetadataSlot: false,
    hasMap16Header: false,
  };
}

const STORED_0_24 = STORED_SLOTS.slice(7);
const VLLM_0_29 = maps(
  [...STORED_0_24, "locality", "ownership", "session_id"],
  ["group_idx", "locality", "ownership"],
);

const VLLM_0_33: DialectForm = {
  ...maps(
    [...STORED_0_24, "locality", "ownership", "session_id", "lookahead_token_ids"],
    ["group_idx", "locality", "ownership"],
  ),
  hasMap16Header: true,
};

/** Every dialect by name. From vLLM 0.33 on a store has 15 fields and a tag, hence msgspec's 16-bit header. */
export const DIALECTS: Readonly<Record<Dialect, DialectForm>> = {
  "vllm-0.9.0": arrays(6, 2, 2),
  "vllm-0.9.1": arrays(6, 2),
  "vllm-0.10.2": arrays(7, 3),
  "vllm-0.14": arrays(8, 3),
  "vllm-0.17": arrays(9, 3),
  "vllm-0.18": arrays(10, 4),
  "vllm-0.21": arrays(12, 4),
  "vllm-0.24": maps(STORED_0_24, ["group_idx"]),
  "vllm-0.26": maps([...STORED_0_24, "locality"], ["group_idx", "locality"]),
  "vllm-0.29": VLLM_0_29,
  "vllm-0.33": VLLM_0_33,
  "sglang-v1": arrays(6, 2, 2),
  "sglang-medium": arrays(7, 3),
  "sglang-salted": { ...arrays(7, 3), hasMetadataSlot: true },
  "sglang-map": {
    ...maps([], []),
    stored: {
      required: STORED_SLOTS.slice(0, 5),
      optional: ["medium", "cache_salt", "session_id", "lora_name"],
    },
    removed: { required: ["block_hashes"], optional: ["medium"] },
  },
  trtllm: maps([], []),
};
