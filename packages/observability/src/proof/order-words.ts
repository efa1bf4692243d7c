/**
 * Words that put things in an order, with the function that finds what they name: "the fewest" of a query with `max` is the most. And
 * functions that need such a word.
 */

/** Each word with the functions of which a query needs one. */
const WORDS: readonly (readonly [words: RegExp, functions: RegExp])[] = [
  [/\b(?:fewest|smallest|lowest|shortest|youngest|idlest)\b/i, /\b(?:min|bottomk)\b/],
  [/\b(?:with the most|largest|highest|longest)\b/i, /\b(?:max|topk)\b/],
  [/\b(?:slowest|busiest|oldest|quietest)\b/i, /\b(?:max|topk)\b/],
  [/\b(?:the worst one's|at the worst|worst replica)\b/i, /\b(?:min|max)\b/],
  [/\b[Mm]ean\b/, /\bavg\b|\//],
];

/** Functions that take one of several values or their middle, with the words of which a text needs one. */
const FUNCTIONS: readonly (readonly [fn: RegExp, words: RegExp])[] = [
  [/\b(?:min|bottomk)\b/, /\b(?:fewest|smallest|lowest|worst|youngest|quietest|first|since|[Ww]hether)\b/],
  [/\bavg\b/, /\b[Mm]ean\b/],
];

/**
 * The functions of a query that a text does not tell of: it then speaks of a sum, or of the largest.
 *
 * @param text - a title and a description.
 * @param query - one that the text is about.
 * @returns one sentence per function.
 */
export function untold(text: string, query: string): string[] {
  return FUNCTIONS.filter(([fn, words]) => fn.test(query) && !words.test(text)).map(
    ([fn, words]) => `a query has "${fn.exec(query)?.[0] ?? ""}", but its text has none of ${words.source}`,
  );
}

/**
 * The words of order in a text that no query answers.
 *
 * @param text - a title, a description or a step of a runbook.
 * @param queries - those that the text is about.
 * @returns one sentence per word.
 */
export function unanswered(text: string, queries: readonly string[]): string[] {
  return WORDS.filter(
    ([words, functions]) => words.test(text) && !queries.some((query) => functions.test(query)),
  ).map(([words, functions]) => `"${words.exec(text)?.[0] ?? ""}", but no query has ${functions.source}`);
}
