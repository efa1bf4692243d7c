/** The results of a scenario's expectations, from a simulation or a replay. */
import type { EndExpectation, Scenario } from "./scenario.ts";

/** Of an audit's differences, how many are told. */
export const DIFFERENCES_SHOWN = 3;

/** One expectation and what became of it. */
export interface ScenarioCheck {
  readonly what: string;
  readonly passed: boolean;
  /** The figure, or what was wrong. */
  readonly detail: string;
}

/**
 * Judges what is expected of the whole run.
 *
 * @param end - the scenario's bounds.
 * @param figureOf - the run's figure; asked only for what is bounded.
 * @returns a check per bounded figure, in the order of their declaration.
 */
export function endChecks(end: Scenario["end"], figureOf: (name: EndExpectation) => number): ScenarioCheck[] {
  return (Object.keys(end) as EndExpectation[]).flatMap((name) => {
    const bounds = end[name];
    if (bounds === undefined) return [];
    const value = figureOf(name);
    const { min = -Infinity, max = Infinity } = bounds;
    const limits = [
      ...(bounds.min === undefined ? [] : [`at least ${bounds.min}`]),
      ...(bounds.max === undefined ? [] : [`at most ${bounds.max}`]),
    ].join(", ");
    return [{ what: `end: ${name} ${limits}`, passed: value >= min && value <= max, detail: figure(value) }];
  });
}

/** @returns a whole number, its thousands apart. */
export function whole(value: number): string {
  return value.toLocaleString("en-US");
}

function figure(value: number): string {
  return Number.isInteger(value) ? whole(value) : value.toPrecision(3);
}
