/**
 * A message's events for people: sizes, media, names, never token ids. `inspect` prints it and
 * `doctor` judges it.
 *
 *   payload ──EventBatchDecoder──▶ BatchDescriber (sink) ──▶ BatchDescription
 */

import {
  type DecodedBlockRemoved,
  type DecodedBlockStored,
  EventBatchDecoder,
  type EventFault,
  type EventSink,
  type FieldOwner,
  toHex,
  WireError,
} from "@kvsync/core";

/** Room for the largest event that engines send. */
const TOKENS_MAX = 1_048_576;
const BLOCKS_MAX = 262_144;
/** Engine block hashes shown of one event. */
const HASHES_SHOWN_MAX = 64;

/** One event without its tokens. Optional parts are left out where the event has none. */
export interface EventDescription {
  readonly type: "BlockStored" | "BlockRemoved" | "AllBlocksCleared";
  readonly blocks?: number;
  readonly tokens?: number;
  readonly block_size?: number;
  /** Whether the event names a parent; false at the root of a chain. */
  readonly has_parent?: boolean;
  readonly medium?: string;
  readonly lora_name?: string;
  readonly lora_id?: number;
  readonly group?: number;
  readonly kind?: string;
  readonly locality?: string;
  readonly is_salted?: true;
  readonly has_extra_keys?: true;
  readonly lookahead?: number;
  /** The first of them, 16 hex digits each; only where asked for. */
  readonly hashes?: readonly string[];
}

/** An event or a message that could not be read. */
export interface FaultDescription {
  readonly code: string;
  /** Byte of the payload. */
  readonly offset: number | null;
  /** Position in the batch; null when the message itself broke off. */
  readonly event: number | null;
  readonly message: string;
}

/** One message. */
export interface BatchDescription {
  /** The engine's own clock, Unix seconds; null when unread. */
  readonly timestampSeconds: number | null;
  readonly dpRank: number | null;
  /** How events are spelled: arrays (vLLM before 0.24, SGLang), maps (later vLLM, TensorRT-LLM), both, or none seen. */
  readonly form: "array" | "map" | "mixed" | "none";
  readonly events: readonly EventDescription[];
  readonly faults: readonly FaultDescription[];
  /** Fields that this version does not know, such as "BlockStored quantization", each once. */
  readonly unknown_fields: readonly string[];
}

/** Describes messages, one after the other. */
export class BatchDescriber implements EventSink {
  readonly #showsHashes: boolean;
  readonly #scratch = { tokens: new Uint32Array(TOKENS_MAX), hashes: new Uint32Array(2 * BLOCKS_MAX) };
  readonly #decoder = new EventBatchDecoder(this.#scratch);
  #events: EventDescription[] = [];
  #faults: FaultDescription[] = [];
  #unknownFields = new Set<string>();

  /** @param showsHashes - whether events carry their first engine block hashes. */
  constructor(showsHashes: boolean) {
    this.#showsHashes = showsHashes;
  }

  /**
   * Describes one payload. What cannot be read becomes a fault.
   *
   * @param payload - borrowed during the call.
   * @returns the caller's.
   */
  describe(payload: Uint8Array): BatchDescription {
    this.#events = [];
    this.#faults = [];
    this.#unknownFields = new Set();
    let timestampSeconds: number | null = null;
    let dpRank: number | null = null;
    let form: BatchDescription["form"] = "none";
    try {
      const header = this.#decoder.decode(payload, this);
      timestampSeconds = header.timestampSeconds;
      dpRank = header.dataParallelRank;
      const delivered = header.eventCount - header.faultCount;
      if (delivered > 0)
        form = header.mapEventCount === 0 ? "array" : header.mapEventCount === delivered ? "map" : "mixed";
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#faults.push(faultOf(error, null));
    }
    const unknown_fields = [...this.#unknownFields];
    return { timestampSeconds, dpRank, form, events: this.#events, faults: this.#faults, unknown_fields };
  }

  /** Decoder's callback. */
  onBlockStored(event: DecodedBlockStored): void {
    this.#events.push({
      type: "BlockStored",
      blocks: event.blockCount,
      tokens: event.tokenCount,
      block_size: event.blockSize,
      has_parent: event.hasParent,
      ...(event.medium === null ? {} : { medium: event.medium }),
      ...(event.loraName === null ? {} : { lora_name: event.loraName }),
      ...(event.loraId === null ? {} : { lora_id: event.loraId }),
      ...(event.groupIdx === null ? {} : { group: event.groupIdx }),
      ...(event.kvCacheSpecKind === null ? {} : { kind: event.kvCacheSpecKind }),
      ...(event.locality === null ? {} : { locality: event.locality }),
      ...(event.cacheSalt === null ? {} : { is_salted: true }),
      ...(event.extraKeys === null ? {} : { has_extra_keys: true }),
      ...(event.lookahead > 0 ? { lookahead: event.lookahead } : {}),
      ...this.#hashes(event.blockCount),
    });
  }

  /** Decoder's callback. */
  onBlockRemoved(event: DecodedBlockRemoved): void {
    this.#events.push({
      type: "BlockRemoved",
      blocks: event.blockCount,
      ...(event.medium === null ? {} : { medium: event.medium }),
      ...(event.groupIdx === null ? {} : { group: event.groupIdx }),
      ...(event.locality === null ? {} : { locality: event.locality }),
      ...this.#hashes(event.blockCount),
    });
  }

  /** Decoder's callback. */
  onAllBlocksCleared(): void {
    this.#events.push({ type: "AllBlocksCleared" });
  }

  /** Decoder's callback. */
  onFault({ error, eventIndex }: EventFault): void {
    this.#faults.push(faultOf(error, eventIndex));
  }

  /** Decoder's callback. */
  onUnknownField(owner: FieldOwner, name: string): void {
    this.#unknownFields.add(`${owner} ${name}`);
  }

  #hashes(count: number): { readonly hashes?: readonly string[] } {
    if (!this.#showsHashes) return {};
    const { hashes } = this.#scratch;
    const shown = Math.min(count, HASHES_SHOWN_MAX);
    return {
      hashes: Array.from({ length: shown }, (_, i) => toHex(hashes[2 * i] ?? 0, hashes[2 * i + 1] ?? 0)),
    };
  }
}

function faultOf(error: WireError, event: number | null): FaultDescription {
  const { facts } = error;
  return {
    code: error.code,
    offset: "offset" in facts ? facts.offset : null,
    event,
    message: error.message,
  };
}

/**
 * One event in a few words.
 *
 * @returns such as "BlockStored 12 blocks (192 tokens) GPU lora sql".
 */
export function eventText(event: EventDescription): string {
  const parts: string[] = [event.type];
  if (event.blocks !== undefined) parts.push(`${event.blocks} ${event.blocks === 1 ? "block" : "blocks"}`);
  if (event.tokens !== undefined) parts.push(`(${event.tokens} tokens)`);
  if (event.has_parent === false) parts.push("root");
  if (event.medium !== undefined) parts.push(event.medium);
  if (event.lora_name !== undefined) parts.push(`lora ${event.lora_name}`);
  else if (event.lora_id !== undefined) parts.push(`lora id ${event.lora_id}`);
  if (event.group !== undefined) parts.push(`group ${event.group}`);
  if (event.kind !== undefined) parts.push(event.kind);
  if (event.locality !== undefined) parts.push(event.locality);
  if (event.is_salted === true) parts.push("salted");
  if (event.has_extra_keys === true) parts.push("extra keys");
  if (event.lookahead !== undefined) parts.push(`lookahead ${event.lookahead}`);
  if (event.hashes !== undefined) parts.push(event.hashes.join(" "));
  return parts.join(" ");
}
