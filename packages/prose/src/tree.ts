/** The files of the repository that the linter reads, and the names that they define. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { Page } from "./markdown.ts";
import type { KnownNames } from "./rules/references.ts";

const IGNORED = new Set(["node_modules", "dist", "test-results", ".git", ".turbo", ".cache", "coverage"]);

/** A file of the tree. */
interface TreeFile {
  /** From the root. */
  readonly file: string;
  readonly text: string;
}

/** What the tree holds. */
export interface Tree {
  readonly paths: ReadonlySet<string>;
  readonly markdown: readonly TreeFile[];
  readonly sources: readonly TreeFile[];
  readonly manifests: readonly TreeFile[];
}

/**
 * Reads the tree.
 *
 * @param root - the repository's root.
 * @returns its paths, and the text of what is linted.
 */
export function readTree(root: string): Tree {
  const paths = new Set<string>();
  const markdown: TreeFile[] = [];
  const sources: TreeFile[] = [];
  const manifests: TreeFile[] = [];
  const read = (file: string): TreeFile => ({ file, text: readFileSync(join(root, file), "utf8") });
  const walk = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const file = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (IGNORED.has(entry.name)) continue;
      paths.add(file);
      if (entry.isDirectory()) walk(file);
      else if (file.endsWith(".md")) markdown.push(read(file));
      else if (/\.(?:ts|tsx|mts|mjs)$/.test(file) && !/\.generated\.|\.d\.m?ts$/.test(file))
        sources.push(read(file));
      else if (entry.name === "package.json") manifests.push(read(file));
    }
  };
  walk("");
  return { paths, markdown, sources, manifests };
}

interface Manifest {
  readonly name: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly packageManager?: string;
}

const matches = (text: string, pattern: RegExp): ReadonlySet<string> =>
  new Set([...text.matchAll(pattern)].map(([, name = ""]) => name));

/** The part of the metric reference with our own metrics. */
function exportedMetrics(page: string): string {
  return /^## Exported$([\s\S]*?)^## /m.exec(page)?.[1] ?? "";
}

/**
 * Collects the names that pages may use.
 *
 * @param root - the repository's root.
 * @param tree - its files.
 * @param pages - its Markdown, read.
 * @returns the names.
 */
export function knownNames(root: string, tree: Tree, pages: readonly Page[]): KnownNames {
  const generated = (name: string): string => readFileSync(join(root, "docs/generated", name), "utf8");
  const settings = generated("settings.md");
  const openapi = JSON.parse(generated("openapi.json")) as { paths: object };
  const manifests = tree.manifests.map(({ text }) => JSON.parse(text) as Manifest);
  const main = manifests.find(({ name }) => name === "kvsync");
  const scripts = manifests.map(
    (manifest) =>
      [manifest === main ? "" : manifest.name, new Set(Object.keys(manifest.scripts ?? {}))] as const,
  );
  const sources = tree.sources.map(({ text }) => text).join("\n");
  const settingPaths = matches(settings, /`([a-z_]+\.[a-z_.]+)`/g);
  return {
    paths: tree.paths,
    anchors: new Map(pages.map(({ file, anchors }) => [file, anchors])),
    metrics: matches(exportedMetrics(generated("metrics.md")), /^### ([a-z0-9_]+)$/gm),
    settings: settingPaths,
    spans: matches(generated("spans.md"), /`([a-z]+(?:\.[a-z_]+)+)`/g),
    variables: matches(`${settings}\n${sources}`, /\b((?:KVSYNC|AIBRIX)_[A-Z][A-Z0-9_]*[A-Z0-9])\b/g),
    routes: new Set(Object.keys(openapi.paths).map((path) => path.replaceAll(/\{[^}]*\}/g, "{}"))),
    flags: new Set([
      "--help",
      "--version",
      ...matches(sources, /["'`\s,](--[a-z][a-z-]+)\b/g),
      ...[...matches(sources, /\b([a-z][a-z-]*)"?: \{ type: "(?:string|boolean)"/g)].map(
        (name) => `--${name}`,
      ),
      ...[...settingPaths].map((path) => `--${path.replaceAll(/[._]/g, "-")}`),
    ]),
    scripts: new Map(scripts),
    pnpm: `npx ${main?.packageManager ?? "pnpm"}`,
  };
}
