/**
 * Copies of blocks on the device that may exist next to those that the index counts.
 *
 * A store that repeats what a rank holds is either a further physical copy or a report of what is
 * there (vLLM `kv_cache_report_mode`). Where the event does not show which, the copy is
 * *uncertain*: it is recorded here and not in the index. Each KV-cache group of a rank counts for
 * itself, by its holder slot. For a name with c copies in the index and u here, the engine has at
 * least c and at most c + u:
 *
 *     ambiguous store          c      u + 1
 *     removal while c > 0      c − 1  u          at c = 0 and u > 0 the name is *open*: the engine may or may not hold it
 *     removal while c = 0      0      u − 1      the engine did hold it; at u = 0 it no longer does
 *     certain store            c + 1  u          the name is no longer open
 *
 * Invariants
 *  L1  The index answers only with certain copies: nothing here makes it name more.
 *  L2  A block is hidden only while its name is open, and `openCount` counts open names.
 *  L3  At most `LEDGER_NAMES_MAX` names. A name that does not fit is not counted, and `note`
 *      returns false.
 *
 * Almost every rank has an empty ledger: callers ask `isEmpty` before they look at blocks.
 */

/** Most names of a rank: 4 MB. An engine with more repeated blocks than that is reported as partial until it is cleared. */
export const LEDGER_NAMES_MAX = 65_536;
/** Most names that go with a stream to another thread or into a snapshot: 4,096 streams of them fit in a snapshot's head. */
export const LEDGER_NAMES_KEPT_MAX = 256;

/** One name of a holder as plain data: slot, low and high word, uncertain copies, whether it is open. */
export type LedgerEntry = readonly [slot: number, low: number, high: number, copies: number, isOpen: boolean];

interface Uncertain {
  copies: number;
  isOpen: boolean;
}

/** The uncertain copies of one rank. */
export class CopyLedger {
  readonly #names = new Map<string, Uncertain>();
  #openCount = 0;

  /** Whether nothing is uncertain. */
  get isEmpty(): boolean {
    return this.#names.size === 0;
  }

  /** Names of which the index has no copy while the engine may have one. */
  get openCount(): number {
    return this.#openCount;
  }

  /**
   * Notes an uncertain copy of a name.
   *
   * @param isHeld - whether the name has a certain copy; if not, it is open from now on.
   * @returns false when there is no room (L3).
   */
  note(slot: number, low: number, high: number, isHeld: boolean): boolean {
    const key = keyOf(slot, low, high);
    const known = this.#names.get(key);
    if (known !== undefined) {
      known.copies += 1;
      return true;
    }
    if (this.#names.size >= LEDGER_NAMES_MAX) return false;
    this.#names.set(key, { copies: 1, isOpen: !isHeld });
    if (!isHeld) this.#openCount += 1;
    return true;
  }

  /** Whether the engine may hold a name that has no certain copy. */
  isOpen(slot: number, low: number, high: number): boolean {
    return this.#openCount > 0 && this.#names.get(keyOf(slot, low, high))?.isOpen === true;
  }

  /** The name's last certain copy was removed. */
  lastRemoved(slot: number, low: number, high: number): void {
    const known = this.#names.get(keyOf(slot, low, high));
    if (known === undefined || known.isOpen) return;
    known.isOpen = true;
    this.#openCount += 1;
  }

  /**
   * A name without a certain copy was removed.
   *
   * @returns whether that was an uncertain copy.
   */
  missingRemoved(slot: number, low: number, high: number): boolean {
    const key = keyOf(slot, low, high);
    const known = this.#names.get(key);
    if (known?.isOpen !== true) return false;
    known.copies -= 1;
    if (known.copies === 0) {
      this.#names.delete(key);
      this.#openCount -= 1;
    }
    return true;
  }

  /** The name has a certain copy again. */
  stored(slot: number, low: number, high: number): void {
    const known = this.#names.get(keyOf(slot, low, high));
    if (known?.isOpen !== true) return;
    known.isOpen = false;
    this.#openCount -= 1;
  }

  /** Forgets everything. */
  clear(): void {
    this.#names.clear();
    this.#openCount = 0;
  }

  /** Everything as plain data; null when it is more than `LEDGER_NAMES_KEPT_MAX` names. */
  entries(): LedgerEntry[] | null {
    if (this.#names.size > LEDGER_NAMES_KEPT_MAX) return null;
    return [...this.#names].map(([key, { copies, isOpen }]) => {
      const [slot, low, high] = key.split(":").map(Number);
      return [slot, low, high, copies, isOpen];
    });
  }

  /** Takes over what another ledger had. */
  restore(entries: readonly LedgerEntry[]): void {
    this.clear();
    for (const [slot, low, high, copies, isOpen] of entries) {
      this.#names.set(keyOf(slot, low, high), { copies, isOpen });
      if (isOpen) this.#openCount += 1;
    }
  }
}

function keyOf(slot: number, low: number, high: number): string {
  return `${slot}:${low}:${high}`;
}
