/** The shape of sentences, headings and lines: how long, how they end, where they wrap. */
import type { Page } from "../markdown.ts";
import { type Finding, type Passage, sentences, wordCount } from "../passage.ts";

/** Words in a sentence. */
const SENTENCE_WORDS_MAX = 25;
/** Columns of a line of Markdown. Tables, links and code do not wrap. */
const COLUMNS_MAX = 100;

/** A first word that makes a heading a question or a scene. */
const SCENE = /^(?:What|Who|Whom|Where|When|Why|How|Which|Whose)\b/;

/**
 * Finds long sentences.
 *
 * @param passage - any passage but a heading.
 * @returns one finding per sentence.
 */
export function checkSentences({ kind, file, line, text }: Passage): readonly Finding[] {
  if (kind === "heading") return [];
  // A cell may be a list of items that end with semicolons.
  const parts = kind === "cell" ? text.split(/;\s/) : [text];
  return parts
    .flatMap(sentences)
    .map((sentence) => ({ sentence, words: wordCount(sentence) }))
    .filter(({ words }) => words > SENTENCE_WORDS_MAX)
    .map(({ sentence, words }) => ({
      file,
      line,
      rule: "sentence-length",
      found: `${words} words: ${sentence}`,
      instead: `two sentences of at most ${SENTENCE_WORDS_MAX} words`,
    }));
}

/**
 * Finds headings that do not name their content.
 *
 * @param passage - any passage; only headings are read.
 * @returns the findings.
 */
export function checkHeading({ kind, file, line, text }: Passage): readonly Finding[] {
  if (kind !== "heading") return [];
  const finding = (found: string, instead: string): Finding => ({
    file,
    line,
    rule: "heading",
    found,
    instead,
  });
  const findings: Finding[] = [];
  if (SCENE.test(text)) findings.push(finding(text, "the content as a noun: Example output"));
  if (/[.!?:;]$/.test(text)) findings.push(finding(text, "no mark at the end"));
  const words = text
    .replaceAll(/[^\p{L}\p{N} ]/gu, " ")
    .split(/\s+/)
    .filter(Boolean);
  const capitals = words.slice(1).filter((word) => /^\p{Lu}\p{Ll}+$/u.test(word) && word.length > 3);
  if (words.length > 2 && capitals.length >= words.length - 1)
    findings.push(finding(text, "a capital for the first word and names only"));
  return findings;
}

/** Columns of a line without what cannot wrap: addresses of links and long commands. */
function widthOf(text: string): number {
  return text.replaceAll(/\]\([^)]*\)/g, "]").replaceAll(/`[^`]{60,}`/g, "``").length;
}

/**
 * Finds lines of Markdown that are too long.
 *
 * @param page - a page.
 * @returns one finding per line.
 */
export function checkColumns({ file, lines }: Page): readonly Finding[] {
  let isCode = false;
  const findings: Finding[] = [];
  for (const [i, text] of lines.entries()) {
    if (/^\s*(?:```|~~~)/.test(text)) isCode = !isCode;
    const isFree = isCode || /^\s*\||^ {4}|^#/.test(text) || !/^.{2,99}\s/.test(text.trimStart());
    if (!isFree && widthOf(text) > COLUMNS_MAX)
      findings.push({
        file,
        line: i + 1,
        rule: "columns",
        found: `${text.length} columns`,
        instead: `at most ${COLUMNS_MAX} columns`,
      });
  }
  return findings;
}
