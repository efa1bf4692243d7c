/**
 * The prefix cache of an engine whose blocks come with their names. A name is two words that stand
 * for a whole prefix, so that nothing is hashed and no token exists. It holds, shares, evicts and
 * offloads blocks as `PrefixCache` does.
 *
 *     words of a request   │ low₀ high₀ │ low₁ high₁ │ …        block i's name also says what every block before it is
 *
 * The caller promises that equal names are equal prefixes. Names are compared, and no part of a name is read. The low words
 * should be well mixed, since the home cells of the table are taken from them.
 *
 *  N1  Replaying the listener's events gives the blocks that the cache holds.
 *  N2  A request never hits its last token's block (F2 of prefix-cache.ts), and an offload is
 *      reported before its eviction.
 */
import { BlockPool } from "./block-pool.ts";
import { HostTier } from "./host-tier.ts";
import { ScheduledRequest } from "./scheduled-request.ts";
import type { SchedulerCache } from "./scheduler.ts";

const NO_WORDS = new Uint32Array(0);
const NO_COLUMNS = { digests: false, describedBlockSize: 0 };
const TIER_DEVICE = 0;
const TIER_HOST = 1;

/** Told what a cache holds from now on, or no longer, in the order in which it happens. Must not call the engine back. */
export interface BlockListener {
  /**
   * Blocks were computed and lie on the device; the parent of the first is the one before it, if it has one.
   *
   * @param words - names of a request's blocks, shape [2 × blocks], low then high; not to be kept.
   * @param first - position of the first stored one.
   * @param count - of blocks, ≥ 1.
   */
  stored(words: Uint32Array, first: number, count: number): void;
  /** A block of the device lies on the host too. */
  offloaded(low: number, high: number): void;
  /** A block is gone from the device (tier 0) or the host (tier 1). */
  removed(tier: 0 | 1, low: number, high: number): void;
}

/** What a request is made of. */
export interface NamedRequestSource {
  /** Chosen by the caller, unique among the engine's unfinished requests. */
  readonly id: number;
  readonly promptTokens: number;
  /** Tokens it will generate, ≥ 1. */
  readonly outputTokens: number;
  /**
   * Names the full blocks of prompt and answer.
   *
   * @param words - to be filled, shape [2 × blockCount], low then high.
   * @param blockSize - tokens per block.
   */
  nameBlocks(words: Uint32Array, blockSize: number): void;
}

/** A request whose blocks have names. */
export class NamedRequest extends ScheduledRequest {
  readonly #source: NamedRequestSource;
  /** Names of its full blocks; made at its first admission. */
  words: Uint32Array = NO_WORDS;

  constructor(source: NamedRequestSource, nowSeconds: number) {
    super(source.id, source.promptTokens, source.outputTokens, nowSeconds);
    this.#source = source;
  }

  /** See ScheduledRequest. */
  override open(blockSize: number): void {
    if (this.isOpen) return;
    const tokens = this.promptLength + this.outputCount;
    this.blocks = new Int32Array(Math.ceil(tokens / blockSize));
    this.words = new Uint32Array(2 * Math.floor(tokens / blockSize));
    this.#source.nameBlocks(this.words, blockSize);
  }
}

/** See the header. */
export class NamedBlockCache implements SchedulerCache<NamedRequest> {
  readonly #blockSize: number;
  readonly #pool: BlockPool;
  readonly #host: HostTier;
  readonly #listener: BlockListener;

  constructor(blockSize: number, blockCount: number, hostBlockCount: number, listener: BlockListener) {
    this.#blockSize = blockSize;
    this.#listener = listener;
    this.#pool = new BlockPool(blockCount, NO_COLUMNS, (id) => {
      this.#deviceEvicted(id);
    });
    this.#host = new HostTier(hostBlockCount, NO_COLUMNS, (slot) => {
      const { engineWords } = this.#host.names;
      listener.removed(TIER_HOST, engineWords[slot * 2] ?? 0, engineWords[slot * 2 + 1] ?? 0);
    });
  }

  /** See SchedulerCache. */
  get freeCount(): number {
    return this.#pool.freeCount;
  }

  /** Whether a block lies on the device or the host. */
  holds(low: number, high: number): boolean {
    return this.#pool.find(low, high) >= 0 || (this.#host.capacity > 0 && this.#host.find(low, high) >= 0);
  }

  /** Leading blocks of these names that lie on the device, or after that run on the host; at most `blocksMax`. */
  leadingBlocks(words: Uint32Array, blocksMax: number): number {
    let device = 0;
    while (device < blocksMax && this.#pool.find(words[device * 2] ?? 0, words[device * 2 + 1] ?? 0) >= 0)
      device++;
    return this.#endOnHost(words, device, blocksMax);
  }

  /** See SchedulerCache. */
  match(request: NamedRequest): void {
    const { words } = request;
    const blocksMax = Math.floor((request.tokenCount - 1) / this.#blockSize);
    let device = 0;
    for (; device < blocksMax; device++) {
      const id = this.#pool.find(words[device * 2] ?? 0, words[device * 2 + 1] ?? 0);
      if (id < 0) break;
      request.blocks[device] = id;
    }
    request.matchedDevice = device;
    request.matchedHost = this.#endOnHost(words, device, blocksMax) - device;
  }

  /** See SchedulerCache. */
  matchedFree(request: NamedRequest): number {
    let free = 0;
    for (let block = 0; block < request.matchedDevice; block++)
      if (this.#pool.isFree(request.blocks[block] ?? 0)) free++;
    return free;
  }

  /** See SchedulerCache. */
  retainMatched(request: NamedRequest): void {
    const { matchedDevice, matchedHost, words } = request;
    for (let block = 0; block < matchedDevice; block++) this.#pool.retain(request.blocks[block] ?? 0);
    request.blockCount = matchedDevice;
    request.registered = matchedDevice;
    // From the tail, so that the head of the chain is used last and kept longest.
    for (let block = matchedDevice + matchedHost - 1; block >= matchedDevice; block--) {
      const slot = this.#host.find(words[block * 2] ?? 0, words[block * 2 + 1] ?? 0);
      if (slot >= 0) this.#host.touch(slot);
    }
  }

  /** See SchedulerCache. */
  reserve(request: NamedRequest, count: number): void {
    for (let i = 0; i < count; i++) request.blocks[request.blockCount++] = this.#pool.allocate();
  }

  /** See SchedulerCache. */
  publish(request: NamedRequest): void {
    const first = request.registered;
    const end = Math.floor(request.computed / this.#blockSize);
    if (end <= first) return;
    const { engineWords } = this.#pool.names;
    const { words } = request;
    for (let block = first; block < end; block++) {
      const id = request.blocks[block] ?? 0;
      engineWords[id * 2] = words[block * 2] ?? 0;
      engineWords[id * 2 + 1] = words[block * 2 + 1] ?? 0;
      this.#pool.register(id);
    }
    request.registered = end;
    this.#listener.stored(words, first, end - first);
  }

  /** See SchedulerCache. */
  release(request: NamedRequest): void {
    for (let block = request.blockCount - 1; block >= 0; block--)
      this.#pool.release(request.blocks[block] ?? 0);
    request.blockCount = 0;
    request.registered = 0;
    request.computed = 0;
    request.quietUntil = 0;
  }

  /** Forgets every block, without a word; none may be held. */
  clear(): void {
    this.#pool.reset();
    this.#host.clear();
  }

  /** Names of all copies held on the device, then of those on the host. O(blocks). */
  forEachHeld(visit: (tier: 0 | 1, low: number, high: number) => void): void {
    const device = this.#pool.names.engineWords;
    for (let id = 0; id < this.#pool.blockCount; id++)
      if (this.#pool.isNamed(id)) visit(TIER_DEVICE, device[id * 2] ?? 0, device[id * 2 + 1] ?? 0);
    const host = this.#host.names.engineWords;
    for (let id = 0; id < this.#host.capacity; id++)
      if (this.#host.isNamed(id)) visit(TIER_HOST, host[id * 2] ?? 0, host[id * 2 + 1] ?? 0);
  }

  #endOnHost(words: Uint32Array, begin: number, blocksMax: number): number {
    let end = begin;
    if (this.#host.capacity > 0)
      while (end < blocksMax && this.#host.find(words[end * 2] ?? 0, words[end * 2 + 1] ?? 0) >= 0) end++;
    return end;
  }

  #deviceEvicted(id: number): void {
    const { names } = this.#pool;
    const low = names.engineWords[id * 2] ?? 0;
    const high = names.engineWords[id * 2 + 1] ?? 0;
    if (this.#host.offload(names, id) >= 0) this.#listener.offloaded(low, high);
    this.#listener.removed(TIER_DEVICE, low, high);
  }
}
