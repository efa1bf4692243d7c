/**
 * Where the tools write: results to standard output, everything else to standard error, so that a pipe gets results alone.
 * Colors only where a person is looking: on a terminal, and not when NO_COLOR is set (no-color.org).
 *
 * Names come from engines, files and daemons, and a terminal obeys some characters. Those are
 * shown, as \u001b, and never written, for every source.
 */

import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** What a terminal obeys or hides: control and format characters, line ends of Unicode, halves of characters. */
const OBEYED = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const OBEYED_IN_NOTES = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** A line, and how its beginning is painted where there are colours. */
export interface Line {
  readonly text: string;
  readonly style?: Style;
  /** Characters painted; all of them unless given. */
  readonly painted?: number;
}

/** A stream that may be a terminal. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

/** The two streams of a tool. */
export class Terminal {
  readonly #out: Output;
  readonly #err: Output;
  readonly #isColoured: boolean;

  /**
   * @param out - for results.
   * @param err - for notes and errors.
   * @param environment - NO_COLOR is read from it.
   */
  constructor(out: Output, err: Output, environment: Readonly<Record<string, string | undefined>>) {
    this.#out = out;
    this.#err = err;
    this.#isColoured = out.isTTY === true && (environment["NO_COLOR"] ?? "") === "";
  }

  /**
   * Writes a line of the result.
   *
   * @param line - a text alone is not painted.
   */
  line(line: string | Line): void {
    const { text, style, painted = text.length }: Line = typeof line === "string" ? { text: line } : line;
    const begin = visible(text.slice(0, painted));
    const rest = visible(text.slice(painted));
    this.#out.write(
      `${style === undefined || !this.#isColoured ? begin : styleText(style, begin, { validateStream: false })}${rest}\n`,
    );
  }

  /** Writes a result as one line of JSON. It parses to what it was: what is shown and not written is an escape of JSON's, too. */
  json(value: unknown): void {
    this.#out.write(`${visible(JSON.stringify(value))}\n`);
  }

  /** Writes a text that is no result; it may have several lines. */
  note(text: string): void {
    this.#err.write(`${text.replace(OBEYED_IN_NOTES, escaped)}\n`);
  }

  /**
   * Writes rows in columns as wide as their widest cell; numbers (as strings of digits and commas) stand to the right.
   *
   * @param head - one title per column.
   * @param cells - by row, as many each.
   */
  table(head: readonly string[], cells: readonly (readonly string[])[]): void {
    const rows = cells.map((row) => row.map(visible));
    const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
    const isNumeric = head.map(
      (_, i) => rows.length > 0 && rows.every((row) => /^[\d,.%-]+$/.test(row[i] ?? "")),
    );
    const layOut = (row: readonly string[]): string =>
      row
        .map((cell, i) =>
          isNumeric[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
        )
        .join("  ")
        .trimEnd();
    this.line({ text: layOut(head), style: "bold" });
    for (const row of rows) this.line(layOut(row));
  }
}

/** A text as it can be looked at without being obeyed. */
function visible(text: string): string {
  return text.replace(OBEYED, escaped);
}

/** As JSON escapes it: beyond the first 65,536, its two halves. */
function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
  ).join("");
}

/**
 * A time for people, from a file or a message, where anything may stand.
 *
 * @param epochMilliseconds - of it.
 * @returns as ISO 8601; a text that says so where it is no time.
 */
export function isoTime(epochMilliseconds: number): string {
  const time = new Date(epochMilliseconds);
  return Number.isNaN(time.getTime()) ? "(no time)" : time.toISOString();
}

/**
 * A count for people.
 *
 * @returns with commas: 1,234.
 */
export function whole(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}
