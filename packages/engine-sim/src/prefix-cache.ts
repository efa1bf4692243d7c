/**
 * The prefix cache of one engine: device pool, host tier, names, and what is announced of them.
 *
 *     match    which leading blocks of a request are on the device, and which on the host after them
 *     reserve  blocks for the tokens about to be computed; reusing a named one evicts it (device → host → gone)
 *     publish  full blocks get their names: engine hash, our prefix hash, a BlockStored
 *     release  last block first, so that the tail of a chain is evicted before its head
 *
 *  F1  What is held and named = what was announced and not taken back: replaying the events from 0 gives `contents`.
 *  F2  A request never hits its last token's block: one token must be computed to have an answer
 *      (vllm/v1/core/kv_cache_manager.py, get_computed_blocks). A fully cached prompt therefore stores its last block a
 *      second time, a copy with an event of its own.
 *  F3  A block's offload is announced before its eviction, while its name still means something to the listener.
 *
 * A reset empties the host tier too. AllBlocksCleared names no medium, and a listener that keeps
 * host entries after it is the rarer kind: Dynamo and llm-d drop them.
 */
import { saltDigest, type PrefixHasher } from "@kvsync/core";
import type { ActiveRequest } from "./active-request.ts";
import type { BlockNames, NameColumns } from "./block-names.ts";
import { BlockPool } from "./block-pool.ts";
import type { DialectVoice } from "./dialect.ts";
import type { ResolvedEngineSettings } from "./engine-settings.ts";
import { DIGEST_BYTES, externalOffset, type EngineHasher } from "./engine-hash.ts";
import type { EventLog, WireHash } from "./event-log.ts";
import { HostTier } from "./host-tier.ts";
import type { SchedulerCache } from "./scheduler.ts";

// Blocks hashed ahead while a prefix still matches: few enough not to waste work at the first miss.
const HASH_AHEAD_BLOCKS = 16;

/** What moved and what was found, since the engine was made. */
export interface CacheCounters {
  storedBlocks: number;
  removedBlocks: number;
  storedHostBlocks: number;
  removedHostBlocks: number;
  /** Tokens looked up at first admissions: prompts. */
  queriedTokens: number;
  /** Of these, the ones found on the device. */
  hitTokens: number;
  /** Of these, the ones found on the host after them. */
  hostHitTokens: number;
}

/** Cached blocks of one engine and their announcements. */
export class PrefixCache implements SchedulerCache<ActiveRequest> {
  readonly pool: BlockPool;
  readonly host: HostTier;
  readonly counters: CacheCounters = {
    storedBlocks: 0,
    removedBlocks: 0,
    storedHostBlocks: 0,
    removedHostBlocks: 0,
    queriedTokens: 0,
    hitTokens: 0,
    hostHitTokens: 0,
  };
  /** Number of the message that the step's events will travel in; the engine keeps it current. */
  sequenceNumber = 0;
  /** Replaced at a restart, when a random root is drawn anew. */
  hasher: EngineHasher;
  readonly #settings: ResolvedEngineSettings;
  readonly #voice: DialectVoice;
  readonly #prefixHasher: PrefixHasher;
  readonly #log: EventLog;
  readonly #externalOffset: number;
  readonly #bytesOnWire: boolean;
  #prefixScratch = new Uint32Array(1024);

  constructor(
    settings: ResolvedEngineSettings,
    dependencies: { hasher: EngineHasher; prefixHasher: PrefixHasher; log: EventLog; voice: DialectVoice },
  ) {
    this.#settings = settings;
    this.#voice = dependencies.voice;
    this.hasher = dependencies.hasher;
    this.#prefixHasher = dependencies.prefixHasher;
    this.#log = dependencies.log;
    this.#externalOffset = externalOffset(settings.hashAlgorithm);
    this.#bytesOnWire = settings.hashForm === "bytes";
    const described = settings.hostBlockCount > 0 && settings.hostSelfDescribing;
    const columns: NameColumns = {
      digests: this.#bytesOnWire,
      describedBlockSize: described ? settings.blockSize : 0,
    };
    this.pool = new BlockPool(settings.blockCount, columns, (id) => {
      this.#deviceEvicted(id);
    });
    this.host = new HostTier(settings.hostBlockCount, columns, (slot) => {
      this.#hostEvicted(slot);
    });
  }

  /** See SchedulerCache. */
  get freeCount(): number {
    return this.pool.freeCount;
  }

  /**
   * Finds the cached leading blocks of a request, up to but without its last token's (F2). Their ids go to
   * `request.blocks`, their numbers to `matchedDevice` and `matchedHost`. Nothing is held by it.
   */
  match(request: ActiveRequest): void {
    const { pool, host } = this;
    const blocksMax = Math.floor((request.tokenCount - 1) / this.#settings.blockSize);
    let device = 0;
    for (; device < blocksMax; device++) {
      const id = this.#find(request, device, blocksMax, pool);
      if (id < 0) break;
      request.blocks[device] = id;
    }
    let end = device;
    if (host.capacity > 0) while (end < blocksMax && this.#find(request, end, blocksMax, host) >= 0) end++;
    request.matchedDevice = device;
    request.matchedHost = end - device;
  }

  /** Of the matched device blocks, how many are free now, so that holding them takes them from the free ones. */
  matchedFree(request: ActiveRequest): number {
    let free = 0;
    for (let block = 0; block < request.matchedDevice; block++)
      if (this.pool.isFree(request.blocks[block] ?? 0)) free++;
    return free;
  }

  /** Holds what `match` found on the device, and marks what it found on the host as used. */
  retainMatched(request: ActiveRequest): void {
    const { pool, host } = this;
    const { matchedDevice, matchedHost } = request;
    this.#countHit(request);
    for (let block = 0; block < matchedDevice; block++) pool.retain(request.blocks[block] ?? 0);
    request.blockCount = matchedDevice;
    request.registered = matchedDevice;
    if (matchedDevice > 0) {
      const last = request.blocks[matchedDevice - 1] ?? 0;
      request.prefixLow = pool.names.prefixWords[last * 2] ?? 0;
      request.prefixHigh = pool.names.prefixWords[last * 2 + 1] ?? 0;
    }
    if (this.#settings.reportMode === "full" && matchedDevice > 0) this.#announceAgain(request);
    // From the tail, so that the head of the chain is used last and kept longest.
    for (let block = matchedDevice + matchedHost - 1; block >= matchedDevice; block--) {
      const slot = this.#find(request, block, block + 1, host);
      if (slot >= 0) host.touch(slot);
    }
  }

  /** Takes `count` more blocks for a request; that many must be free. */
  reserve(request: ActiveRequest, count: number): void {
    for (let i = 0; i < count; i++) request.blocks[request.blockCount++] = this.pool.allocate();
  }

  /** Names and announces the request's blocks that are full with `request.computed` tokens. */
  publish(request: ActiveRequest): void {
    const { blockSize } = this.#settings;
    const first = request.registered;
    const end = Math.floor(request.computed / blockSize);
    if (end <= first) return;
    this.#hashUpTo(request, end);
    this.#hashPrefixes(request, first, end);
    const hashes = new Array<WireHash>(end - first);
    for (let block = first; block < end; block++)
      hashes[block - first] = this.#register(request, first, block);
    request.registered = end;
    this.counters.storedBlocks += end - first;
    this.#announceDevice(request, first, hashes);
  }

  /** Lets go of all of a request's blocks; named ones stay cached. */
  release(request: ActiveRequest): void {
    for (let block = request.blockCount - 1; block >= 0; block--)
      this.pool.release(request.blocks[block] ?? 0);
    request.blockCount = 0;
    request.registered = 0;
    request.computed = 0;
    request.quietUntil = 0;
  }

  /** Forgets every block and announces it; false, and nothing happens, while any is held. */
  reset(): boolean {
    if (!this.pool.reset()) return false;
    this.host.clear();
    this.#log.cleared();
    return true;
  }

  // As vLLM, which keeps the lookups of preempted requests out of these counts.
  #countHit({ cachedBlocks, tokenCount, matchedDevice, matchedHost }: ActiveRequest): void {
    if (cachedBlocks >= 0) return;
    this.counters.queriedTokens += tokenCount;
    this.counters.hitTokens += matchedDevice * this.#settings.blockSize;
    this.counters.hostHitTokens += matchedHost * this.#settings.blockSize;
  }

  #announceDevice(request: ActiveRequest, first: number, hashes: readonly WireHash[]): void {
    const { blockSize } = this.#settings;
    this.#log.stored({
      tier: "device",
      hashes,
      parent: first === 0 ? null : this.#wireHash(request.digests, (first - 1) * DIGEST_BYTES),
      tokens: request.tokens.subarray(first * blockSize, (first + hashes.length) * blockSize),
      blockSize,
      loraName: request.loraName,
      loraId: request.context === 0 ? null : request.context,
      cacheSalt: request.cacheSalt,
    });
  }

  // kv_cache_report_mode=full: what the request found cached, as if it had just been stored.
  #announceAgain(request: ActiveRequest): void {
    const { names } = this.pool;
    const ids = Array.from(request.blocks.subarray(0, request.matchedDevice));
    for (const id of ids) names.announcedIn[id] = this.sequenceNumber;
    this.#announceDevice(
      request,
      0,
      ids.map((id) => this.#nameOf(names, id)),
    );
  }

  #find(request: ActiveRequest, block: number, blocksMax: number, tier: BlockPool | HostTier): number {
    if (block >= request.digestCount) this.#hashUpTo(request, Math.min(blocksMax, block + HASH_AHEAD_BLOCKS));
    const at = block * DIGEST_BYTES + this.#externalOffset;
    return tier.find(readU32(request.digests, at + 4), readU32(request.digests, at));
  }

  #hashUpTo(request: ActiveRequest, end: number): void {
    if (request.digestCount >= end) return;
    const { tokens, digestCount, loraName, cacheSalt, digests } = request;
    this.hasher.hashBlocks(tokens, digestCount, end, this.#settings.blockSize, loraName, cacheSalt, digests);
    request.digestCount = end;
  }

  // Our own chained hashes of blocks first … end − 1, to #prefixScratch from its start.
  #hashPrefixes(request: ActiveRequest, first: number, end: number): void {
    const { blockSize } = this.#settings;
    const count = end - first;
    if (this.#prefixScratch.length < count * 2) this.#prefixScratch = new Uint32Array(count * 2);
    const out = this.#prefixScratch;
    const tokens = request.tokens.subarray(first * blockSize, end * blockSize);
    if (first > 0) {
      const parent = { low: request.prefixLow, high: request.prefixHigh };
      this.#prefixHasher.hash(tokens, count, blockSize, parent, out);
    } else if (request.cacheSalt === null) this.#prefixHasher.hash(tokens, count, blockSize, null, out);
    else this.#hashSaltedRoot(tokens, count, request.cacheSalt, out);
    request.prefixLow = out[count * 2 - 2] ?? 0;
    request.prefixHigh = out[count * 2 - 1] ?? 0;
  }

  // The root's local hash takes the salt's digest in: XXH3 of the two, 16 bytes, which is a block of four "tokens".
  #hashSaltedRoot(tokens: Uint32Array, count: number, salt: string, out: Uint32Array): void {
    const { blockSize } = this.#settings;
    const hasher = this.#prefixHasher;
    const mixed = new Uint32Array(4);
    hasher.hash(tokens, 1, blockSize, null, mixed);
    saltDigest(salt, hasher, mixed, 2);
    const root = new Uint32Array(2);
    hasher.hash(mixed, 1, 4, null, root);
    const rest = new Uint32Array(count * 2);
    const parent = { low: root[0] ?? 0, high: root[1] ?? 0 };
    if (count > 1) hasher.hash(tokens.subarray(blockSize), count - 1, blockSize, parent, rest);
    out.set(root);
    out.set(rest.subarray(0, (count - 1) * 2), 2);
  }

  // Fills the columns of one block, names it, and returns its hash for the wire.
  #register(request: ActiveRequest, first: number, block: number): WireHash {
    const { names } = this.pool;
    const id = request.blocks[block] ?? 0;
    const digestAt = block * DIGEST_BYTES;
    const at = digestAt + this.#externalOffset;
    const { digests } = request;
    names.engineWords[id * 2] = readU32(digests, at + 4);
    names.engineWords[id * 2 + 1] = readU32(digests, at);
    names.prefixWords[id * 2] = this.#prefixScratch[(block - first) * 2] ?? 0;
    names.prefixWords[id * 2 + 1] = this.#prefixScratch[(block - first) * 2 + 1] ?? 0;
    names.contextOf[id] = request.context;
    names.announcedIn[id] = this.sequenceNumber;
    if (this.#bytesOnWire)
      names.digests.set(digests.subarray(digestAt, digestAt + DIGEST_BYTES), id * DIGEST_BYTES);
    if (names.describedBlockSize > 0) this.#describe(request, block, id);
    this.pool.register(id);
    return this.#nameOf(names, id);
  }

  #describe(request: ActiveRequest, block: number, id: number): void {
    const { names } = this.pool;
    const size = names.describedBlockSize;
    names.tokens.set(request.tokens.subarray(block * size, (block + 1) * size), id * size);
    names.hasParent[id] = block > 0 ? 1 : 0;
    names.saltOf[id] = request.cacheSalt;
    const parentAt = (block - 1) * DIGEST_BYTES;
    if (block > 0)
      names.parents.set(request.digests.subarray(parentAt, parentAt + DIGEST_BYTES), id * DIGEST_BYTES);
  }

  #deviceEvicted(id: number): void {
    const { names } = this.pool;
    const slot = this.host.offload(names, id);
    if (slot >= 0) this.#announceOffload(slot);
    this.counters.removedBlocks++;
    this.#log.removed("device", this.#nameOf(names, id));
  }

  #hostEvicted(slot: number): void {
    this.counters.removedHostBlocks++;
    this.#log.removed("host", this.#nameOf(this.host.names, slot));
  }

  #announceOffload(slot: number): void {
    const { names } = this.host;
    names.announcedIn[slot] = this.sequenceNumber;
    this.counters.storedHostBlocks++;
    const hash = this.#nameOf(names, slot);
    const size = names.describedBlockSize;
    if (size === 0) {
      this.#log.storedPlaceholder(hash);
      return;
    }
    const context = names.contextOf[slot] ?? 0;
    this.#log.stored({
      tier: "host",
      hashes: [hash],
      parent: names.hasParent[slot] === 1 ? this.#wireHash(names.parents, slot * DIGEST_BYTES) : null,
      tokens: names.tokens.slice(slot * size, (slot + 1) * size),
      blockSize: size,
      loraName: context === 0 ? null : (this.#settings.loraNames[context - 1] ?? null),
      loraId: context === 0 ? null : context,
      cacheSalt: names.saltOf[slot] ?? null,
    });
  }

  #nameOf(names: BlockNames, id: number): WireHash {
    if (this.#bytesOnWire) return names.digests.slice(id * DIGEST_BYTES, (id + 1) * DIGEST_BYTES);
    const hash = names.engineHashes[id] ?? 0n;
    return this.#voice.signedHashes ? BigInt.asIntN(64, hash) : hash;
  }

  #wireHash(digests: Uint8Array, digestAt: number): WireHash {
    if (this.#bytesOnWire) return digests.slice(digestAt, digestAt + DIGEST_BYTES);
    const at = digestAt + this.#externalOffset;
    const hash = (BigInt(readU32(digests, at)) << 32n) | BigInt(readU32(digests, at + 4));
    return this.#voice.signedHashes ? BigInt.asIntN(64, hash) : hash;
  }
}

function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  );
}
