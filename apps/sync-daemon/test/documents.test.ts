/**
 * What is written by hand names what exists: links lead to files, metrics are in the catalogue, settings in the schema. And what exists
 * is to be found: decisions in their index, operators' pages from the README. What a page's commands do is shown by pages.e2e.test.ts.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { CATALOGUE } from "@kvsync/observability";
import { expect, test } from "vitest";

import { SETTING_ROWS } from "../src/settings/settings.ts";
import type { FinishedSpan } from "../src/telemetry/finished-span.ts";
import type { SpanName } from "../src/telemetry/tracing.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const IGNORED = new Set(["node_modules", "dist", "test-results", ".git", ".turbo"]);

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (IGNORED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return markdownFiles(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

const FILES = markdownFiles(ROOT).map((path) => ({
  name: relative(ROOT, path),
  path,
  text: readFileSync(path, "utf8"),
}));

test("every link between documents leads to a file", () => {
  const dead = FILES.flatMap(({ name, path, text }) =>
    [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target = ""]) => target)
      .filter((target) => !existsSync(join(dirname(path), target)))
      .map((target) => `${name}: ${target}`),
  );
  expect(dead).toEqual([]);
});

test("the README leads to every operator's page", () => {
  const readme = FILES.find(({ name }) => name === "README.md")?.text ?? "";
  const pages = FILES.map(({ name }) => name).filter((name) => /^docs\/operations\/[^/]+$/.test(name));
  expect(pages.filter((name) => !readme.includes(`](${name})`))).toEqual([]);
});

test("decisions are numbered without a hole, and the index lists each by its title", () => {
  const folder = "docs/decisions/";
  const decisions = FILES.filter(({ name }) => name.startsWith(folder) && !name.endsWith("README.md")).sort(
    (a, b) => (a.name < b.name ? -1 : 1),
  );
  const listed = decisions.map(({ name, text }, i) => {
    const [, number = "", title = ""] = /^# (\d+)\. (.+)\n/.exec(text) ?? [];
    expect([name.slice(folder.length, folder.length + 5), number], name).toEqual([
      `${String(i + 1).padStart(4, "0")}-`,
      String(i + 1),
    ]);
    return `${number}. [${title}](${name.slice(folder.length)})`;
  });
  const index = FILES.find(({ name }) => name === `${folder}README.md`)?.text ?? "";
  expect(index.split("\n").filter((line) => /^\d/.test(line))).toEqual(listed);
});

/** Names of spans look like settings. */
const SPANS: ReadonlySet<string> = new Set<SpanName | FinishedSpan["name"]>([
  "snapshot.write",
  "snapshot.find",
  "ingest.apply",
  "ingest.replay",
]);

/** Generated pages are checked where they are made. */
const BY_HAND = FILES.filter(({ name }) => !/^docs\/(generated|operations\/runbooks)\//.test(name));

test("every metric that a document names is in the catalogue", () => {
  const names = new Set<string>(CATALOGUE.map(({ name }) => name));
  const known = (text: string): boolean =>
    names.has(text) || names.has(text.replace(/_(bucket|count|sum)$/, ""));
  const unknown = BY_HAND.flatMap(({ name, text }) =>
    [...text.matchAll(/\baibrix_(?:kv|sync|prefix)_[a-z0-9_]*[a-z0-9]\b/g)]
      .map(([metric]) => metric)
      .filter((metric) => !known(metric))
      .map((metric) => `${name}: ${metric}`),
  );
  expect([...new Set(unknown)]).toEqual([]);
});

test("every setting that an operator's page names in code is in the schema", () => {
  const sections = new Set(SETTING_ROWS.filter(({ path }) => path.length > 1).map(({ path }) => path[0]));
  const paths = new Set(SETTING_ROWS.map(({ path }) => path.join(".")));
  const variables = new Set(SETTING_ROWS.flatMap(({ environment }) => environment));
  const unknown = BY_HAND.filter(({ name }) => name.startsWith("docs/operations/")).flatMap(
    ({ name, text }) => [
      ...[...text.matchAll(/`([a-z_]+)\.([a-z_]+)`/g)]
        .filter(([, section = "", key = ""]) => sections.has(section) && !paths.has(`${section}.${key}`))
        .filter(([, section = "", key = ""]) => !SPANS.has(`${section}.${key}`))
        .map(([code]) => `${name}: ${code}`),
      ...[...text.matchAll(/\b(?:KVSYNC|AIBRIX)_[A-Z][A-Z0-9_]*[A-Z0-9]\b/g)]
        .filter(([variable]) => !variables.has(variable) && !/_SERVICE_HOST$|^KVSYNC_PORT$/.test(variable))
        .map(([variable]) => `${name}: ${variable}`),
    ],
  );
  expect(unknown).toEqual([]);
});
