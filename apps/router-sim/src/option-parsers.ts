/** How the text of an option or argument becomes a checked value: shared by the files that declare commands. */
import { CodedError, numberParser } from "@kvsync/core";
import { InvalidArgumentError } from "commander";

import { POLICY_NAMES, type PolicyName } from "./policy/policies.ts";

/**
 * Makes the parser of a number option.
 *
 * @param min - the smallest number that it accepts.
 * @param max - the largest one.
 * @param kind - whether it accepts fractions.
 */
export function numberOption(
  min: number,
  max: number,
  kind: "integer" | "number" = "integer",
): (text: string) => number {
  return numberParser({ kind, min, max }, InvalidArgumentError);
}

/**
 * Turns a parser's coded refusal of a text into commander's, which names the option.
 *
 * @param parse - throws CodedError at what it does not accept.
 * @returns the same parser, throwing InvalidArgumentError instead.
 */
export function coded<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof CodedError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

/**
 * Reads a list of policies.
 *
 * @param text - names separated by commas, or `all`.
 * @returns them, in that order.
 * @throws InvalidArgumentError at a name that there is not, or that is there twice.
 */
export function parsePolicies(text: string): readonly PolicyName[] {
  if (text === "all") return POLICY_NAMES;
  const names = text.split(",").map((name) => {
    const known = POLICY_NAMES.find((policy) => policy === name);
    if (known !== undefined) return known;
    throw new InvalidArgumentError(`"${name}" is none of ${POLICY_NAMES.join(", ")}, and not all.`);
  });
  return distinct(names, text);
}

/**
 * Refuses lists that have the same twice: two runs where an average expects one.
 *
 * @param values - what was read.
 * @param text - what it was read from.
 * @returns the values.
 * @throws InvalidArgumentError when two are equal.
 */
export function distinct<Value>(values: readonly Value[], text: string): readonly Value[] {
  if (new Set(values).size === values.length) return values;
  throw new InvalidArgumentError(`"${text}" has the same twice; expected different ones.`);
}
