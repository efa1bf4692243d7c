/** Words of texts and names without their endings, so that "failed" and "failures" are one word. */

/** Words that nearly every text or name has. */
const EVERYWHERE = new Set(
  "the and that are with for from its was which each not one all over per time this has have how what when than into".split(
    " ",
  ),
);

/** Endings that make one word of several forms, longest first. */
const ENDINGS = [
  "ations",
  "ation",
  "ures",
  "able",
  "ure",
  "ings",
  "ions",
  "ing",
  "ies",
  "ied",
  "ion",
  "ed",
  "es",
  "s",
  "e",
  "y",
];
const STEM_MIN = 3;

/**
 * The words of a text.
 *
 * @param text - a title, a description, an expression or a name.
 * @returns their stems, in order, without the words that nearly every text has.
 */
export function stems(text: string): string[] {
  const lower = text.toLowerCase();
  // "back-pressure" is written "backpressure" in names.
  const joined = (lower.match(/[a-z]+(?:-[a-z]+)+/g) ?? []).map((word) => word.replaceAll("-", ""));
  return [...(lower.match(/[a-z]+\d*/g) ?? []), ...joined]
    .filter((word) => word.length >= STEM_MIN && !EVERYWHERE.has(word))
    .map((word) => {
      const ending = ENDINGS.find((end) => word.endsWith(end) && word.length - end.length >= STEM_MIN);
      return ending === undefined ? word : word.slice(0, -ending.length);
    });
}
