/**
 * Numbers in words: counts, rates, shares, sizes, durations and times of day.
 *
 * Three significant digits where a figure is measured, all digits where it is counted. An unknown figure is a dash.
 *
 * Not here: sentences (texts).
 */

/** Stands for a figure that is not known. */
export const UNKNOWN = "–";

type Maybe = number | null | undefined;

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const significant = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });

function isKnown(value: Maybe): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** A number with its unit: `["46.8", "k"]`. The unit is empty where there is none. */
export type Figure = readonly [value: string, unit: string];

/** The text of a figure. */
export function textOf([value, unit]: Figure): string {
  return unit === "" ? value : `${value} ${unit}`;
}

/** A counted number, all digits: `9,412,877`. */
export function count(value: Maybe): string {
  return isKnown(value) ? whole.format(value) : UNKNOWN;
}

/** A measured number: `46.8 k`, `3.4 M`, `0.31`. */
export function measure(value: Maybe): Figure {
  if (!isKnown(value)) return [UNKNOWN, ""];
  const size = Math.abs(value);
  // 999.5 rounds to 1,000: the next unit says that in three digits.
  if (size >= 999.5e6) return [significant.format(value / 1e9), "G"];
  if (size >= 999_500) return [significant.format(value / 1e6), "M"];
  if (size >= 9999.5) return [significant.format(value / 1e3), "k"];
  return [size >= 100 ? whole.format(value) : significant.format(value), ""];
}

/** A share of 1 in percent, with one digit after the point where it matters: `99.6 %`, `61 %`. Never 100 for less. */
export function percent(share: Maybe): Figure {
  if (!isKnown(share)) return [UNKNOWN, ""];
  const value = share * 100;
  const isNearEnd = value > 95 || value < 10;
  const scale = isNearEnd ? 10 : 1;
  const rounded = Math.round(value * scale) / scale;
  const shown = value < 100 && rounded >= 100 ? 99.9 : value > 0 && rounded === 0 ? 0.1 : rounded;
  return [String(shown), "%"];
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Bytes in binary units: `1.21 GiB`. */
export function bytes(value: Maybe): Figure {
  if (!isKnown(value)) return [UNKNOWN, ""];
  let size = value;
  let unit = 0;
  while (size >= 1023.5 && unit < SIZES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return [size >= 999.5 ? whole.format(size) : significant.format(size), SIZES[unit] ?? "B"];
}

/** A duration in the unit that people use: `40 ms`, `1.2 s`, `8 min`, `3 h`, `2 d`. */
export function duration(seconds: Maybe): Figure {
  if (!isKnown(seconds)) return [UNKNOWN, ""];
  if (seconds < 0.0995) return [significant.format(seconds * 1000), "ms"];
  if (seconds < 0.9995) return [whole.format(seconds * 1000), "ms"];
  if (seconds < 9.95) return [String(Number(seconds.toFixed(1))), "s"];
  if (seconds < 59.5) return [whole.format(seconds), "s"];
  if (seconds < 3570) return [whole.format(seconds / 60), "min"];
  if (seconds < 84_600) return [whole.format(seconds / 3600), "h"];
  return [whole.format(seconds / 86_400), "d"];
}

/** A latency, always in milliseconds: `0.31 ms`. */
export function milliseconds(seconds: Maybe): Figure {
  return isKnown(seconds) ? [significant.format(seconds * 1000), "ms"] : [UNKNOWN, ""];
}

/** A time of day in the browser's zone: `23:04:12`. */
export function timeOfDay(ms: Maybe): string {
  return isKnown(ms) ? new Date(ms).toLocaleTimeString("en-GB", { hourCycle: "h23" }) : UNKNOWN;
}

/** A day and time in the browser's zone: `2025-11-28 23:04:12`. */
export function dayAndTime(ms: Maybe): string {
  return isKnown(ms) ? `${new Date(ms).toLocaleDateString("sv-SE")} ${timeOfDay(ms)}` : UNKNOWN;
}

/** The same moment in UTC, for titles: `2025-11-28T23:04:12Z`. */
export function utc(ms: Maybe): string {
  return isKnown(ms) ? new Date(ms).toISOString().replace(/\.\d+Z$/, "Z") : "";
}

/** A noun in its number: `1 engine`, `1,000 engines`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
