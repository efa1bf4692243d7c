/**
 * Reads Markdown: its passages, code, links and anchors.
 *
 * 1. Every paragraph, heading and table cell is one passage.
 * 2. Lines are those of the file, also when the text is part of a larger file (`firstLine`).
 */
import GithubSlugger from "github-slugger";
import type { Code, Nodes, Root } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { toString } from "mdast-util-to-string";
import { gfm } from "micromark-extension-gfm";
import { SKIP, visit } from "unist-util-visit";

import { CODE, type Passage, type PassageKind } from "./passage.ts";

/** Code in a page: a span or a block. */
export interface CodeInPage {
  readonly text: string;
  readonly line: number;
  /** Language of a block; null for a span or a block without one. */
  readonly language: string | null;
  readonly isBlock: boolean;
}

/** A link in a page. */
export interface LinkInPage {
  readonly target: string;
  readonly line: number;
}

/** A page as the rules see it. */
export interface Page {
  readonly file: string;
  readonly passages: readonly Passage[];
  readonly codes: readonly CodeInPage[];
  readonly links: readonly LinkInPage[];
  /** The anchors of its headings. */
  readonly anchors: ReadonlySet<string>;
  readonly lines: readonly string[];
}

const KINDS: Readonly<Partial<Record<Nodes["type"], PassageKind>>> = {
  heading: "heading",
  paragraph: "paragraph",
  tableCell: "cell",
};

/** The words of a node, with code replaced. */
function words(node: Nodes): string {
  if (node.type === "inlineCode" || node.type === "html") return node.type === "html" ? "" : CODE;
  if (node.type === "break") return " ";
  if (node.type === "text") return node.value.replaceAll(/https?:\/\/\S+/g, CODE).replaceAll("\n", " ");
  return "children" in node ? node.children.map(words).join("") : "";
}

/**
 * Reads one page.
 *
 * @param file - path from the repository's root.
 * @param text - its Markdown.
 * @param firstLine - the line of the file at which the Markdown begins.
 * @returns its passages, code, links and anchors.
 */
export function readPage(file: string, text: string, firstLine = 1): Page {
  const root: Root = fromMarkdown(text, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] });
  const passages: Passage[] = [];
  const codes: CodeInPage[] = [];
  const links: LinkInPage[] = [];
  const slugger = new GithubSlugger();
  const anchors = new Set<string>();
  visit(root, (node) => {
    const line = (node.position?.start.line ?? 1) + firstLine - 1;
    const kind = KINDS[node.type];
    if (kind !== undefined) passages.push({ kind, file, line, text: words(node).trim() });
    if (node.type === "heading") anchors.add(slugger.slug(toString(node)));
    if (node.type === "link" || node.type === "definition" || node.type === "image")
      links.push({ target: node.url, line });
    if (node.type === "inlineCode") codes.push({ text: node.value, line, language: null, isBlock: false });
    if (node.type === "code") {
      codes.push(codeBlock(node, line));
      return SKIP;
    }
    return undefined;
  });
  return { file, passages, codes, links, anchors, lines: text.split("\n") };
}

function codeBlock({ value, lang }: Code, line: number): CodeInPage {
  return { text: value, line: line + 1, language: lang ?? null, isBlock: true };
}
