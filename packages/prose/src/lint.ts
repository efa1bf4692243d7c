/**
 * The linter: every rule over the whole tree.
 *
 * 1. A generated page is linted where its texts are written, in the sources. Its links are still
 *    checked.
 * 2. Findings are sorted by file and line.
 */
import { readPage } from "./markdown.ts";
import type { Finding, Passage } from "./passage.ts";
import { checkChangelog } from "./rules/changelog.ts";
import { readSynonyms, type Synonym } from "./rules/glossary.ts";
import { checkNames } from "./rules/names.ts";
import { checkPnpm, checkReferences, checkSettings } from "./rules/references.ts";
import { checkColumns, checkHeading, checkSentences } from "./rules/shape.ts";
import { checkVocabulary } from "./rules/vocabulary.ts";
import { readSource } from "./source-text.ts";
import { knownNames, readTree } from "./tree.ts";

/** Pages whose texts are written in sources. */
const GENERATED = /^docs\/(?:generated|operations\/runbooks|routing\/(?!README))/;

/** Calls pnpm wrongly, to test the rule. */
const PNPM_EXAMPLES = "packages/prose/src/rules/rules.test.ts";

/**
 * Applies the rules of English to one passage.
 *
 * @param passage - the passage.
 * @param synonyms - from the glossary.
 * @returns the findings.
 */
export function lintPassage(passage: Passage, synonyms: readonly Synonym[]): readonly Finding[] {
  return [
    ...checkVocabulary(passage, passage.file === "docs/glossary.md" ? [] : synonyms),
    ...checkSentences(passage),
    ...checkHeading(passage),
    ...checkNames(passage),
  ];
}

/**
 * Lints the repository.
 *
 * @param root - its root folder.
 * @returns every finding, by file and line.
 */
export function lintTree(root: string): readonly Finding[] {
  const tree = readTree(root);
  const pages = tree.markdown.map(({ file, text }) => readPage(file, text));
  const known = knownNames(root, tree, pages);
  const synonyms = readSynonyms(tree.markdown.find(({ file }) => file === "docs/glossary.md")?.text ?? "");
  const findings: Finding[] = [];
  for (const page of pages) {
    findings.push(...checkReferences(page, known));
    for (const passage of page.passages) findings.push(...checkSettings(passage, known));
    if (GENERATED.test(page.file)) continue;
    findings.push(...checkColumns(page));
    for (const passage of page.passages) findings.push(...lintPassage(passage, synonyms));
    if (page.file === "CHANGELOG.md") findings.push(...checkChangelog(page.passages));
  }
  for (const { file, text } of tree.sources) {
    if (file !== PNPM_EXAMPLES) findings.push(...checkPnpm(file, text, known.pnpm));
    for (const passage of readSource(file, text))
      findings.push(...lintPassage(passage, synonyms), ...checkSettings(passage, known));
  }
  return findings.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line));
}
