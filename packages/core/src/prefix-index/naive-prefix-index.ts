/**
 * The prefix index in Maps and Sets: the specification that `PrefixIndex` is compared with, command by command. No limits
 * (contract.ts S7), no lock-free readers, no speed; hashes are 16 hex digits. What contract.ts leaves open is settled here:
 *
 *  N1  Copies are counted per engine hash. A rank that stored one prefix under two engine hashes has copies under each; a
 *      removal takes from the one it names, and a name without copies is forgotten. The holder has the prefix while any
 *      of its names has a copy.
 *  N2  The blocks of one call take effect one after the other, also where two of them have the same engine hash.
 *  N3  When a store makes several parked ones attachable, the one that was parked first goes first, and so on.
 *  N4  A removal takes from what is parked (the store parked first), else from what is stored, never from both. A parked
 *      block that was removed stays a hole in its store: the blocks behind it keep their prefix hashes.
 *  N5  An engine hash that a rank has in several contexts means the one that the rank last stored to.
 *  N6  With copy counting off, a store adds a copy only where the holder has none under that engine hash, and a removal
 *      takes all parked blocks of that name beside the copy: announced again means no more than announced. The setting
 *      outlives `clearRank`.
 *
 * Tests and benchmarks only: not part of the package's surface.
 */
import { hexAt, ReferenceHash, wordsOf } from "../block-hash/reference-hash.ts";
import { toHex } from "../block-hash/block-hash.ts";
import { DEFAULT_HASH_SEED, MATCH_ROW_WORDS } from "./contract.ts";
import type { ContextKey, IndexScratch, IndexWriter, MatchResult, StoreOutcome, Tier } from "./contract.ts";

/** What one engine hash means to one rank in one context, and its copies by tier: at least one is not 0. */
interface Name {
  readonly prefix: string;
  readonly copies: number[];
}

interface Store {
  readonly contextId: number;
  readonly rankSlot: number;
  readonly tier: Tier;
  readonly parent: string | null;
  readonly blocks: { readonly engineHash: string; readonly local: string; removed: boolean }[];
}

const BLOCKS_MAX = 32_768;

/** The specification of a prefix index. Writer and reader in one: both take their input from the same memory. */
export class NaivePrefixIndex implements IndexWriter, IndexScratch {
  readonly tokens: Uint32Array = new Uint32Array(32 * BLOCKS_MAX);
  readonly hashes: Uint32Array = new Uint32Array(2 * BLOCKS_MAX);
  readonly extraDigests: Uint32Array = new Uint32Array(2 * BLOCKS_MAX);
  readonly #hash: ReferenceHash;
  readonly #contexts: ContextKey[] = [];
  /** Rank slot → context id, the one last stored to last (N5) → engine hash → meaning. */
  readonly #ranks = new Map<number, Map<number, Map<string, Name>>>();
  readonly #uncounted = new Set<number>();
  #parked: Store[] = [];
  /** Context id → what `#held` made of it, until the next write. */
  readonly #view = new Map<number, Map<number, Map<string, number[]>>>();

  /** @param hash - gives all hashes their seed; may be shared. */
  constructor(hash: ReferenceHash) {
    this.#hash = hash;
  }

  /** The input memory, which is the index's own. */
  get scratch(): IndexScratch {
    return this;
  }

  /** Makes an empty index whose hashes have this seed, 0 … 2⁶⁴ − 1. */
  static async create(seed: number | bigint = DEFAULT_HASH_SEED): Promise<NaivePrefixIndex> {
    return new NaivePrefixIndex(await ReferenceHash.create(seed));
  }

  /** Gives the position of a context in the order of first use: never evicted, never reused. */
  openContext(key: ContextKey): number {
    const known = this.#contexts.findIndex((one) => nameOf(one) === nameOf(key));
    return known >= 0 ? known : this.#contexts.push(key) - 1;
  }

  /** Stores (S1, S2, S4), then attaches what waited for it (N3). Never rejects. */
  storeBlocks(...[contextId, rankSlot, tier, ...rest]: Parameters<IndexWriter["storeBlocks"]>): StoreOutcome {
    const [blockCount, hasParent, parentLow, parentHigh, hasExtra] = rest;
    const blocks = this.#locals(contextId, blockCount, hasExtra).map((local, i) => {
      return { engineHash: hexAt(this.hashes, i), local, removed: false };
    });
    const parent = hasParent ? toHex(parentLow, parentHigh) : null;
    const store = { contextId, rankSlot, tier, parent, blocks };
    if (!this.#isAttachable(store)) return (this.#parked.push(store), "parked");
    for (
      let next: Store | undefined = store;
      next;
      next = this.#parked.find((one) => this.#isAttachable(one))
    ) {
      this.#attach(next);
      const attached = next;
      this.#parked = this.#parked.filter((one) => one !== attached);
    }
    return "stored";
  }

  /** Adds copies of what is stored; a parked block is not known. */
  storeKnownBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    return this.#countHashes(blockCount, (engineHash) => {
      const names = this.#contextsOf(rankSlot).find((one) => one.has(engineHash));
      if (names !== undefined) this.#addCopy(rankSlot, names.get(engineHash)!, tier);
      return names !== undefined;
    });
  }

  /** Takes copies away (S3, N4). */
  removeBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    return this.#countHashes(blockCount, (engineHash) => {
      const names = this.#contextsOf(rankSlot).find((one) => (one.get(engineHash)?.copies[tier] ?? 0) > 0);
      const isEvery = this.#uncounted.has(rankSlot);
      if (!isEvery && this.#removeParked(rankSlot, tier, engineHash, false)) return true;
      if (names === undefined) return this.#removeParked(rankSlot, tier, engineHash, isEvery);
      const { copies } = names.get(engineHash)!;
      copies[tier]--;
      if (copies.every((count) => count === 0)) names.delete(engineHash);
      if (isEvery) this.#removeParked(rankSlot, tier, engineHash, isEvery);
      return true;
    });
  }

  /** Forgets a rank (S5). */
  clearRank(rankSlot: number): void {
    this.#view.clear();
    this.#ranks.delete(rankSlot);
    this.#parked = this.#parked.filter((store) => store.rankSlot !== rankSlot);
  }

  /** Chooses between copies counted and not (N6). */
  setCopyCounting(rankSlot: number, counted: boolean): void {
    this.#uncounted[counted ? "delete" : "add"](rankSlot);
  }

  /** XXH3-64 of `bytes`; `out` receives low and high at `index`, `index + 1`. */
  digestBytes(bytes: Uint8Array, out: Uint32Array, index: number): void {
    out.set(wordsOf(this.#hash.digest(bytes)), index);
  }

  /** Looks the prompt in `tokens` up (S6). The result is the caller's. */
  matchTokens(contextId: number, tokenCount: number, hasExtra: boolean): MatchResult {
    const { blockSize, lookahead } = this.#contexts[contextId];
    const blockCount = Math.max(0, Math.floor((tokenCount - lookahead) / blockSize));
    return this.#match(contextId, this.#hash.prefixes(this.#locals(contextId, blockCount, hasExtra), null));
  }

  /** Looks the prefix hashes in `hashes` up (S6). The result is the caller's. */
  matchHashes(contextId: number, blockCount: number): MatchResult {
    const prefixes = Array.from({ length: blockCount }, (_, i) => hexAt(this.hashes, i));
    return this.#match(contextId, prefixes);
  }

  /** What a context holds, as sorted lines "prefixHash rankSlot tier copies". */
  dump(contextId: number): string[] {
    const lines: string[] = [];
    for (const [rankSlot, held] of this.#held(contextId))
      for (const [prefix, copies] of held)
        copies.forEach((count, tier) => {
          if (count > 0) lines.push(`${prefix} ${rankSlot} ${tier} ${count}`);
        });
    return lines.sort();
  }

  #attach({ contextId, rankSlot, tier, parent, blocks }: Store): void {
    const contexts = this.#ranks.get(rankSlot) ?? new Map<number, Map<string, Name>>();
    const names = contexts.get(contextId) ?? new Map<string, Name>();
    contexts.delete(contextId);
    this.#ranks.set(rankSlot, contexts.set(contextId, names));
    const locals = blocks.map((block) => block.local);
    const prefixes = this.#hash.prefixes(locals, parent === null ? null : names.get(parent)!.prefix);
    for (const [i, { engineHash, removed }] of blocks.entries()) {
      if (removed) continue;
      const old = names.get(engineHash);
      const name = old?.prefix === prefixes[i] ? old : { prefix: prefixes[i], copies: [0, 0, 0, 0] };
      names.set(engineHash, name);
      this.#addCopy(rankSlot, name, tier);
    }
    this.#view.clear();
  }

  #addCopy(rankSlot: number, { copies }: Name, tier: Tier): void {
    if (copies[tier] === 0 || !this.#uncounted.has(rankSlot)) copies[tier]++;
  }

  #removeParked(rankSlot: number, tier: Tier, engineHash: string, isEvery: boolean): boolean {
    const stores = this.#parked.filter((store) => store.rankSlot === rankSlot && store.tier === tier);
    const blocks = stores.flatMap((store) => store.blocks);
    const waiting = blocks.filter((block) => block.engineHash === engineHash && !block.removed);
    for (const block of isEvery ? waiting : waiting.slice(0, 1)) block.removed = true;
    return waiting.length > 0;
  }

  #isAttachable({ contextId, rankSlot, parent }: Store): boolean {
    return parent === null || this.#ranks.get(rankSlot)?.get(contextId)?.has(parent) === true;
  }

  #contextsOf(rankSlot: number): Map<string, Name>[] {
    return [...(this.#ranks.get(rankSlot)?.values() ?? [])].reverse();
  }

  #countHashes(blockCount: number, takes: (engineHash: string) => boolean): number {
    this.#view.clear();
    const engineHashes = Array.from({ length: blockCount }, (_, i) => hexAt(this.hashes, i));
    return engineHashes.filter(takes).length;
  }

  #locals(contextId: number, blockCount: number, hasExtra: boolean): string[] {
    const { blockSize, lookahead } = this.#contexts[contextId];
    const { tokens, extraDigests } = this;
    return this.#hash.locals(tokens, blockCount, blockSize, lookahead, hasExtra ? extraDigests : null);
  }

  /** Rank slot → prefix hash → copies by tier, over all names. */
  #held(contextId: number): Map<number, Map<string, number[]>> {
    const view = this.#view.get(contextId) ?? new Map<number, Map<string, number[]>>();
    if (!this.#view.has(contextId))
      for (const [rankSlot, contexts] of this.#ranks) {
        const held = new Map<string, number[]>();
        for (const { prefix, copies } of contexts.get(contextId)?.values() ?? [])
          held.set(prefix, held.get(prefix)?.map((count, tier) => count + copies[tier]) ?? copies);
        view.set(rankSlot, held);
      }
    this.#view.set(contextId, view);
    return view;
  }

  #match(contextId: number, prefixes: string[]): MatchResult {
    const rows: number[] = [];
    for (const [rankSlot, held] of this.#held(contextId)) {
      const tiers = prefixes.map((prefix) => held.get(prefix)?.findIndex((count) => count > 0) ?? -1);
      const hole = tiers.indexOf(-1);
      const matched = hole < 0 ? tiers : tiers.slice(0, hole);
      const byTier = [0, 1, 2, 3].map((tier) => matched.filter((one) => one === tier).length);
      if (matched.length > 0) rows.push(rankSlot, matched.length, ...byTier);
    }
    return {
      blockCount: prefixes.length,
      matchCount: rows.length / MATCH_ROW_WORDS,
      rows: Uint32Array.from(rows),
    };
  }
}

function nameOf({ model, loraName, blockSize, lookahead }: ContextKey): string {
  return JSON.stringify([model, loraName, blockSize, lookahead]);
}
