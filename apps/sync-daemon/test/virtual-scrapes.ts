/**
 * Scrapes of a daemon, extended over virtual time for `promtool test rules`. Counters continue at
 * the rate between two scrapes. Gauges stay. Timestamps keep their distance to the clock, which
 * begins at 0 in a promtool test.
 *
 *   real       first ── seconds ── second
 *   virtual    0 ──────────────────────────────▶ as long as wanted, a sample per scrape interval
 */

/** One scrape, and when it was taken. */
export interface Scrape {
  readonly text: string;
  readonly atSeconds: number;
}

/** A series in promtool's notation. */
export interface InputSeries {
  readonly series: string;
  readonly values: string;
}

interface Sample {
  readonly series: string;
  readonly kind: string;
  readonly value: number;
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const POINT_IN_TIME = /_timestamp_seconds$|^process_start_time_seconds$/;

/**
 * Reads a scrape.
 *
 * @param text - Prometheus text.
 * @param target - labels that Prometheus would add.
 * @returns the samples by series.
 */
export function samplesOf(text: string, target: Readonly<Record<string, string>>): Map<string, Sample> {
  const samples = new Map<string, Sample>();
  const added = Object.entries(target).map(([name, value]) => `${name}="${value}"`);
  let kind = "untyped";
  for (const line of text.split("\n")) {
    const type = /^# TYPE \S+ (\S+)$/.exec(line);
    if (type !== null) kind = type[1] ?? "untyped";
    const parsed = SAMPLE.exec(line);
    if (parsed === null) continue;
    const [, name = "", labels, value = ""] = parsed;
    const series = `${name}{${[...added, ...(labels === undefined ? [] : [labels])].join(",")}}`;
    samples.set(series, { series, kind, value: Number(value) });
  }
  return samples;
}

/**
 * Draws two scrapes of one daemon out.
 *
 * @param scrapes - the earlier one and the later one.
 * @param target - labels that Prometheus would add.
 * @param intervalSeconds - between virtual scrapes.
 * @param seconds - how long.
 * @returns every series of the later scrape, and `up`.
 */
export function drawnOut(
  [first, second]: readonly [Scrape, Scrape],
  target: Readonly<Record<string, string>>,
  intervalSeconds: number,
  seconds: number,
): InputSeries[] {
  const rounds = Math.ceil(seconds / intervalSeconds);
  const before = samplesOf(first.text, target);
  const elapsed = second.atSeconds - first.atSeconds;
  const line = (series: string, start: number, step: number): InputSeries => ({
    series,
    values: `${start}${step < 0 ? "" : "+"}${step}x${rounds}`,
  });
  const drawn = [...samplesOf(second.text, target).values()].map(({ series, kind, value }) => {
    const earlier = before.get(series)?.value;
    const perSecond = earlier === undefined ? 0 : (value - earlier) / elapsed;
    if (POINT_IN_TIME.test(series.slice(0, series.indexOf("{")))) {
      const runsWithTheClock = perSecond > 0.5;
      return line(series, value - second.atSeconds, runsWithTheClock ? intervalSeconds : 0);
    }
    return kind === "gauge"
      ? line(series, value, 0)
      : line(series, earlier ?? value, perSecond * intervalSeconds);
  });
  const labels = Object.entries(target).map(([name, value]) => `${name}="${value}"`);
  return [...drawn, line(`up{${labels.join(",")}}`, 1, 0)];
}
