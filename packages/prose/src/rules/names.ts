/** Names from code stand in backticks in Markdown. */
import type { Finding, Passage } from "../passage.ts";

/** Product names that look like names from code. */
const PRODUCTS = new Set([
  "vLLM",
  "eBPF",
  "kvsync",
  "macOS",
  "msgpackr",
  "zeromq.js",
  "libzmq",
  "gRPC",
  "iOS",
  "xPyD",
  "llm-d",
  "mTLS",
  "kB",
]);
const NAME =
  /(?<![\w./@◊-])(?:[a-z][a-z0-9]*(?:_[a-z0-9]+)+|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[a-z]+[A-Z]\w*|--[a-z][a-z-]+)(?![\w/@-])/g;

/**
 * Finds names from code without backticks.
 *
 * @param passage - a passage of Markdown.
 * @returns one finding per name.
 */
export function checkNames({ kind, file, line, text }: Passage): readonly Finding[] {
  if (kind === "message" || kind === "comment") return [];
  return [...text.matchAll(NAME)]
    .map(([name]) => name)
    .filter((name) => !PRODUCTS.has(name))
    .map((name) => ({ file, line, rule: "backticks", found: name, instead: `\`${name}\`` }));
}
