/**
 * A model of vLLM's KV-cache manager. Requests take blocks in every group of layers, name them as
 * they fill, and give them back. The events are those of an engine, and a hit for any prompt is
 * what the engine would reuse.
 *
 *     start ─▶ longest hit of all groups ─▶ hold its blocks ─▶ take new ones ─▶ name the full ones
 *     advance ─▶ give back what no group needs any more ─▶ take new ones ─▶ name the full ones
 *     free ─▶ give all back, the tail first in line for reuse
 *
 *  C1  A hit is one length that every group allows; it is found by lowering it until none objects.
 *  C2  A started request never gets its whole prompt from the cache: at most its tokens minus one.
 *  C3  The blocks of a request are named in the step that takes them, before they are computed.
 *  C4  Stores and removals are announced in the order in which they happen.
 *  C5  A full report announces every block of a hit again, from the root, null blocks included.
 *
 * `check()` walks the pool's invariants; the tests compare C1 to C5 with recordings of the real
 * classes. Its events and hits are compared with those of the real classes by
 * packages/engine-sim/real.
 *
 * Not here: time, batches and preemption (the driver's), sub-block states of prefill checkpoints,
 * retention intervals, context parallelism, connectors.
 *
 * Source: vllm/v1/core/kv_cache_coordinator.py, kv_cache_manager.py, single_type_kv_cache_manager.py,
 * 0.33.0.
 */
import { assert, type ExtraKey, type KvEvent } from "@kvsync/core";
import { at } from "./at.ts";
import { BlockChain, extraKeysOf, type PromptKeys } from "./block-chain.ts";
import {
  type CacheSettings,
  type GroupSettings,
  resolveCache,
  type ResolvedCache,
  WIRE_KINDS,
} from "./cache-settings.ts";
import { GroupTable, type RequestTokens, type TableEvents } from "./group-table.ts";
import { findGroupHit } from "./group-rules.ts";
import { KvBlockPool } from "./kv-block-pool.ts";
import { OffloadTier } from "./offload-tier.ts";

/** A prompt. */
export interface Prompt extends PromptKeys {
  readonly tokens: readonly number[];
  /** vLLM's `lora_id` of the adapter. */
  readonly loraId?: number | null | undefined;
}

/** A prompt to compute. */
export interface StartRequest extends Prompt {
  readonly id: string;
  /** vLLM's `kv_cache_report_mode: full`. */
  readonly report?: boolean | undefined;
}

interface Hit {
  readonly tokens: number;
  /** By group, by block. */
  readonly blocks: readonly (readonly number[])[];
}

interface RunningRequest extends RequestTokens {
  readonly prompt: StartRequest;
  computed: number;
}

/** Groups of equal settings, which are looked up together. */
interface LookupGroup {
  readonly settings: GroupSettings;
  readonly ids: number[];
  dropsBlock: boolean;
}

/** The state of one search for the longest hit (C1). */
interface HitSearch {
  readonly names: readonly number[];
  /** By group, by block: the hit so far. */
  readonly blocks: (readonly number[])[];
  /** Groups that dropped their last block at the present length. */
  readonly settled: Set<LookupGroup>;
  /** Tokens that groups with full attention allow: they are asked once. */
  readonly fullHits: Map<LookupGroup, number>;
}

/** The model. */
export class KvCacheModel {
  readonly settings: ResolvedCache;
  readonly #pool: KvBlockPool;
  readonly #chain: BlockChain;
  readonly #tables: readonly GroupTable[];
  readonly #lookups: readonly LookupGroup[];
  readonly #host: OffloadTier | null;
  readonly #requests = new Map<string, RunningRequest>();
  #events: KvEvent[] = [];

  /** @param seed - of the names on the wire. */
  constructor(settings: CacheSettings, seed = 0) {
    const resolved = resolveCache(settings);
    this.settings = resolved;
    this.#chain = new BlockChain(seed);
    this.#pool = new KvBlockPool(resolved.blocks, resolved.groups.length, (group, name) => {
      this.#events.push({
        type: "BlockRemoved",
        blockHashes: [this.#chain.wireHash(name)],
        medium: "GPU",
        groupIdx: group,
      });
    });
    const lookups = lookupGroups(resolved);
    // Groups that are looked up together name their blocks by one rule, too.
    const drops = resolved.groups.map((_, id) =>
      lookups.some((one) => one.dropsBlock && one.ids.includes(id)),
    );
    const events: TableEvents = {
      stored: (...args) => {
        this.#announce(...args);
      },
    };
    this.#tables = resolved.groups.map(
      (_, id) => new GroupTable(id, resolved, at(drops, id), this.#pool, events),
    );
    this.#lookups = lookups;
    const { offload } = settings;
    assert(offload === undefined || resolved.groups.length === 1, "one group is offloaded");
    const wireHash = (name: number) => this.#chain.wireHash(name);
    this.#host = offload === undefined ? null : new OffloadTier(offload, resolved.hashBlockSize, wireHash);
  }

  /** Tokens of a running request whose keys and values exist. */
  computedTokens(id: string): number {
    return this.#running(id).computed;
  }

  /**
   * Looks a prompt up and computes its first tokens.
   *
   * @param stops - positions in order; it computes up to the first that is beyond the hit.
   * @returns tokens that the cache had; null when there is no room, and nothing has begun.
   */
  start(prompt: StartRequest, stops: readonly number[]): number | null {
    const request: RunningRequest = {
      id: prompt.id,
      prompt,
      tokens: [...prompt.tokens],
      promptCount: prompt.tokens.length,
      names: [],
      computed: 0,
    };
    this.#nameTokens(request);
    const hit = this.#findHit(request.names, request.promptCount - 1);
    if (prompt.report === true && hit.tokens > 0) this.#report(request, hit);
    const stop = stops.find((position) => position > hit.tokens) ?? request.promptCount;
    if (!this.#allocate(request, stop - hit.tokens, hit)) return null;
    this.#requests.set(prompt.id, request);
    return hit.tokens;
  }

  /** Computes further tokens; false when there is no room: the request is then gone. */
  advance(id: string, count: number): boolean {
    const request = this.#running(id);
    if (this.#allocate(request, count, null)) return true;
    this.free(id);
    return false;
  }

  /** Appends output tokens, which are not computed yet. */
  append(id: string, tokens: readonly number[]): void {
    const request = this.#running(id);
    request.tokens.push(...tokens);
    this.#nameTokens(request);
  }

  /** Ends a request; what it named stays until it is evicted. */
  free(id: string): void {
    const { prompt, names, tokens, computed } = this.#running(id);
    this.#requests.delete(id);
    for (const table of this.#tables) table.free(id);
    if (this.#host === null) return;
    const { loraId = null, loraName = null } = prompt;
    this.#events.push(...this.#host.store({ names, tokens, computed, loraId, loraName }));
  }

  /** Forgets every name; false while requests run. */
  reset(): boolean {
    if (!this.#pool.reset()) return false;
    this.#events.push({ type: "AllBlocksCleared" });
    return true;
  }

  /** Ends a step and hands its events over. */
  takeEvents(): readonly KvEvent[] {
    const events = this.#events;
    this.#events = [];
    this.#pool.release(this.#tables.flatMap((table) => table.endStep()));
    return events;
  }

  /**
   * What the engine would reuse of a prompt.
   *
   * @returns `held`: the longest hit; `reused`: the longest one that a request gets, which computes at
   *   least its last token (C2).
   */
  ask(prompt: Prompt): { readonly held: number; readonly reused: number } {
    const names: number[] = [];
    const { hashBlockSize, lookahead } = this.settings;
    this.#chain.extend(names, prompt.tokens, hashBlockSize, lookahead, prompt);
    const count = prompt.tokens.length;
    const hit = (most: number) => {
      const { tokens } = this.#findHit(names, most);
      return this.#host === null ? tokens : this.#host.extend(names, tokens, most);
    };
    return { held: hit(Math.min(count, names.length * hashBlockSize)), reused: hit(count - 1) };
  }

  /** Walks the invariants of the pool. */
  check(): void {
    this.#pool.check();
    for (const table of this.#tables) table.check();
  }

  #running(id: string): RunningRequest {
    const request = this.#requests.get(id);
    assert(request !== undefined, () => `request ${id} runs`);
    return request;
  }

  #nameTokens(request: RunningRequest): void {
    const { hashBlockSize, lookahead } = this.settings;
    this.#chain.extend(request.names, request.tokens, hashBlockSize, lookahead, request.prompt);
  }

  #allocate(request: RunningRequest, count: number, hit: Hit | null): boolean {
    const before = request.computed + (hit?.tokens ?? 0);
    const after = before + count;
    for (const table of this.#tables) table.giveBackSkipped(request, before);
    const wanted = this.#tables.reduce(
      (sum, table) => sum + table.blocksWanted(request, after, hit?.blocks[table.groupId] ?? [], before),
      0,
    );
    if (wanted > this.#pool.freeCount) {
      if (hit !== null) for (const table of this.#tables) table.free(request.id);
      return false;
    }
    if (hit !== null)
      for (const table of this.#tables) table.adopt(request, at(hit.blocks, table.groupId), hit.tokens);
    for (const table of this.#tables) table.extend(request, after);
    const cached = Math.min(after, request.tokens.length);
    for (const table of this.#tables) table.nameBlocks(request, this.#cacheable(cached, table.groupId));
    request.computed = after;
    return true;
  }

  // Tokens at the start that a hit could ever end in; a drafter looks one block further.
  #cacheable(tokens: number, group: number): number {
    const { alignment, schedulerBlockSize, lookahead, groups } = this.settings;
    const settled = Math.max(0, tokens - Math.max(0, lookahead - 1));
    if (groups.length === 1) return settled;
    const align = (count: number) =>
      alignment < schedulerBlockSize ? count : count - (count % schedulerBlockSize);
    const aligned = align(tokens);
    if (!at(this.#tables, group).dropsBlock || aligned === 0) return aligned;
    return Math.min(settled, align(settled) + at(groups, group).blockSize);
  }

  // C1
  #findHit(names: readonly number[], maxTokens: number): Hit {
    const { groups } = this.settings;
    const isSingle = groups.length === 1;
    const isSimple = this.#lookups.length === 2 && at(this.#lookups, 0).settings.kind === "full";
    const blocks: (readonly number[])[] = groups.map(() => []);
    const search: HitSearch = { names, blocks, settled: new Set(), fullHits: new Map() };
    let tokens = maxTokens;
    for (;;) {
      const allowed = this.#askGroups(search, tokens);
      const isAgreed = allowed >= tokens;
      tokens = Math.min(allowed, tokens);
      if (isAgreed || isSingle || isSimple) break;
    }
    for (const { settings, ids } of this.#lookups)
      if (settings.kind === "full")
        for (const id of ids) blocks[id] = at(blocks, id).slice(0, Math.ceil(tokens / settings.blockSize));
    return { tokens, blocks };
  }

  /** Asks every group once, each for at most what the groups before it allow. Returns the tokens that the last one allows. */
  #askGroups(search: HitSearch, maxTokens: number): number {
    let allowed = maxTokens;
    for (const lookup of this.#lookups) {
      const known = search.fullHits.get(lookup);
      allowed = known === undefined ? this.#askGroup(lookup, search, allowed) : Math.min(allowed, known);
    }
    return allowed;
  }

  #askGroup(lookup: LookupGroup, search: HitSearch, maxTokens: number): number {
    const { names, blocks, settled, fullHits } = search;
    const { alignment, hashBlockSize } = this.settings;
    const drops = lookup.dropsBlock && !settled.has(lookup);
    const hits = findGroupHit({
      pool: this.#pool,
      groupIds: lookup.ids,
      settings: lookup.settings,
      names,
      hashBlockSize,
      alignment,
      maxTokens: drops ? this.#withDroppedBlock(lookup.settings, maxTokens, names.length) : maxTokens,
      dropsBlock: drops,
    });
    const { tokens } = at(hits, 0);
    if (drops) settled.add(lookup);
    else if (tokens < maxTokens) settled.clear();
    for (const [place, id] of lookup.ids.entries()) blocks[id] = at(hits, place).blocks;
    if (lookup.settings.kind === "full") fullHits.set(lookup, tokens);
    return tokens;
  }

  /** A group that drops its last block searches one block further, as far as there are names. */
  #withDroppedBlock({ kind, blockSize }: GroupSettings, tokens: number, nameCount: number): number {
    const { alignment, hashBlockSize, schedulerBlockSize, groups } = this.settings;
    if (kind === "mamba" || groups.length === 1) return tokens;
    const looksInside = alignment < schedulerBlockSize && kind === "full" && blockSize > hashBlockSize;
    return Math.min(tokens + (looksInside ? hashBlockSize : blockSize), nameCount * hashBlockSize);
  }

  // C5
  #report(request: RunningRequest, hit: Hit): void {
    for (const [group, blocks] of hit.blocks.entries()) {
      const { blockSize } = at(this.settings.groups, group);
      const numbers = blocks.map((_, block) => block);
      if (blocks.length > 0) this.#announce(request, group, blockSize, 0, blocks.length * blockSize, numbers);
    }
  }

  /** Announces blocks `numbers` of a span of tokens; `numbers` counts in units of `blockSize`. */
  #announce(
    request: RequestTokens,
    group: number,
    blockSize: number,
    fromToken: number,
    endToken: number,
    numbers: readonly number[],
  ): void {
    const { hashBlockSize, lookahead, groups } = this.settings;
    const { prompt } = request as RunningRequest;
    const nameAt = (endOfBlock: number) =>
      this.#chain.wireHash(at(request.names, endOfBlock / hashBlockSize - 1));
    const settings = at(groups, group);
    const extraKeys: (readonly ExtraKey[] | null)[] = numbers.map((block) =>
      extraKeysOf(block * blockSize, prompt),
    );
    this.#events.push({
      type: "BlockStored",
      blockHashes: numbers.map((block) => nameAt((block + 1) * blockSize)),
      parentBlockHash: fromToken === 0 ? null : nameAt(fromToken),
      tokenIds: request.tokens.slice(fromToken, endToken),
      blockSize,
      loraId: prompt.loraId ?? null,
      medium: "GPU",
      loraName: prompt.loraName ?? null,
      extraKeys: extraKeys.length === 0 ? null : extraKeys,
      groupIdx: group,
      kvCacheSpecKind: WIRE_KINDS[settings.kind],
      kvCacheSpecSlidingWindow: settings.kind === "window" ? settings.window : null,
      ...(lookahead > 0 && {
        lookaheadTokenIds: numbers.map((block) => {
          const end = (block + 1) * blockSize;
          return request.tokens.slice(end, end + lookahead);
        }),
      }),
    });
  }
}

function lookupGroups({ groups, dropsBlock }: ResolvedCache): readonly LookupGroup[] {
  const lookups: LookupGroup[] = [];
  for (const [id, settings] of groups.entries()) {
    const same = lookups.find((one) => isSameRule(one.settings, settings));
    if (same === undefined) lookups.push({ settings, ids: [id], dropsBlock: at(dropsBlock, id) });
    else {
      same.ids.push(id);
      same.dropsBlock ||= at(dropsBlock, id);
    }
  }
  return lookups.sort((a, b) => Number(a.settings.kind !== "full") - Number(b.settings.kind !== "full"));
}

function isSameRule(a: GroupSettings, b: GroupSettings): boolean {
  const reach = (group: GroupSettings) =>
    group.kind === "window" ? group.window : group.kind === "chunked" ? group.chunk : 0;
  return a.kind === b.kind && a.blockSize === b.blockSize && reach(a) === reach(b);
}
