/**
 * When the losses of a scenario end, by engine. A later loss of an engine replaces an earlier one,
 * so an engine has one end at a time.
 */
import { enginesMeant, type TimelineEntry } from "./scenario.ts";

/** The end of a loss: the workload's seconds, and whose it is. */
interface LossEnd {
  readonly at: number;
  readonly engine: number;
}

/** Losses that go on, the first to end first. */
export class LossEnds {
  #ends: LossEnd[] = [];

  /** When the next one ends; Infinity when none goes on. */
  get nextAt(): number {
    return this.#ends[0]?.at ?? Infinity;
  }

  /**
   * Notes when a loss ends.
   *
   * @param at - its begin.
   * @param loss - what the timeline says of it.
   * @param engineCount - engines of the scenario.
   */
  add(at: number, { engines, seconds }: NonNullable<TimelineEntry["lose"]>, engineCount: number): void {
    const losing = enginesMeant(engines, engineCount);
    const others = this.#ends.filter(({ engine }) => !losing.includes(engine));
    this.#ends = [...others, ...losing.map((engine) => ({ at: at + seconds, engine }))].sort(
      (a, b) => a.at - b.at,
    );
  }

  /**
   * Takes the next one.
   *
   * @returns null when none goes on.
   */
  take(): LossEnd | null {
    return this.#ends.shift() ?? null;
  }
}
