/** The glossary as a rule: the words that its last column gives up in favor of a term. */

/** A word that is not used, and the term that is. */
export interface Synonym {
  readonly pattern: RegExp;
  readonly term: string;
}

/**
 * Reads the table of docs/glossary.md.
 *
 * @param text - the page. Its last column lists words, separated by commas.
 * @returns one entry per word.
 */
export function readSynonyms(text: string): readonly Synonym[] {
  const rows = text.split("\n").filter((line) => line.startsWith("| "));
  return rows.slice(2).flatMap((row) => {
    const cells = row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    const term = cells[0] ?? "";
    const unused = (cells[3] ?? "").split(",").map((word) => word.trim());
    return unused
      .filter((word) => word !== "")
      .map((word) => ({ pattern: new RegExp(`(?<![-\\w])${word}s?\\b`, "gi"), term }));
  });
}
