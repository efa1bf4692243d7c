/**
 * Finds the lines of a text that begin with one of several names, in one pass that looks at few of its bytes.
 *
 *     text    …vllm:e2e_latency_seconds_bucket{le="0.3"} 0⏎vllm:num_requests_running{…} 3⏎…
 *                            ▲▲ two bytes, the last of a window as long as the shortest name
 *                              └─ in none of the names: the window moves on by nearly its whole length
 *                              └─ at the window's end in a name: is a name here, at the beginning of a line?
 *
 *  S1  The lines that are found are those that a look at each line finds, in the same order (line-search.test.ts "S1").
 *
 * A name is followed by a brace, a blank or a tab; "a_total" is not a line of "a".
 *
 * Not here: labels and values of a line (engine-metrics.ts).
 * Source: S. Wu and U. Manber, "A fast algorithm for multi-pattern searching", 1994, with blocks of two bytes.
 */
import { assert } from "@kvsync/core";

const NEWLINE = 0x0a;
const BRACE = 0x7b;
const SPACE = 0x20;
const TAB = 0x09;
/** Pairs of bytes share an entry where they fall together: a window then moves on by less. */
const PAIRS = 4096;

/** See the header. */
export class LineSearch {
  readonly #names: readonly Buffer[];
  /** Length of the shortest name. */
  readonly #window: number;
  /** How far a window moves on, by its last two bytes. */
  readonly #moves: Uint8Array;

  /** @param names - of two to 255 bytes each. */
  constructor(names: readonly string[]) {
    this.#names = names.map((name) => Buffer.from(name));
    const lengths = this.#names.map(({ length }) => length);
    const shortest = Math.min(...lengths);
    assert(shortest >= 2 && shortest <= 255, "a window is as long as the shortest name");
    this.#window = shortest;
    this.#moves = new Uint8Array(PAIRS).fill(shortest - 1);
    for (const name of this.#names)
      for (let at = 1; at < shortest; at++) {
        const pair = pairOf(name[at - 1] ?? 0, name[at] ?? 0);
        this.#moves[pair] = Math.min(this.#moves[pair] ?? 0, shortest - 1 - at);
      }
  }

  /**
   * Searches a text.
   *
   * @param text - not changed and not kept.
   * @param found - told the position of a name in the list, where the line goes on after it, and where the line ends.
   */
  lines(text: Buffer, found: (name: number, after: number, end: number) => void): void {
    const window = this.#window;
    const moves = this.#moves;
    const length = text.length;
    let at = window - 1;
    while (at < length) {
      const move = moves[pairOf(text[at - 1] ?? 0, text[at] ?? 0)] ?? 1;
      if (move > 0) {
        at += move;
        continue;
      }
      const begin = at - window + 1;
      const name = begin === 0 || text[begin - 1] === NEWLINE ? this.#nameAt(text, begin) : -1;
      if (name < 0) {
        at += 1;
        continue;
      }
      const after = begin + (this.#names[name]?.length ?? 0);
      const newline = text.indexOf(NEWLINE, after);
      const end = newline < 0 ? length : newline;
      found(name, after, end);
      at = end + window;
    }
  }

  /** The name that is here and ends here; -1 for none. */
  #nameAt(text: Buffer, begin: number): number {
    return this.#names.findIndex((name) => {
      const after = begin + name.length;
      const next = text[after];
      const isWhole = next === BRACE || next === SPACE || next === TAB;
      return isWhole && name.compare(text, begin, after) === 0;
    });
  }
}

function pairOf(first: number, second: number): number {
  return ((first << 5) ^ second) & (PAIRS - 1);
}
