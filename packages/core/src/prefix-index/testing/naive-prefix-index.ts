/**
 * The prefix index in Maps and Sets: the specification that `PrefixIndex` is compared with, command
 * by command. No limits (contract.ts S7), no lock-free readers, no speed; hashes are 16 hex digits.
 * It settles the points that contract.ts leaves open:
 *
 *  N1  Copies are counted per engine hash. A rank that stored one prefix under two engine hashes
 *      has copies under each. A removal takes from the hash that it names, and a name without
 *      copies is forgotten. The holder has the prefix while any of its names has a copy.
 *  N2  The blocks of one call take effect one after the other, also where two of them have the same engine hash.
 *  N3  When a store makes several parked ones attachable, the one that was parked first goes first, and so on.
 *  N4  A removal takes from what is parked (the store parked first), else from what is stored, never from both. A parked
 *      block that was removed stays a hole in its store: the blocks behind it keep their prefix hashes.
 *  N5  An engine hash that a rank has in several contexts means the one that the rank last stored to.
 *  N7  A group's store takes its blocks one after the other from any group of the rank that has the
 *      name. The main group comes first, then the others as they were opened, each in the context
 *      that it last stored to. A parent is looked for in the same order, the storing group before
 *      all. Tiers of a rank without a main group are those of the first group that holds blocks in
 *      the context. Blocks that it lacks count at the tier of the next group that has them.
 *  N6  A store that is parked, and one that was, counts copies: the rule for repeated blocks (S10)
 *      is that of direct stores.
 *
 * Tests and benchmarks only: not part of the package's surface.
 */
import { hexAt, ReferenceHash, wordsOf } from "../../block-hash/testing/reference-hash.ts";
import { toHex } from "../../block-hash/block-hash.ts";
import {
  DEFAULT_HASH_SEED,
  GROUPS_PER_RANK_MAX,
  HOLDER_SLOTS_MAX,
  LAST_COPY,
  MATCH_ROW_WORDS,
  HELD_BLOCK,
  MISSING_BLOCK,
  RANK_SLOTS_MAX,
  RENAMED_BLOCK,
  REPEATED_BLOCK,
} from "../contract.ts";
import type {
  ContextKey,
  GroupShape,
  IndexScratch,
  IndexWriter,
  MatchResult,
  RepeatRule,
  StoreOutcome,
  Tier,
} from "../contract.ts";

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
  readonly notes: Uint8Array = new Uint8Array(BLOCKS_MAX);
  hasNotes = false;
  attachedRenames: number[] = [];
  readonly #hash: ReferenceHash;
  readonly #contexts: ContextKey[] = [];
  /** Rank slot → context id, the one last stored to last (N5) → engine hash → meaning. */
  readonly #ranks = new Map<number, Map<number, Map<string, Name>>>();
  /** Holder slot → group, in the order of opening. */
  readonly #groups = new Map<number, GroupShape & { readonly owner: number }>();
  /** Rank slot → block size of its main group. */
  readonly #mains = new Map<number, number>();
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
    const [blockCount, hasParent, parentLow, parentHigh, hasExtra, repeats = "count"] = rest;
    this.notes.fill(0, 0, blockCount);
    this.hasNotes = false;
    this.attachedRenames = [];
    const blocks = this.#locals(contextId, blockCount, hasExtra).map((local, i) => {
      return { engineHash: hexAt(this.hashes, i), local, removed: false };
    });
    const parent = hasParent ? toHex(parentLow, parentHigh) : null;
    return this.#storeOrPark({ contextId, rankSlot, tier, parent, blocks }, repeats);
  }

  #storeOrPark(store: Store, repeats: RepeatRule = "count"): StoreOutcome {
    if (!this.#isAttachable(store)) return (this.#parked.push(store), "parked");
    if (repeats === "skip_all" && this.#areRepeated(store)) return "repeated";
    for (
      let next: Store | undefined = store;
      next;
      next = this.#parked.find((one) => this.#isAttachable(one))
    ) {
      this.#attach(next, next === store ? repeats : null);
      const attached = next;
      this.#parked = this.#parked.filter((one) => one !== attached);
    }
    return "stored";
  }

  /** Notes a main group (S8). */
  openMainGroup(rankSlot: number, blockSize: number): void {
    this.#mains.set(rankSlot, blockSize);
    this.#view.clear();
  }

  /** Opens a group under the lowest free slot (S8). */
  openGroup(rankSlot: number, group: GroupShape): number {
    if (this.#familyOf(rankSlot).length > GROUPS_PER_RANK_MAX) return -1;
    let slot = RANK_SLOTS_MAX;
    while (this.#groups.has(slot)) slot++;
    if (slot === HOLDER_SLOTS_MAX) return -1;
    this.#groups.set(slot, { ...group, owner: rankSlot });
    return slot;
  }

  /** Stores to a group by name, and what no name finds by tokens (S8, N7). Never rejects. */
  storeGroupBlocks(...[contextId, slot, tier, ...rest]: Parameters<IndexWriter["storeGroupBlocks"]>): {
    outcome: StoreOutcome;
    unplacedCount: number;
  } {
    this.attachedRenames = [];
    const [blockCount, stride, hasTokens, hasParent, parentLow, parentHigh, hasExtra] = rest;
    const engineHashes = Array.from({ length: blockCount }, (_, i) => hexAt(this.hashes, i));
    const found = engineHashes.map((engineHash) => this.#storeNamed(slot, tier, engineHash));
    this.#view.clear();
    if (!found.includes(false)) return { outcome: "stored", unplacedCount: 0 };
    if (!hasTokens) {
      const missed = engineHashes.filter((_, i) => !found[i]);
      missed.forEach((engineHash, i) => {
        this.hashes.set(wordsOf(engineHash), 2 * i);
      });
      return { outcome: "stored", unplacedCount: missed.length };
    }
    const digests = this.extraDigests.slice(0, 2 * blockCount);
    this.extraDigests.fill(0, 0, 2 * blockCount * stride);
    for (let i = 0; i < blockCount; i++)
      this.extraDigests.set(digests.subarray(2 * i, 2 * i + 2), 2 * i * stride);
    const blocks = this.#locals(contextId, blockCount * stride, hasExtra).map((local, i) => {
      const [block, position] = [Math.floor(i / stride), i % stride];
      const removed = position < stride - 1 || found[block];
      return { engineHash: engineHashes[block], local, removed };
    });
    const parent = hasParent ? toHex(parentLow, parentHigh) : null;
    return {
      outcome: this.#storeOrPark({ contextId, rankSlot: slot, tier, parent, blocks }),
      unplacedCount: 0,
    };
  }

  #storeNamed(slot: number, tier: Tier, engineHash: string): boolean {
    for (const member of this.#familyOf(slot))
      for (const [contextId, names] of [...(this.#ranks.get(member) ?? [])].reverse()) {
        const prefix = names.get(engineHash)?.prefix;
        if (prefix === undefined) continue;
        this.#addNamed(contextId, slot, tier, engineHash, prefix);
        return true;
      }
    return false;
  }

  /** The holder slots of the rank that a slot belongs to, its main group's first. */
  #familyOf(slot: number): number[] {
    const owner = this.#groups.get(slot)?.owner ?? slot;
    return [owner, ...[...this.#groups].filter(([, group]) => group.owner === owner).map(([one]) => one)];
  }

  /** Adds copies of what is stored; a parked block is not known. */
  storeKnownBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    return this.#countHashes(blockCount, (engineHash) => {
      const names = this.#contextsOf(rankSlot).find((one) => one.has(engineHash));
      if (names !== undefined) names.get(engineHash)!.copies[tier]++;
      return names !== undefined;
    });
  }

  /** Takes copies away (S3, N4). */
  removeBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    this.notes.fill(0, 0, blockCount);
    return this.#countHashes(blockCount, (engineHash, i) => {
      const names = this.#contextsOf(rankSlot).find((one) => (one.get(engineHash)?.copies[tier] ?? 0) > 0);
      if (this.#removeParked(rankSlot, tier, engineHash)) return true;
      if (names === undefined) {
        this.notes[i] = MISSING_BLOCK;
        return false;
      }
      const { copies } = names.get(engineHash)!;
      copies[tier]--;
      if (copies[tier] === 0) this.notes[i] = LAST_COPY;
      if (copies.every((count) => count === 0)) names.delete(engineHash);
      return true;
    });
  }

  /** Forgets a rank (S5). */
  clearRank(rankSlot: number): void {
    this.#view.clear();
    for (const slot of this.#familyOf(rankSlot)) {
      this.#ranks.delete(slot);
      this.#parked = this.#parked.filter((store) => store.rankSlot !== slot);
      this.#groups.delete(slot);
    }
    this.#mains.delete(rankSlot);
  }

  /** Whether the rank knows this name in the context. */
  hasBlock(contextId: number, rankSlot: number, low: number, high: number): boolean {
    return this.#ranks.get(rankSlot)?.get(contextId)?.has(toHex(low, high)) === true;
  }

  /** Notes which of the blocks in `hashes` a holder has (`HELD_BLOCK`). */
  noteHeld(holderSlot: number, tier: Tier, blockCount: number): void {
    this.notes.fill(0, 0, blockCount);
    this.#countHashes(blockCount, (engineHash, i) => {
      const isHeld = this.#contextsOf(holderSlot).some((one) => (one.get(engineHash)?.copies[tier] ?? 0) > 0);
      if (isHeld) this.notes[i] = HELD_BLOCK;
      return isHeld;
    });
  }

  /** Nothing that waits is ever given up here. */
  hasGivenUpParent(): boolean {
    return false;
  }

  /** Whether a store of the rank, or of one of its groups, is parked. */
  hasParked(rankSlot: number): boolean {
    const family = new Set(this.#familyOf(rankSlot));
    return this.#parked.some((one) => family.has(one.rankSlot) && one.blocks.some(({ removed }) => !removed));
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

  /** @param repeats - null for a store that was parked. */
  #attach({ contextId, rankSlot, tier, parent, blocks }: Store, repeats: RepeatRule | null): void {
    const names = this.#storedLast(contextId, rankSlot);
    const prefixes = this.#prefixesOf(contextId, rankSlot, parent, blocks);
    for (const [i, { engineHash, removed }] of blocks.entries()) {
      if (removed) continue;
      const old = names.get(engineHash);
      const isSame = old?.prefix === prefixes[i];
      const isHeld = isSame && old.copies[tier] > 0;
      if (
        repeats === "skip_each" &&
        (isHeld || this.#parkedBlock(rankSlot, tier, engineHash) !== undefined)
      ) {
        this.#note(i, REPEATED_BLOCK);
        continue;
      }
      this.#addNamed(contextId, rankSlot, tier, engineHash, prefixes[i]);
      if (old === undefined || isSame) continue;
      if (repeats === null) this.attachedRenames.push(...wordsOf(engineHash));
      else this.#note(i, RENAMED_BLOCK);
    }
    this.#view.clear();
  }

  /** A holder's names in a context, which becomes the one that it last stored to (N5). */
  #storedLast(contextId: number, slot: number): Map<string, Name> {
    const contexts = this.#ranks.get(slot) ?? new Map<number, Map<string, Name>>();
    const names = contexts.get(contextId) ?? new Map<string, Name>();
    contexts.delete(contextId);
    this.#ranks.set(slot, contexts.set(contextId, names));
    return names;
  }

  /** One more copy under a name, which means this prefix from now on (S4). */
  #addNamed(contextId: number, slot: number, tier: Tier, engineHash: string, prefix: string): void {
    const names = this.#storedLast(contextId, slot);
    const old = names.get(engineHash);
    const name = old?.prefix === prefix ? old : { prefix, copies: [0, 0, 0, 0] };
    names.set(engineHash, name);
    name.copies[tier]++;
  }

  /** What a parent's name means to a group or to others of its rank (N7). */
  #parentPrefix(contextId: number, slot: number, parent: string): string | undefined {
    return [slot, ...this.#familyOf(slot)]
      .map((member) => this.#ranks.get(member)?.get(contextId)?.get(parent)?.prefix)
      .find((prefix) => prefix !== undefined);
  }

  #areRepeated({ contextId, rankSlot, tier, parent, blocks }: Store): boolean {
    const names = this.#ranks.get(rankSlot)?.get(contextId);
    const prefixes = this.#prefixesOf(contextId, rankSlot, parent, blocks);
    return blocks.every(({ engineHash }, i) => {
      const name = names?.get(engineHash);
      return name !== undefined && name.prefix === prefixes[i] && name.copies[tier] > 0;
    });
  }

  #prefixesOf(contextId: number, rankSlot: number, parent: string | null, blocks: Store["blocks"]): string[] {
    const locals = blocks.map((block) => block.local);
    const prefix = parent === null ? null : this.#parentPrefix(contextId, rankSlot, parent)!;
    return this.#hash.prefixes(locals, prefix);
  }

  #note(block: number, note: number): void {
    this.notes[block] |= note;
    this.hasNotes = true;
  }

  #removeParked(rankSlot: number, tier: Tier, engineHash: string): boolean {
    const waiting = this.#parkedBlock(rankSlot, tier, engineHash);
    if (waiting !== undefined) waiting.removed = true;
    return waiting !== undefined;
  }

  #parkedBlock(rankSlot: number, tier: Tier, engineHash: string): Store["blocks"][number] | undefined {
    const stores = this.#parked.filter((store) => store.rankSlot === rankSlot && store.tier === tier);
    const blocks = stores.flatMap((store) => store.blocks);
    return blocks.find((block) => block.engineHash === engineHash && !block.removed);
  }

  #isAttachable({ contextId, rankSlot, parent }: Store): boolean {
    return parent === null || this.#parentPrefix(contextId, rankSlot, parent) !== undefined;
  }

  #contextsOf(rankSlot: number): Map<string, Name>[] {
    return [...(this.#ranks.get(rankSlot)?.values() ?? [])].reverse();
  }

  #countHashes(blockCount: number, takes: (engineHash: string, i: number) => boolean): number {
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

  /** The longest prefix up to `run` blocks that every group of a rank allows: tried one by one (S8). */
  #allowed(contextId: number, rankSlot: number, run: number, tiersOf: (slot: number) => number[]): number {
    const { blockSize } = this.#contexts[contextId];
    const slots = this.#familyOf(rankSlot).slice(1);
    if (slots.length === 0) return run;
    const groups = slots.map((slot) => ({ shape: this.#groups.get(slot)!, tiers: tiersOf(slot) }));
    const sizes = [this.#mains.get(rankSlot) ?? 1, ...groups.map(({ shape }) => shape.blockSize)];
    if (sizes.some((size, i) => (i > 0 || this.#mains.has(rankSlot)) && size % blockSize !== 0)) return 0;
    for (let end = run; end > 0; end--) {
      const tokens = end * blockSize;
      const isAllowed =
        sizes.every((size) => tokens % size === 0) &&
        groups.every(({ shape, tiers }) =>
          allows(shape, tokens, (i) => (tiers[((i + 1) * shape.blockSize) / blockSize - 1] ?? -1) >= 0),
        );
      if (isAllowed) return end;
    }
    return 0;
  }

  #match(contextId: number, prefixes: string[]): MatchResult {
    const rows: number[] = [];
    const held = this.#held(contextId);
    /** By holder slot: the fastest tier of each block, −1 where it is not held. */
    const tiersOf = (slot: number): number[] =>
      prefixes.map(
        (prefix) =>
          held
            .get(slot)
            ?.get(prefix)
            ?.findIndex((count) => count > 0) ?? -1,
      );
    const ranks = new Set([...held.keys()].map((slot) => this.#groups.get(slot)?.owner ?? slot));
    for (const rankSlot of ranks) {
      const groups = this.#familyOf(rankSlot).slice(1);
      const isLoose = groups.length > 0 && !this.#mains.has(rankSlot);
      const lead = isLoose ? groups.find((slot) => (held.get(slot)?.size ?? 0) > 0) : rankSlot;
      if (lead === undefined) continue;
      const tiers = tiersOf(lead);
      const hole = isLoose ? -1 : tiers.indexOf(-1);
      const run = hole < 0 ? prefixes.length : hole;
      const matched = this.#allowed(contextId, rankSlot, run, tiersOf);
      if (matched > 0)
        rows.push(rankSlot, matched, ...tierCounts(tiers.slice(0, matched)), isLoose ? matched : run);
    }
    return {
      blockCount: prefixes.length,
      matchCount: rows.length / MATCH_ROW_WORDS,
      rows: Uint32Array.from(rows),
    };
  }
}

/** Blocks by tier; one that is not held counts at the tier of the next one that is, at last as device. */
function tierCounts(tiers: readonly number[]): number[] {
  const counts = [0, 0, 0, 0];
  tiers.forEach((tier, i) => {
    const next = tiers.slice(i).find((one) => one >= 0) ?? tiers.findLast((one) => one >= 0) ?? 0;
    counts[tier >= 0 ? tier : next]++;
  });
  return counts;
}

/** Whether a group allows a prefix of so many tokens; `isHeld` by block of the group. */
function allows(
  { rule, windowTokens, blockSize }: GroupShape,
  tokens: number,
  isHeld: (i: number) => boolean,
) {
  const blocks = tokens / blockSize;
  const first = {
    run: 0,
    window: Math.max(0, blocks - Math.max(1, Math.ceil((windowTokens - 1) / blockSize))),
    last: Math.max(0, blocks - 1),
    chunk: Math.floor(
      (Math.floor(tokens / Math.max(1, windowTokens)) * Math.max(1, windowTokens)) / blockSize,
    ),
  }[rule];
  for (let i = first; i < blocks; i++) if (!isHeld(i)) return false;
  return true;
}

function nameOf({ model, loraName, blockSize, lookahead }: ContextKey): string {
  return JSON.stringify([model, loraName, blockSize, lookahead]);
}
