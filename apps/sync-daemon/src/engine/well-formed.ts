/**
 * Names of models, adapters, topics, tenants and instances are well-formed Unicode. Half of a surrogate pair is replaced when
 * the text is written as UTF-8. Two such names become one label in metrics and one key in files.
 */

/** What is expected of a name. */
export const WELL_FORMED_EXPECTED = "well-formed Unicode, without lone surrogates";

/**
 * Whether a text is well-formed.
 *
 * @param text - any.
 * @returns false when it has a lone surrogate.
 */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
