/**
 * The index against what the engines announced, at any moment of a run: block by block, copy by copy.
 *
 *     publisher ─▶ journal: every message, in order ─▶ ledger: replayed up to the message that the stream applied last
 *     index     ─▶ dump                              ─▶ compared, by prefix hash, tier and copies
 *
 *  Q1  Nothing is in the index that the engine did not hold as of the last applied message, unless
 *      the stream is `stale`.
 *  Q2  A stream that is `exact` misses nothing, and copies agree.
 *  Q3  Another stream may miss any block, since its trust is below `exact`.
 *
 * A message that is published and not applied yet is no difference but lag. The journal keeps every
 * message of the run, so this is
 * for scenarios, not for a million requests.
 */
import { DUMP_ROW_WORDS, PrefixHasher } from "@kvsync/core";

import { NAME_WORDS } from "../simulate/block-naming.ts";
import { readStepLog, type StepLogReader } from "../simulate/step-log.ts";
import type { Simulation } from "../simulate/simulation.ts";
import type { WireJournal, WirePath } from "../simulate/wire-path.ts";

/** Rows that one call of a dump brings. */
const DUMP_ROWS = 4_096;
const TIERS = ["device", "host"] as const;

/** One block that is not as it should be. */
export interface BlockDifference {
  readonly engine: number;
  readonly kind: "ghost" | "missing" | "copies";
  readonly tier: string;
  readonly prefixHash: string;
  readonly copiesHeld: number;
  readonly copiesIndexed: number;
  /** Last message, of those applied, that said something of the block; null when none did. */
  readonly sequenceNumber: number | null;
}

/** What an audit found. */
export interface AuditOutcome {
  /** Copies that the engines had announced as of what was applied, and copies in the index. */
  readonly heldCount: number;
  readonly indexedCount: number;
  readonly differences: readonly BlockDifference[];
}

interface Message {
  readonly sequenceNumber: number;
  readonly changes: Uint32Array;
}

interface Holding {
  copies: number;
  sequenceNumber: number;
}

/** One engine's messages, and what they add up to. */
class Ledger implements StepLogReader {
  readonly messages: Message[] = [];
  readonly positions = new Map<number, number>();
  /** Position of the message that was applied last; −1 for none. */
  appliedPosition = -1;
  /** By tier and prefix hash, as of message `position`. */
  readonly holdings = new Map<string, Holding>();
  #position = -1;
  readonly #hashes: PrefixHashes;

  constructor(hashes: PrefixHashes) {
    this.#hashes = hashes;
  }

  /** Brings the holdings to what was applied. */
  catchUp(): void {
    if (this.#position > this.appliedPosition) this.#rewind();
    while (this.#position < this.appliedPosition) {
      this.#position++;
      const message = this.messages[this.#position];
      if (message === undefined) return;
      // A publisher that numbers from 0 again is another one, and holds nothing.
      if (message.sequenceNumber === 0) this.holdings.clear();
      readStepLog(message.changes, this);
    }
  }

  stored(words: Uint32Array, count: number, hasParent: boolean): void {
    for (const hash of this.#hashes.ofStored(words, count, hasParent)) this.#change("device", hash, 1);
  }

  offloaded(low: number, high: number): void {
    this.#change("host", this.#hashes.ofName(low, high), 1);
  }

  removed(tier: 0 | 1, words: Uint32Array): void {
    for (let at = 0; at < words.length; at += NAME_WORDS)
      this.#change(TIERS[tier], this.#hashes.ofName(words[at] ?? 0, words[at + 1] ?? 0), -1);
  }

  cleared(): void {
    this.holdings.clear();
  }

  #change(tier: string, hash: string, by: number): void {
    const key = `${tier} ${hash}`;
    const holding = this.holdings.get(key) ?? { copies: 0, sequenceNumber: 0 };
    holding.copies += by;
    holding.sequenceNumber = this.messages[this.#position]?.sequenceNumber ?? 0;
    this.holdings.set(key, holding);
  }

  #rewind(): void {
    this.#position = -1;
    this.holdings.clear();
  }
}

/** Prefix hashes of names: a name stands for a whole prefix, so that it is hashed once for all engines. */
class PrefixHashes {
  readonly #hasher = PrefixHasher.create();
  readonly #words = new Map<string, readonly [number, number]>();

  ofStored(words: Uint32Array, count: number, hasParent: boolean): readonly string[] {
    const own = hasParent ? words.slice(NAME_WORDS) : words.slice();
    const parentWords = hasParent ? this.#words.get(nameText(words[0] ?? 0, words[1] ?? 0)) : undefined;
    const parent = parentWords === undefined ? null : { low: parentWords[0], high: parentWords[1] };
    const out = new Uint32Array(2 * count);
    this.#hasher.hash(own, count, NAME_WORDS, parent, out);
    return Array.from({ length: count }, (_, block) => {
      const [low, high] = [out[2 * block] ?? 0, out[2 * block + 1] ?? 0];
      this.#words.set(nameText(own[2 * block] ?? 0, own[2 * block + 1] ?? 0), [low, high]);
      return hashText(low, high);
    });
  }

  ofName(low: number, high: number): string {
    const [hashLow, hashHigh] = this.#words.get(nameText(low, high)) ?? [0, 0];
    return hashText(hashLow, hashHigh);
  }
}

/** See the header. One per run: it must hear of every message. */
export class IndexAudit implements WireJournal {
  readonly #ledgers: readonly Ledger[];

  /** @param engineCount - engines. */
  constructor(engineCount: number) {
    const hashes = new PrefixHashes();
    this.#ledgers = Array.from({ length: engineCount }, () => new Ledger(hashes));
  }

  /** See WireJournal. */
  published(engine: number, sequenceNumber: number, timestampSeconds: number, changes: Uint32Array): void {
    const ledger = this.#ledgers[engine];
    ledger?.positions.set(timestampSeconds, ledger.messages.length);
    ledger?.messages.push({ sequenceNumber, changes });
  }

  /** See WireJournal. */
  applied(engine: number, timestampSeconds: number): void {
    const ledger = this.#ledgers[engine];
    if (ledger !== undefined) ledger.appliedPosition = ledger.positions.get(timestampSeconds) ?? -1;
  }

  /** How many messages each engine has published, over all its lives. */
  get publishedCounts(): readonly number[] {
    return this.#ledgers.map(({ messages }) => messages.length);
  }

  /** Whether every stream has applied that many messages of its engine. */
  hasApplied(counts: readonly number[]): boolean {
    return this.#ledgers.every(({ appliedPosition }, engine) => appliedPosition >= (counts[engine] ?? 0) - 1);
  }

  /**
   * Compares. O(blocks of the fleet + messages since the last audit).
   *
   * @param simulation - whose index and streams are looked at.
   * @param wire - its streams.
   */
  audit(simulation: Simulation, wire: WirePath): AuditOutcome {
    const indexed = dumpByEngine(simulation, this.#ledgers.length);
    const differences: BlockDifference[] = [];
    let heldCount = 0;
    let indexedCount = 0;
    for (const [engine, ledger] of this.#ledgers.entries()) {
      const inIndex = indexed[engine] ?? new Map<string, number>();
      // A stream that has applied nothing (its publisher is new, or the index was lost) cannot hold anything.
      const isBlank = wire.syncOf(engine).lastSequenceNumber === null;
      if (!isBlank) ledger.catchUp();
      const held = isBlank ? new Map<string, Holding>() : ledger.holdings;
      for (const { copies } of held.values()) heldCount += copies;
      for (const copies of inIndex.values()) indexedCount += copies;
      differences.push(...differencesOf(engine, wire.trustOf(engine), inIndex, held));
    }
    return { heldCount, indexedCount, differences };
  }
}

/** What an engine's trust promises, and the index does not keep. */
function differencesOf(
  engine: number,
  trust: ReturnType<WirePath["trustOf"]>,
  inIndex: ReadonlyMap<string, number>,
  held: ReadonlyMap<string, Holding>,
): BlockDifference[] {
  const differences: BlockDifference[] = [];
  for (const [key, copies] of inIndex) {
    const holding = held.get(key);
    const copiesHeld = holding?.copies ?? 0;
    const isWrong = trust === "exact" ? copies !== copiesHeld : copiesHeld === 0 && trust !== "stale";
    if (isWrong) differences.push(difference(engine, key, copiesHeld, copies, holding));
  }
  if (trust !== "exact") return differences;
  for (const [key, holding] of held)
    if (holding.copies > 0 && !inIndex.has(key))
      differences.push(difference(engine, key, holding.copies, 0, holding));
  return differences;
}

function difference(
  engine: number,
  key: string,
  copiesHeld: number,
  copiesIndexed: number,
  holding: Holding | undefined,
): BlockDifference {
  const [tier = "", prefixHash = ""] = key.split(" ");
  const kind = copiesHeld === 0 ? "ghost" : copiesIndexed === 0 ? "missing" : "copies";
  const sequenceNumber = holding?.sequenceNumber ?? null;
  return { engine, kind, tier, prefixHash, copiesHeld, copiesIndexed, sequenceNumber };
}

/** Copies in the index by tier and prefix hash, for each engine. */
function dumpByEngine(simulation: Simulation, engineCount: number): readonly Map<string, number>[] {
  const byEngine = Array.from({ length: engineCount }, () => new Map<string, number>());
  const out = new Uint32Array(DUMP_ROWS * DUMP_ROW_WORDS);
  for (let cursor = 0; cursor >= 0; ) {
    const page = simulation.index.dump(cursor, out);
    for (let at = 0; at < page.rows * DUMP_ROW_WORDS; at += DUMP_ROW_WORDS) {
      const tier = TIERS[out[at + 3] === 0 ? 0 : 1];
      const key = `${tier} ${hashText(out[at] ?? 0, out[at + 1] ?? 0)}`;
      byEngine[out[at + 2] ?? 0]?.set(key, out[at + 4] ?? 0);
    }
    cursor = page.cursor;
  }
  return byEngine;
}

function nameText(low: number, high: number): string {
  return `${low}:${high}`;
}

function hashText(low: number, high: number): string {
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}
