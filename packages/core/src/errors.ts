/**
 * Coded errors, which are thrown for wrong foreign input. A code is a snake_case literal. The same
 * string is the value of a metric label, the `code` of an HTTP problem document and a row of the
 * generated reference.
 */

/** The least that a set of facts holds. Each error class narrows it to a union discriminated by `code`. */
export interface ErrorFacts {
  readonly code: string;
}

/**
 * An error that is known by its code and explained by its facts.
 *
 * @typeParam Facts - a union of `{code, …facts}` objects, one per code.
 */
export abstract class CodedError<Facts extends ErrorFacts> extends Error {
  readonly facts: Facts;

  /**
   * @param facts - the code and what belongs to it.
   * @param message - one sentence: what was wrong, where, and what was expected.
   * @param options - `cause`, when another error led here.
   */
  constructor(facts: Facts, message: string, options?: ErrorOptions) {
    super(message, options);
    this.facts = facts;
  }

  /** The code, for labels and comparisons. */
  get code(): Facts["code"] {
    return this.facts.code;
  }
}
