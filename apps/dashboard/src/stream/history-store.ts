/**
 * The last hour in points of one step: those that the daemon kept, and those of the stream.
 *
 *     GET history ──▶ points ──▶ add(at, values) ──▶ points        key ──▶ [720 values, null where nothing was]
 *
 * Invariants (history-store.test.ts)
 *  H1  Times ascend, and no time occurs twice.
 *  H2  After a pause of more than one step there is a point without values: lines break there.
 *  H3  At most `seconds / step` points are kept, and one for each break.
 *  H4  Points of a daemon that started again continue those of the one before it on its host.
 */
import type { Totals } from "./stream-messages.ts";

/** What `GET /api/v1/dashboard/history` answers. Times are seconds since 1970. */
export interface HistoryAnswer {
  readonly step: number;
  readonly from: number;
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

/** Values of one moment, by key. */
export type Point = Readonly<Record<string, number | null>>;

/** How long points are kept. */
export const HISTORY_SECONDS = 3600;

/** Points of all series. */
export class HistoryStore {
  /** Seconds since 1970, ascending. */
  times: number[] = [];
  /** By key, one value for each time. */
  readonly series = new Map<string, (number | null)[]>();
  step = 5;
  #host = "";

  /**
   * Takes the daemon's points in place of those that are here, except those from before its start (H4).
   *
   * @param instance - of the daemon: its host, a colon and its process.
   */
  load({ step, from, series }: HistoryAnswer, instance: string): void {
    if (!(step > 0)) return;
    const host = instance.replace(/:[^:]*$/, "");
    const known = Object.values(series).map((values) => values.findIndex((value) => value !== null));
    // A daemon that has no point yet takes the place of none.
    const first = Math.min(...known.filter((index) => index >= 0));
    this.#keep(host === this.#host ? from + first * step : 0);
    this.#host = host;
    this.step = step;
    const last = this.times.at(-1);
    if (last !== undefined && from + first * step - last > step && Number.isFinite(first))
      this.#push(last + step, {});
    const length = Math.max(0, ...Object.values(series).map((values) => values.length));
    for (let i = last === undefined ? 0 : first; i < length; i += 1)
      this.#push(
        from + i * step,
        Object.fromEntries(Object.entries(series).map(([key, values]) => [key, values[i] ?? null])),
      );
    this.#trim();
  }

  /** Times without a value of any series, between points that have one. */
  breaks(start = 0): { readonly from: number; readonly to: number }[] {
    const found: { from: number; to: number }[] = [];
    let last: number | null = null;
    for (let i = start; i < this.times.length; i += 1) {
      if (!this.#hasValue(i)) continue;
      if (last !== null && i > last + 1) found.push({ from: this.times[last] ?? 0, to: this.times[i] ?? 0 });
      last = i;
    }
    return found;
  }

  #hasValue(index: number): boolean {
    for (const values of this.series.values()) if ((values[index] ?? null) !== null) return true;
    return false;
  }

  /** Keeps the points before a time, up to the last one with a value. */
  #keep(time: number): void {
    let kept = this.times.findIndex((one) => one >= time);
    if (kept === -1) kept = this.times.length;
    while (kept > 0 && !this.#hasValue(kept - 1)) kept -= 1;
    this.times.length = kept;
    for (const values of this.series.values()) values.length = kept;
  }

  /**
   * Adds values. Those of one step take each other's place.
   *
   * @param at - milliseconds since 1970. An earlier time than the last is left out.
   */
  add(at: number, point: Point): void {
    const time = Math.floor(at / 1000 / this.step) * this.step;
    const last = this.times.at(-1);
    if (last !== undefined && time < last) return;
    if (last !== undefined && time - last > this.step) this.#push(last + this.step, {});
    if (last !== undefined && time - last < this.step) this.#replace(point);
    else this.#push(time, point);
    this.#trim();
  }

  /** The values of a series; nulls when there is none. */
  values(key: string): readonly (number | null)[] {
    return this.series.get(key) ?? this.times.map(() => null);
  }

  /** Index of the first point within the last `seconds`. */
  firstWithin(seconds: number): number {
    const start = (this.times.at(-1) ?? 0) - seconds;
    const index = this.times.findIndex((time) => time >= start);
    return index === -1 ? 0 : index;
  }

  #push(time: number, point: Point): void {
    for (const key of Object.keys(point))
      if (!this.series.has(key))
        this.series.set(
          key,
          this.times.map(() => null),
        );
    this.times.push(time);
    for (const [key, values] of this.series) values.push(point[key] ?? null);
  }

  #replace(point: Point): void {
    const last = this.times.length - 1;
    for (const [key, value] of Object.entries(point)) {
      let values = this.series.get(key);
      if (values === undefined) {
        values = this.times.map(() => null);
        this.series.set(key, values);
      }
      values[last] = value;
    }
  }

  #trim(): void {
    const end = this.times.at(-1) ?? 0;
    const kept = this.times.findIndex((time) => time > end - HISTORY_SECONDS);
    if (kept <= 0) return;
    this.times.splice(0, kept);
    for (const [key, values] of this.series) {
      values.splice(0, kept);
      // What is gone from the hour leaves the map.
      if (values.every((value) => value === null)) this.series.delete(key);
    }
  }
}

/**
 * Makes a point of totals, under the keys of the history.
 *
 * @param models - names by their index.
 * @param exactShare - share of ranks that are exact; null without a rank.
 */
export function pointOf(totals: Totals, models: readonly string[], exactShare: number | null): Point {
  const point: Record<string, number | null> = { exact_share: exactShare };
  for (const kind of ["stored", "removed", "cleared"] as const)
    point[`events_applied.${kind}`] = totals.events?.[kind] ?? null;
  for (const kind of ["exact", "degraded", "fallback"] as const)
    point[`lookups.${kind}`] = totals.lookups?.[kind] ?? null;
  point["lookup_p50"] = totals.p50 ?? null;
  point["lookup_p99"] = totals.p99 ?? null;
  point["memory_used"] = totals.memory?.used ?? null;
  for (const [index, share] of Object.entries(totals.hit ?? {})) {
    const model = models[Number(index)];
    if (model !== undefined) point[`hit_rate{${model}}`] = share;
  }
  return point;
}
