/**
 * The normal values of a panel, read from its text. The text after "Normal:" begins with one of these forms:
 *
 *     0 · none · empty · no data        nothing but zeros
 *     100 %                             this value
 *     almost 100 % · nearly 100 %       at least nine tenths of it
 *     below 20 ms · below 90 %          up to this value, without it
 *     above 20 % · above 14 days        beyond this value
 *     p99 below 20 ms                   the same, of the queries with this quantile in their legend
 *
 *     all eligible · almost all exact   nothing, or hardly anything, of another value of the label
 *
 * or it is a sentence without numbers. A condition may follow the form: "0, except while pods start".
 *
 * Shares are 0 … 1, times are seconds and sizes bytes, as panels have them.
 */

/** Bounds of the normal values, both included; null where there is none. */
export interface NormalRange {
  readonly low: number | null;
  readonly high: number | null;
  readonly unit: "none" | "percent" | "seconds" | "bytes";
  /** Whether it is about a value of its own, or one side of a bound. */
  readonly isExact: boolean;
  /** The quantile of the queries that it is about; null for all of them. */
  readonly quantile: string | null;
}

const UNITS: Readonly<Record<string, readonly [unit: NormalRange["unit"], size: number]>> = {
  "": ["none", 1],
  "%": ["percent", 0.01],
  kB: ["bytes", 1000],
  MB: ["bytes", 1_000_000],
  ms: ["seconds", 0.001],
  s: ["seconds", 1],
  minutes: ["seconds", 60],
  days: ["seconds", 86_400],
};
const NUMBER = String.raw`(\d+(?:\.\d+)?)(?: (%|kB|MB|ms|s|minutes|days))?`;
const END = String.raw`(?=[,.;:]| |$)`;
const NOTHING = /^(?:none|empty|no data)(?=[,.;:]|$)/i;
const VALUE = new RegExp(`^(?:(almost|nearly) )?${NUMBER}${END}`, "i");
const BOUND = new RegExp(`^(?:(p\\d+(?:\\.\\d+)?) )?(below|above) ${NUMBER}${END}`, "i");
/** Share of a value that "almost" reaches. */
const ALMOST = 0.9;

/**
 * Splits a panel's description.
 *
 * @param description - as the dashboard has it.
 * @returns what follows "Normal:"; empty without it.
 */
export function normalText(description: string): string {
  return description.split("\n\nNormal: ")[1]?.split("\n")[0]?.trim() ?? "";
}

/**
 * Reads the form that a text begins with.
 *
 * @param text - of `normalText`.
 * @returns the range; null for a sentence.
 */
export function normalRangeOf(text: string): NormalRange | null {
  if (NOTHING.test(text)) return { low: 0, high: 0, unit: "none", isExact: true, quantile: null };
  const value = VALUE.exec(text);
  if (value !== null) {
    const [, almost, count = "", unit = ""] = value;
    const [kind, size] = UNITS[unit] ?? ["none", 1];
    const high = Number(count) * size;
    return {
      low: almost === undefined ? high : ALMOST * high,
      high,
      unit: kind,
      isExact: true,
      quantile: null,
    };
  }
  const bound = BOUND.exec(text);
  if (bound === null) return null;
  const [, quantile = null, side = "", count = "", unit = ""] = bound;
  const [kind, size] = UNITS[unit] ?? ["none", 1];
  const at = Number(count) * size;
  const isBelow = side.toLowerCase() === "below";
  return { low: isBelow ? null : at, high: isBelow ? at : null, unit: kind, isExact: false, quantile };
}

const ALL = /^(almost |nearly )?(?:all|only) (?:by the )?(\w+)(?=[.,;:]|$)/i;

/**
 * Reads that all are of one value, such as "All eligible".
 *
 * @param text - of `normalText`.
 * @returns the value of a label, and the share that others may have; null for other texts.
 */
export function normalStateOf(text: string): { readonly value: string; readonly othersShare: number } | null {
  const all = ALL.exec(text);
  if (all === null) return null;
  const [, almost, value = ""] = all;
  return { value, othersShare: almost === undefined ? 0 : 1 - ALMOST };
}

/** Numbers, and words for quantities of a unit. Names of settings have dots or underscores, and may be there. */
const QUANTITY =
  /(?<![\w.])\d|%|\b(?:per cent|(?:micro|milli)?seconds?|minutes?|hours?|kilobytes?|megabytes?|bytes?|hundred|thousand|million)\b/i;

/**
 * Finds a quantity in a text that has no form.
 *
 * @param text - of `normalText`.
 * @returns what should be a form; null when there is nothing.
 */
export function looseQuantity(text: string): string | null {
  return QUANTITY.exec(text)?.[0] ?? null;
}
