/**
 * The host's copies of a cache with one group of full attention, kept in chunks of several blocks:
 *
 *     device blocks   0 1 2 3 │ 4 5 6 7 │ 8 9           a request's, freed
 *     host            chunk 0 │ chunk 1 │ –             whole chunks only; named by their last block
 *
 *  O1  A hit continues on the host from the chunk that the device's hit ends in, by whole chunks.
 *  O2  With self-describing events a chunk announces all its blocks, and blocks that two chunks
 *      share are announced by both. Without them, it announces the name of its last block and no
 *      tokens.
 *  O3  The chunk unused for longest goes first, and takes back what it announced.
 *
 * Source: vllm/distributed/kv_transfer/kv_connector/v1/offloading/{scheduler,events}.py, 0.33.0. Left out:
 * groups, storage tiers, partial tails, transfers that take time.
 */
import type { KvEvent } from "@kvsync/core";
import { at } from "./at.ts";

/** How a cache offloads. */
export interface OffloadSettings {
  readonly blocksPerChunk: number;
  /** Chunks that the host has room for. */
  readonly chunks: number;
  readonly describesItself: boolean;
}

/** What a tier needs of a request. */
export interface OffloadedRun {
  readonly names: readonly number[];
  readonly tokens: readonly number[];
  readonly computed: number;
  readonly loraId: number | null;
  readonly loraName: string | null;
}

/** Chunks on the host. */
export class OffloadTier {
  readonly #settings: OffloadSettings;
  readonly #blockSize: number;
  readonly #wireHash: (name: number) => bigint;
  /** Names of a chunk's blocks by that of its last; in order of use. */
  readonly #chunks = new Map<number, readonly number[]>();

  constructor(settings: OffloadSettings, blockSize: number, wireHash: (name: number) => bigint) {
    this.#settings = settings;
    this.#blockSize = blockSize;
    this.#wireHash = wireHash;
  }

  /** Stores the whole chunks of a request that ends; returns what is announced. */
  store(run: OffloadedRun): KvEvent[] {
    const { blocksPerChunk, chunks } = this.#settings;
    const events: KvEvent[] = [];
    const blocks = Math.min(run.names.length, Math.floor(run.computed / this.#blockSize));
    for (let end = blocksPerChunk; end <= blocks; end += blocksPerChunk) {
      const names = run.names.slice(end - blocksPerChunk, end);
      const key = at(names, blocksPerChunk - 1);
      const known = this.#chunks.delete(key);
      this.#chunks.set(key, names);
      if (known) continue;
      while (this.#chunks.size > chunks) events.push(this.#evictOldest());
      events.push(this.#stored(run, names, end));
    }
    return events;
  }

  /** O1: tokens of a hit that is `deviceTokens` long on the device. */
  extend(names: readonly number[], deviceTokens: number, maxTokens: number): number {
    const { blocksPerChunk } = this.#settings;
    const size = blocksPerChunk * this.#blockSize;
    let chunk = Math.floor(deviceTokens / size);
    const hasChunk = (index: number) => {
      const last = names[(index + 1) * blocksPerChunk - 1];
      return last !== undefined && (index + 1) * size <= maxTokens && this.#chunks.has(last);
    };
    while (hasChunk(chunk)) chunk += 1;
    return Math.max(deviceTokens, chunk * size);
  }

  #evictOldest(): KvEvent {
    const [key, names] = at([...this.#chunks].slice(0, 1), 0);
    this.#chunks.delete(key);
    const announced = this.#settings.describesItself ? names : [key];
    return {
      type: "BlockRemoved",
      blockHashes: announced.map(this.#wireHash),
      medium: "CPU",
      groupIdx: 0,
    };
  }

  // O2
  #stored(run: OffloadedRun, names: readonly number[], end: number): KvEvent {
    const { blocksPerChunk, describesItself } = this.#settings;
    if (!describesItself)
      return {
        type: "BlockStored",
        blockHashes: [this.#wireHash(at(names, blocksPerChunk - 1))],
        parentBlockHash: null,
        tokenIds: [],
        blockSize: 0,
        medium: "CPU",
        groupIdx: 0,
      };
    const first = end - blocksPerChunk;
    return {
      type: "BlockStored",
      blockHashes: names.map(this.#wireHash),
      parentBlockHash: first === 0 ? null : this.#wireHash(at(run.names, first - 1)),
      tokenIds: run.tokens.slice(first * this.#blockSize, end * this.#blockSize),
      blockSize: this.#blockSize,
      loraId: run.loraId,
      loraName: run.loraName,
      medium: "CPU",
      groupIdx: 0,
      kvCacheSpecKind: "full_attention",
    };
  }
}
