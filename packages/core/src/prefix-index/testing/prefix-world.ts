/**
 * A small world of prompts and engines, for driving indexes in tests and benchmarks. Contents are letters: a *path* of
 * letters is a prompt, so that prompts share prefixes as often as real ones do, and commands print short.
 *
 *     letter 0 … 15      letter & 3: which tokens the block has      letter >> 2: which extra digest, 0 for none
 *
 * An engine names the block at the end of a path by a hash of its own seed, the context, and the
 * path. Engines with one seed agree, others alias. (SGLang's names leave the adapter out: the world
 * has an option for it.) In a lookahead context the letter after a block belongs to its content, so
 * a path carries the letter that follows its end. Commands describe everything in plain data. So
 * any list of them, and any part of a list, can be run on any index. Tests only: not part of the
 * package's surface.
 */
import type { ReferenceHash } from "../../block-hash/testing/reference-hash.ts";
import { wordsOf } from "../../block-hash/testing/reference-hash.ts";
import { toHex } from "../../block-hash/block-hash.ts";
import { MATCH_ROW_WORDS, UNNUMBERED_GROUP } from "../contract.ts";
import type { IndexImport } from "../index-copy.ts";
import type {
  ContextKey,
  GroupShape,
  IndexScratch,
  IndexWriter,
  MatchResult,
  RepeatRule,
  Tier,
} from "../contract.ts";

/** A prompt: its blocks' letters, and the letter after its last block (read in lookahead contexts only). */
export interface Path {
  readonly letters: readonly number[];
  readonly next: number;
}

/** How a command names blocks: by what an engine with this seed would call them, or by a lie. */
interface Naming {
  /** Position in `PrefixWorld.contexts`. */
  readonly context: number;
  readonly slot: number;
  readonly engineSeed: number;
  /** Block position in the command → engine hash said instead, one of `LIES`. */
  readonly lies: readonly { readonly at: number; readonly lie: number }[];
}

/** Stores the blocks of a path from position `from` on; `from` 0 is a root. */
export interface StoreCommand extends Naming {
  readonly kind: "store";
  readonly tier: Tier;
  readonly path: Path;
  readonly from: number;
  /** Names the parent by a lie; null for the truth. */
  readonly parentLie: number | null;
  readonly repeats: RepeatRule;
}

/** Adds copies of, or removes, the blocks of a path from position `from` on. */
export interface NamesCommand extends Naming {
  readonly kind: "storeKnown" | "remove";
  readonly tier: Tier;
  readonly path: Path;
  readonly from: number;
}

/** Stores blocks of a path to a group of the rank, which is opened on first use. */
export interface GroupStoreCommand extends Naming {
  readonly kind: "storeGroup";
  readonly tier: Tier;
  readonly path: Path;
  readonly from: number;
  readonly parentLie: number | null;
  /** Position in `PrefixWorld.groups`. */
  readonly group: number;
  readonly hasTokens: boolean;
}

/** Removes blocks of a path from a group of the rank. */
export interface GroupRemoveCommand extends Naming {
  readonly kind: "removeGroup";
  readonly tier: Tier;
  readonly path: Path;
  readonly from: number;
  readonly group: number;
}

/** Says that a rank has a main group, with blocks as in a context. */
interface MainGroupCommand {
  readonly kind: "mainGroup";
  readonly context: number;
  readonly slot: number;
}

/** Writes to groups. */
type GroupCommand = GroupStoreCommand | GroupRemoveCommand | MainGroupCommand;

/** Forgets a rank. */
interface RankCommand {
  readonly kind: "clear";
  readonly slot: number;
}

/** Looks a path up, by tokens with some more behind the last full block, or by hashes that part from it at some places. */
export type LookupCommand =
  | { readonly kind: "matchTokens"; readonly context: number; readonly path: Path; readonly tail: number }
  | {
      readonly kind: "matchHashes";
      readonly context: number;
      readonly path: Path;
      readonly swaps: readonly { readonly at: number; readonly hash: string }[];
    };

/** Anything that one can ask of an index. */
export type IndexCommand = StoreCommand | NamesCommand | GroupCommand | RankCommand | LookupCommand;

/** The reading side that both indexes have. */
export interface IndexReader extends IndexScratch {
  matchTokens(contextId: number, tokenCount: number, hasExtra: boolean): MatchResult;
  matchHashes(contextId: number, blockCount: number): MatchResult;
}

/** Engine hashes that liars and damaged messages use; the ends of the range are where sentinels would hide. */
export const LIES: readonly string[] = [
  "0000000000000000",
  "ffffffffffffffff",
  "0000000000000001",
  "00000000ffffffff",
  "ffffffff00000000",
  "8000000000000000",
];

const EXTRA_DIGESTS: readonly (readonly [number, number])[] = [
  [0, 0],
  [0x5eed, 1],
  [0, 7],
  [0xffff_ffff, 0xffff_ffff],
];

/** Turns commands into calls, and answers into strings that can be compared. */
export class PrefixWorld {
  readonly contexts: readonly ContextKey[];
  readonly #hash: ReferenceHash;
  readonly #namesTellContexts: boolean;
  readonly #choose: ((name: bigint) => bigint) | null;
  /** Honest name → the one chosen for it. */
  readonly #chosen = new Map<string, string>();
  /** KV-cache groups that ranks may have. */
  readonly groups: readonly GroupShape[];
  /** What each index was told of its ranks' groups: rank slot → group → holder slot. */
  readonly #opened = new WeakMap<IndexWriter, Map<number, Map<number, number>>>();
  readonly #mains = new WeakMap<IndexWriter, Map<number, number>>();

  /**
   * @param hash - has the seed of the indexes to drive.
   * @param namesTellContexts - false when engines name equal tokens equally in all contexts.
   * @param groups - the first of a rank are opened in the order of their use.
   * @param choose - what engines that attack the index say in place of an honest name; null when they do not.
   */
  constructor(
    contexts: readonly ContextKey[],
    hash: ReferenceHash,
    namesTellContexts = true,
    groups: readonly GroupShape[] = [],
    choose: ((name: bigint) => bigint) | null = null,
  ) {
    this.#choose = choose;
    this.groups = groups;
    this.contexts = contexts;
    this.#hash = hash;
    this.#namesTellContexts = namesTellContexts;
  }

  /** Runs a writing command; returns what the index said, for comparison. */
  write(index: IndexWriter, command: Exclude<IndexCommand, LookupCommand>): string {
    switch (command.kind) {
      case "store":
        return this.#store(index, command);
      case "storeKnown":
      case "remove": {
        const blockCount = this.#writeNames(index.scratch, command);
        if (command.kind === "remove") {
          const removed = index.removeBlocks(command.slot, command.tier, blockCount);
          return `${removed} ${index.notes.slice(0, blockCount).join()}`;
        }
        return String(index.storeKnownBlocks(command.slot, command.tier, blockCount));
      }
      case "storeGroup":
        return this.#storeGroup(index, command);
      case "removeGroup": {
        const blockCount = this.#writeNames(index.scratch, command, this.#strideOf(command));
        const slot = this.#groupSlot(index, command.slot, command.group);
        return String(index.removeBlocks(slot, command.tier, blockCount));
      }
      case "mainGroup": {
        const { blockSize } = this.contexts[command.context];
        index.openMainGroup(command.slot, blockSize);
        mapOf(this.#mains, index).set(command.slot, blockSize);
        return "";
      }
      case "clear":
        index.clearRank(command.slot);
        mapOf(this.#opened, index).delete(command.slot);
        mapOf(this.#mains, index).delete(command.slot);
        return "";
    }
  }

  /** Runs a lookup in an open context. */
  match(reader: IndexReader, contextId: number, command: LookupCommand): MatchResult {
    const { context, path } = command;
    if (command.kind === "matchTokens") {
      const tokenCount = this.writeTokens(reader, context, path, 0, command.tail);
      return reader.matchTokens(contextId, tokenCount, path.letters.some(hasExtra));
    }
    const hashes = this.prefixHashes(context, path);
    for (const { at, hash } of command.swaps) {
      const parting = at % hashes.length;
      hashes[parting] = hash;
      for (let i = parting + 1; i < hashes.length; i++)
        [hashes[i]] = this.#hash.prefixes([hashes[i]], hashes[i - 1]);
    }
    hashes.forEach((hash, i) => {
      reader.hashes.set(wordsOf(hash), 2 * i);
    });
    return reader.matchHashes(contextId, hashes.length);
  }

  /** The prefix hashes of a path, as 16 hex digits each. */
  prefixHashes(context: number, path: Path): string[] {
    const { blockSize, lookahead } = this.contexts[context];
    const blockCount = path.letters.length;
    const memory = {
      tokens: new Uint32Array(blockCount * blockSize + lookahead),
      hashes: new Uint32Array(0),
      extraDigests: new Uint32Array(2 * blockCount),
    };
    this.writeTokens(memory, context, path, 0, lookahead);
    const locals = this.#hash.locals(memory.tokens, blockCount, blockSize, lookahead, memory.extraDigests);
    return this.#hash.prefixes(locals, null);
  }

  /**
   * Writes tokens and extra digests of the blocks from `from` on.
   *
   * @param tail - tokens of the following letter to write behind them; a context needs its lookahead.
   * @returns the number of tokens.
   */
  writeTokens(memory: IndexScratch, context: number, path: Path, from: number, tail: number): number {
    const { blockSize } = this.contexts[context];
    const letters = path.letters.slice(from);
    letters.forEach((letter, i) => {
      for (let j = 0; j < blockSize; j++) memory.tokens[i * blockSize + j] = tokenOf(letter, j);
      memory.extraDigests.set(EXTRA_DIGESTS[letter >> 2], 2 * i);
    });
    // The tail may be blocks of its own, which have no extra digest.
    memory.extraDigests.fill(0, 2 * letters.length, 2 * (letters.length + tail));
    for (let j = 0; j < tail; j++) memory.tokens[letters.length * blockSize + j] = tokenOf(path.next, j);
    return letters.length * blockSize + tail;
  }

  /** What an engine with this seed calls the block at `position` of a path. */
  engineHash(context: number, engineSeed: number, path: Path, position: number): string {
    const namespace = this.#namesTellContexts ? context + 1 : 1;
    let [low, high] = [engineSeed + 1, Math.imul(namespace, 0x85eb_ca6b)];
    const end = this.contexts[context].lookahead > 0 ? position + 1 : position;
    for (let i = 0; i <= end; i++) {
      const letter = (path.letters[i] ?? path.next) & (i > position ? 3 : 15);
      low = Math.imul(low ^ (letter + 1), 0x9e37_79b1) ^ (high >>> 15);
      high = Math.imul(high ^ (low >>> 13), 0xc2b2_ae35) + i;
    }
    return this.#attackOf(toHex(low, high));
  }

  #attackOf(name: string): string {
    if (this.#choose === null) return name;
    const known = this.#chosen.get(name);
    if (known !== undefined) return known;
    const chosen = this.#choose(BigInt(`0x${name}`))
      .toString(16)
      .padStart(16, "0");
    this.#chosen.set(name, chosen);
    return chosen;
  }

  #store(index: IndexWriter, command: StoreCommand): string {
    const { context, slot, engineSeed, tier, path, from, parentLie, repeats } = command;
    const contextId = index.openContext(this.contexts[context]);
    const blockCount = this.#writeNames(index.scratch, command);
    this.writeTokens(index.scratch, context, path, from, this.contexts[context].lookahead);
    let parent = from === 0 ? null : this.engineHash(context, engineSeed, path, from - 1);
    if (parentLie !== null) parent = LIES[parentLie];
    const [low, high] = parent === null ? [0, 0] : wordsOf(parent);
    const extra = path.letters.slice(from).some(hasExtra);
    const hasParent = parent !== null;
    const outcome = index.storeBlocks(
      contextId,
      slot,
      tier,
      blockCount,
      hasParent,
      low,
      high,
      extra,
      repeats,
    );
    const noted = index.hasNotes ? `${outcome} ${index.notes.slice(0, blockCount).join()}` : outcome;
    const renames = index.attachedRenames.length;
    return renames > 0 ? `${noted} renames ${renames / 2}` : noted;
  }

  #storeGroup(index: IndexWriter, command: GroupStoreCommand): string {
    const { context, engineSeed, tier, path, from, parentLie, hasTokens } = command;
    const contextId = index.openContext(this.contexts[context]);
    const groupSlot = this.#groupSlot(index, command.slot, command.group);
    const stride = this.#strideOf(command);
    const blockCount = this.#writeNames(index.scratch, command, stride);
    if (blockCount === 0) return "nothing";
    this.writeTokens(index.scratch, context, path, from, this.contexts[context].lookahead);
    const { extraDigests } = index.scratch;
    for (let i = 0; i < blockCount; i++) extraDigests.copyWithin(2 * i, 2 * i * stride, 2 * i * stride + 2);
    let parent = from === 0 ? null : this.engineHash(context, engineSeed, path, from - 1);
    if (parentLie !== null) parent = LIES[parentLie];
    const [low, high] = parent === null ? [0, 0] : wordsOf(parent);
    const { outcome, unplacedCount } = index.storeGroupBlocks(
      contextId,
      groupSlot,
      tier,
      blockCount,
      stride,
      hasTokens,
      parent !== null,
      low,
      high,
      path.letters.slice(from).some(hasExtra),
    );
    const unplaced = [...index.scratch.hashes.subarray(0, 2 * unplacedCount)].join();
    return `${outcome} ${unplacedCount} ${unplaced}`.trim();
  }

  #strideOf({ context, group }: GroupStoreCommand | GroupRemoveCommand): number {
    return Math.max(1, Math.floor(this.groups[group].blockSize / this.contexts[context].blockSize));
  }

  #groupSlot(index: IndexWriter, rankSlot: number, group: number): number {
    const opened = mapOf(this.#opened, index);
    const ofRank = opened.get(rankSlot) ?? new Map<number, number>();
    opened.set(rankSlot, ofRank);
    const slot = ofRank.get(group) ?? index.openGroup(rankSlot, this.groups[group]);
    ofRank.set(group, slot);
    return slot;
  }

  /** Opens in an import what an index has of groups, and remembers them as those of another. */
  moveGroups(from: IndexWriter, to: IndexWriter, target: IndexImport): void {
    this.#mains.set(to, mapOf(this.#mains, from));
    this.#opened.set(to, mapOf(this.#opened, from));
    for (const [rankSlot, blockSize] of mapOf(this.#mains, from))
      target.groups(rankSlot, { blockSize, index: UNNUMBERED_GROUP, kind: "none" }, []);
    for (const [rankSlot, ofRank] of mapOf(this.#opened, from))
      target.groups(
        rankSlot,
        null,
        [...ofRank].map(([group, slot]) => ({ ...this.groups[group], slot })),
      );
  }

  #writeNames(
    scratch: IndexScratch,
    command: StoreCommand | NamesCommand | GroupStoreCommand | GroupRemoveCommand,
    stride = 1,
  ): number {
    const { context, engineSeed, path, from, lies } = command;
    const count = Math.floor((path.letters.length - from) / stride);
    const names = Array.from({ length: count }, (_, i) =>
      this.engineHash(context, engineSeed, path, from + (i + 1) * stride - 1),
    );
    if (count === 0) return 0;
    for (const { at, lie } of lies) names[at % names.length] = LIES[lie];
    names.forEach((name, i) => {
      scratch.hashes.set(wordsOf(name), 2 * i);
    });
    return names.length;
  }
}

function mapOf<Key extends object, One, Other>(
  maps: WeakMap<Key, Map<One, Other>>,
  key: Key,
): Map<One, Other> {
  const map = maps.get(key) ?? new Map<One, Other>();
  maps.set(key, map);
  return map;
}

/** A lookup's answer as text, rows in the order of rank slots. */
export function matchText({ blockCount, matchCount, rows }: MatchResult): string {
  const texts = Array.from({ length: matchCount }, (_, i) =>
    [...rows.subarray(i * MATCH_ROW_WORDS, (i + 1) * MATCH_ROW_WORDS)]
      .map((word) => String(word).padStart(4))
      .join(),
  );
  return `${blockCount}: ${texts.sort().join("; ")}`;
}

function hasExtra(letter: number): boolean {
  return letter >> 2 !== 0;
}

function tokenOf(letter: number, position: number): number {
  return Math.imul((letter & 3) + 1, 0x0101_0101) + position;
}
