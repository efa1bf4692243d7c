/**
 * The events of the current step, in the words of one dialect. The cache reports each change; here
 * it becomes the plain objects that core's encoder takes.
 *
 *  V1  Events are in the order of what happened: evictions before the stores that caused them.
 *  V2  vLLM takes back one hash per event; SGLang and TensorRT-LLM one event per run of removals on one medium.
 */
import type { BlockRemoved, BlockStored, ExtraKey, KvEvent } from "@kvsync/core";
import type { DialectVoice } from "./dialect.ts";
import type { SlidingWindowGroup } from "./sliding-window-group.ts";

/** A hash as the wire carries it. */
export type WireHash = bigint | Uint8Array;

/** A run of blocks that were stored. */
export interface StoredRun {
  readonly tier: "device" | "host";
  readonly hashes: readonly WireHash[];
  readonly parent: WireHash | null;
  /** All tokens of the run; a view, not to be changed later. */
  readonly tokens: Uint32Array;
  readonly blockSize: number;
  readonly loraName: string | null;
  readonly loraId: number | null;
  readonly cacheSalt: string | null;
}

const NO_TOKENS = new Uint32Array(0);

/** Collects the events of a step. */
export class EventLog {
  readonly #voice: DialectVoice;
  readonly #window: SlidingWindowGroup | null;
  #events: KvEvent[] = [];
  // The hashes of the last event when it is a removal that may grow (V2).
  #openRemoval: WireHash[] | null = null;
  #openMedium: string | null = null;

  /**
   * @param voice - what the dialect says and how.
   * @param window - the second group of a hybrid model; null for a model with one group.
   */
  constructor(voice: DialectVoice, window: SlidingWindowGroup | null) {
    this.#voice = voice;
    this.#window = window;
  }

  /** Whether the step has nothing to tell. */
  get empty(): boolean {
    return this.#events.length === 0;
  }

  /** Records a store of at least one block. */
  stored(run: StoredRun): void {
    const voice = this.#voice;
    const event: BlockStored = {
      type: "BlockStored",
      blockHashes: run.hashes,
      parentBlockHash: run.parent,
      tokenIds: run.tokens,
      blockSize: run.blockSize,
      loraId: run.loraId,
      medium: voice.media[run.tier],
      loraName: run.loraName,
      extraKeys: voice.extraKeys ? extraKeysOf(run) : null,
      groupIdx: voice.groups ? 0 : null,
      kvCacheSpecKind: voice.kinds ? "full_attention" : null,
      cacheSalt: voice.salts ? run.cacheSalt : null,
    };
    this.#push(event);
    if (this.#window !== null && run.tier === "device") this.#storeInWindow(this.#window, event);
  }

  /** Records an offload of one block that names no tokens, as vLLM's offloading connector does. */
  storedPlaceholder(hash: WireHash): void {
    this.#push({
      type: "BlockStored",
      blockHashes: [hash],
      parentBlockHash: null,
      tokenIds: NO_TOKENS,
      blockSize: 0,
      medium: this.#voice.media.host,
      groupIdx: this.#voice.groups ? 0 : null,
    });
  }

  /** Records that one copy of a block is gone. */
  removed(tier: "device" | "host", hash: WireHash): void {
    const medium = this.#voice.media[tier];
    if (this.#openRemoval !== null && this.#openMedium === medium) {
      this.#openRemoval.push(hash);
      return;
    }
    const hashes = [hash];
    this.#push(this.#removal(hashes, medium, 0));
    if (this.#voice.joinsRemovals) {
      this.#openRemoval = hashes;
      this.#openMedium = medium;
    }
  }

  /** Records that the whole pool was reset. */
  cleared(): void {
    this.#window?.clear();
    this.#push({ type: "AllBlocksCleared" });
  }

  /** Hands over the events since the last call; the log starts empty again. */
  take(): readonly KvEvent[] {
    const events = this.#events;
    this.#events = [];
    this.#openRemoval = null;
    return events;
  }

  #push(event: KvEvent): void {
    this.#openRemoval = null;
    this.#events.push(event);
  }

  #removal(hashes: readonly WireHash[], medium: string | null, group: number): BlockRemoved {
    return { type: "BlockRemoved", blockHashes: hashes, medium, groupIdx: this.#voice.groups ? group : null };
  }

  #storeInWindow(window: SlidingWindowGroup, main: BlockStored): void {
    for (const hash of window.store(main.blockHashes))
      this.#push(this.#removal([hash], main.medium ?? null, 1));
    this.#push({
      ...main,
      groupIdx: 1,
      kvCacheSpecKind: "sliding_window",
      kvCacheSpecSlidingWindow: window.windowTokens,
    });
  }
}

// The adapter is a key of every block, the salt only of block 0: later blocks inherit it through the chain.
function extraKeysOf(run: StoredRun): readonly (readonly ExtraKey[] | null)[] {
  const common = run.loraName === null ? null : [run.loraName];
  const keys = new Array<readonly ExtraKey[] | null>(run.hashes.length).fill(common);
  if (run.parent === null && run.cacheSalt !== null) keys[0] = [...(common ?? []), run.cacheSalt];
  return keys;
}
