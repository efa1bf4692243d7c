/**
 * The rows of a chart as a table, the newest first: values, marks, and the times without data.
 *
 *     times ──▶ one a ROW_STEP, and those around a break ─┐
 *     marks ──▶ each ─────────────────────────────────────┼──▶ by time
 *     breaks ─▶ each ─────────────────────────────────────┘
 */

/** Something that happened, as a mark. */
export interface Mark {
  /** Seconds since 1970. */
  readonly time: number;
  readonly label: string;
  /** Custom property of the color, such as `--bad`. */
  readonly color: string;
}

/** A time without data: the points before and after it, in seconds since 1970. */
export interface Break {
  readonly from: number;
  readonly to: number;
}

/** A row. */
export type ChartRow =
  | { readonly kind: "values"; readonly time: number; readonly index: number }
  | { readonly kind: "mark"; readonly time: number; readonly label: string }
  | { readonly kind: "break"; readonly time: number; readonly to: number };

/** Points between two rows of values: a minute. */
const ROW_STEP = 12;

/**
 * Makes the rows.
 *
 * @param times - seconds since 1970, ascending.
 * @returns newest first; a break stands at its begin.
 */
export function rowsOf(
  times: readonly number[],
  marks: readonly Mark[],
  breaks: readonly Break[],
): readonly ChartRow[] {
  const edges = new Set(breaks.flatMap(({ from, to }) => [from, to]));
  const rows: ChartRow[] = breaks.map(({ from, to }) => ({ kind: "break", time: from, to }));
  times.forEach((time, index) => {
    const isDue = (times.length - 1 - index) % ROW_STEP === 0;
    // The point of a break has no values.
    const isInBreak = breaks.some(({ from, to }) => time > from && time < to);
    if ((isDue || edges.has(time)) && !isInBreak) rows.push({ kind: "values", time, index });
  });
  const [first = 0, last = 0] = [times[0], times.at(-1)];
  for (const { time, label } of marks)
    if (time >= first && time <= last + ROW_STEP) rows.push({ kind: "mark", time, label });
  return rows.sort((a, b) => b.time - a.time);
}
