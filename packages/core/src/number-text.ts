/**
 * Numbers in the options of the command lines: one grammar and one error text for all programs.
 *
 *     text ─▶ decimal? ─▶ whole, where an integer is expected? ─▶ in the range? ─▶ number
 *                └────────────────────┴───────────────────────────────┴─▶ what is wrong, expected, to do
 *
 * The command line's library names the option and its text in front of the error.
 */

/** Decimal digits with a sign, a fraction or an exponent. `Number` also takes "", hexadecimal and `Infinity`. */
const DECIMAL = /^\s*[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?\s*$/i;

/** Reads a decimal number; `NaN` when the text is none. */
export function readDecimal(text: string): number {
  return DECIMAL.test(text) ? Number(text) : Number.NaN;
}

/** The numbers that an option accepts. */
export interface NumberRange {
  readonly kind: "integer" | "number";
  /** Every finite number, unless given. */
  readonly min?: number;
  readonly max?: number;
}

/**
 * Makes the parser of an option.
 *
 * @param range - the numbers that it accepts.
 * @param Refusal - the class of the error that it throws; the library of the command line knows it.
 */
export function numberParser(
  range: NumberRange,
  Refusal: new (message: string) => Error,
): (text: string) => number {
  return (text) => {
    const value = readDecimal(text);
    const fault = faultOf(value, range);
    if (fault !== null) throw new Refusal(fault);
    return value;
  };
}

function faultOf(value: number, range: NumberRange): string | null {
  const { kind, min = -Number.MAX_VALUE, max = Number.MAX_VALUE } = range;
  const expected = expectedOf(range);
  if (Number.isNaN(value)) return `Not a number: expected ${expected}; write it in decimal digits.`;
  if (value < min) return `Too small: expected ${expected}; use ${min} or more.`;
  if (value > max) return `Too large: expected ${expected}; use ${max} or less.`;
  if (kind === "integer" && !Number.isInteger(value))
    return `Not an integer: expected ${expected}; leave the fraction out.`;
  return null;
}

function expectedOf({ kind, min, max }: NumberRange): string {
  const from = min === undefined ? "" : ` from ${min}`;
  const to = max === undefined ? "" : ` to ${max}`;
  return `${kind === "integer" ? "an integer" : "a number"}${from}${to}`;
}
