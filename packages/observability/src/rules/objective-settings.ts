/**
 * Settings of objectives from a file of JSON. Those that it leaves out stay as they are:
 *
 *     { "budgets": { "availability": 0.0005 }, "burns": [{ "long": "1h", "short": "5m", "factor": 14.4, "for": "2m", "severity": "critical" }] }
 *
 * A name that is not known, and a value of another type, are refused with their place. The range of
 * a value is checked where it is used (objectives.ts, B1).
 */

import type { BurnRate, ObjectiveSettings } from "./objectives.ts";

/** The types of a rate's fields, written out. */
const RATE_FIELDS: Readonly<Record<keyof BurnRate, RegExp | "number">> = {
  long: /^\d+[mhd]$/,
  short: /^\d+[mhd]$/,
  factor: "number",
  for: /^\d+[smh]$/,
  severity: /^(?:critical|warning|info)$/,
};

type JsonObject = Readonly<Record<string, unknown>>;

function objectAt(place: string, value: unknown): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new RangeError(`${place} is ${JSON.stringify(value)}; expected an object`);
}

function numberAt(place: string, value: unknown): number {
  if (typeof value === "number") return value;
  throw new RangeError(`${place} is ${JSON.stringify(value)}; expected a number`);
}

function refuseUnknown(place: string, given: JsonObject, known: readonly string[]): void {
  for (const name of Object.keys(given))
    if (!known.includes(name))
      throw new RangeError(`${place} has ${JSON.stringify(name)}; expected ${known.join(", ")}`);
}

/** The numbers that are there, changed where the file has others. */
function numbersAt(
  place: string,
  given: unknown,
  present: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  if (given === undefined) return present;
  const numbers = objectAt(place, given);
  refuseUnknown(place, numbers, Object.keys(present));
  const changed = Object.entries(numbers).map(([name, value]) => [name, numberAt(`${place}.${name}`, value)]);
  return { ...present, ...(Object.fromEntries(changed) as Record<string, number>) };
}

function rateAt(place: string, given: unknown): BurnRate {
  const rate = objectAt(place, given);
  refuseUnknown(place, rate, Object.keys(RATE_FIELDS));
  for (const [field, type] of Object.entries(RATE_FIELDS)) {
    const value = rate[field];
    if (type === "number") numberAt(`${place}.${field}`, value);
    else if (typeof value !== "string" || !type.test(value))
      throw new RangeError(`${place}.${field} is ${JSON.stringify(value)}; expected ${type.source}`);
  }
  return rate as unknown as BurnRate;
}

function ratesAt(given: unknown, present: ObjectiveSettings["burns"]): ObjectiveSettings["burns"] {
  if (given === undefined) return present;
  const rates = Array.isArray(given) ? given.map((rate, i) => rateAt(`burns[${i}]`, rate)) : [];
  const [first, ...others] = rates;
  if (first === undefined) throw new RangeError("burns is no list of rates; expected one rate or more");
  return [first, ...others];
}

/**
 * Reads the file.
 *
 * @param json - parsed.
 * @param present - the settings that it changes.
 * @returns all of them.
 * @throws RangeError with the place of what cannot be read.
 */
export function objectiveSettings(json: unknown, present: ObjectiveSettings): ObjectiveSettings {
  const given = objectAt("objectives", json);
  refuseUnknown("objectives", given, ["periodDays", "budgets", "slowSeconds", "burns"]);
  return {
    periodDays:
      given["periodDays"] === undefined ? present.periodDays : numberAt("periodDays", given["periodDays"]),
    budgets: numbersAt("budgets", given["budgets"], present.budgets),
    slowSeconds: numbersAt("slowSeconds", given["slowSeconds"], present.slowSeconds),
    burns: ratesAt(given["burns"], present.burns),
  };
}
