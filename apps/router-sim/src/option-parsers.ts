/** How the text of an option or argument becomes a checked value: shared by the files that declare commands. */
import { CodedError } from "@kvsync/core";
import { InvalidArgumentError } from "commander";

/**
 * Makes a parser for numbers.
 *
 * @param min - the least that is accepted.
 * @param max - the most.
 * @param kind - whether fractions are.
 * @returns the parser; it throws InvalidArgumentError that says what was expected.
 */
export function numberParser(
  min: number,
  max: number,
  kind: "integer" | "number" = "integer",
): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (value >= min && value <= max && (kind === "number" || Number.isInteger(value))) return value;
    throw new InvalidArgumentError(
      `Expected ${kind === "integer" ? "an integer" : "a number"} from ${min} to ${max}.`,
    );
  };
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
