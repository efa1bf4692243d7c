/**
 * Reads the English of TypeScript and JavaScript: texts in string literals, and the comment that opens a file.
 *
 * A literal counts as English when it has at least four words and no sign of a query, a path or a program.
 * Literals joined with `+` are one text; `${…}` counts as code. Names of tests are not read.
 */
import ts from "typescript";

import { readPage } from "./markdown.ts";
import { CODE, type Passage } from "./passage.ts";

const WORDS_MIN = 4;
/** Signs of PromQL, programs, HTML and shell lines. */
const NOT_ENGLISH =
  /\b(?:sum|rate|max|min|avg|count|increase|histogram_quantile|quantile|label_replace|clamp_min|topk|absent)(?:\s+(?:by|without))?\s*\(|=>|[!=]=|;\s*$|<\/|<\w+ \w+=|^\s*[-<{[(]|\bSELECT\b|\{\{|--\w+ \S+ --|^\S+ --|^(?:node|kvsync|curl|npm|npx|export|kubectl|openssl|set|GET|POST) \S/;

/** The text of a literal or of literals joined by `+`; null for other expressions. */
function literalText(node: ts.Expression): string | null {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map(({ literal }) => `${CODE}${literal.text}`).join("");
  if (ts.isParenthesizedExpression(node)) return literalText(node.expression);
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const left = literalText(node.left);
    const right = literalText(node.right);
    return left === null && right === null ? null : (left ?? CODE) + (right ?? CODE);
  }
  return null;
}

/** Replaces code and addresses in a message, and ends paragraphs where it has a line break. */
function messageParagraphs(text: string): readonly string[] {
  return text
    .replaceAll(/`[^`\n]*`/g, CODE)
    .replaceAll(/\]\([^)]*\)/g, "")
    .replaceAll(/https?:\/\/\S+/g, CODE)
    .split(/\n\s*/)
    .map((part) => part.trim());
}

function isEnglish(text: string): boolean {
  const words = text.match(/(?<![\w◊/.-])[A-Za-z][a-z]*(?=[\s,.;:)!?◊]|$)/g) ?? [];
  return words.length >= WORDS_MIN && !NOT_ENGLISH.test(text);
}

/** The comment that opens a file, as Markdown. */
function headerComment(text: string): { readonly markdown: string; readonly line: number } | null {
  const offset = /^(?:#!.*\n)?\s*/.exec(text)?.[0] ?? "";
  const rest = text.slice(offset.length);
  const line = offset.split("\n").length;
  const block = /^\/\*\*?([\s\S]*?)\*\//.exec(rest);
  if (block !== null) {
    // A block that documents the first declaration of the file is no header, but it is English all the same.
    return { markdown: (block[1] ?? "").replaceAll(/^[ \t]*\* ?/gm, ""), line };
  }
  const lines = /^(?:\/\/.*\n)+/.exec(rest);
  return lines === null ? null : { markdown: lines[0].replaceAll(/^\/\/ ?/gm, ""), line };
}

/**
 * Reads a source file.
 *
 * @param file - path from the repository's root.
 * @param text - its content.
 * @returns the passages of its first comment and of its literals.
 */
export function readSource(file: string, text: string): readonly Passage[] {
  const passages: Passage[] = [];
  const header = headerComment(text);
  if (header !== null)
    for (const passage of readPage(file, header.markdown, header.line).passages)
      passages.push({ ...passage, kind: "comment" });
  if (/\.(test|bench)\.ts$|\/(testing|test|bench|real|vectors)\//.test(file)) return passages;
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, false);
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    const literal = ts.isExpression(node) ? literalText(node) : null;
    if (literal === null) {
      ts.forEachChild(node, visit);
      return;
    }
    const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    for (const paragraph of messageParagraphs(literal))
      if (isEnglish(paragraph)) passages.push({ kind: "message", file, line, text: paragraph });
  };
  ts.forEachChild(source, visit);
  return passages;
}
