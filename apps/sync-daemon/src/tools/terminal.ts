/**
 * Where the tools write: results to standard output, everything else to standard error, so that a pipe gets results alone.
 * Colours only where a person is looking: on a terminal, and not when NO_COLOR is set (no-color.org).
 */

import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

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

  /** Writes a line of the result. */
  line(text: string): void {
    this.#out.write(`${text}\n`);
  }

  /** Writes a result as one line of JSON. */
  json(value: unknown): void {
    this.line(JSON.stringify(value));
  }

  /** Writes a line that is no result. */
  note(text: string): void {
    this.#err.write(`${text}\n`);
  }

  /**
   * Colours a text for `line`.
   *
   * @returns the text as it is where there are no colours.
   */
  paint(style: Style, text: string): string {
    return this.#isColoured ? styleText(style, text) : text;
  }

  /**
   * Writes rows in columns as wide as their widest cell; numbers (as strings of digits and commas) stand to the right.
   *
   * @param head - one title per column.
   * @param rows - as many cells each.
   */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
    const isNumeric = head.map(
      (_, i) => rows.length > 0 && rows.every((row) => /^[\d,.%-]+$/.test(row[i] ?? "")),
    );
    const layOut = (cells: readonly string[]): string =>
      cells
        .map((cell, i) =>
          isNumeric[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
        )
        .join("  ")
        .trimEnd();
    this.line(this.paint("bold", layOut(head)));
    for (const row of rows) this.line(layOut(row));
  }
}

/**
 * A count for people.
 *
 * @returns with commas: 1,234.
 */
export function whole(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}
