/**
 * The committed files are the rendered ones, and rendering is repeatable.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { staleFiles, writeTree } from "./generated-tree.ts";
import { KVSYNC } from "./kvsync/project.ts";
import { render } from "./render.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const FILES = render(KVSYNC);

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-render-"));
  folders.push(folder);
  return folder;
}

test("no committed file is stale (npx pnpm@12.21.0 turbo build)", () => {
  expect(staleFiles(ROOT, KVSYNC, FILES)).toEqual([]);
});

test("rendering twice gives the same bytes", () => {
  expect([...render(KVSYNC)]).toEqual([...FILES]);
});

test("missing, different and leftover files are each named, and writing puts them right", () => {
  const folder = emptyFolder();
  expect(writeTree(folder, KVSYNC, FILES)).toHaveLength(FILES.size);
  expect(staleFiles(folder, KVSYNC, FILES)).toEqual([]);
  const [rules, left, gone] = [
    "infra/prometheus/kvsync.rules.yaml",
    "infra/prometheus/old.yaml",
    "docs/generated/alerts.md",
  ];
  writeFileSync(join(folder, rules), "groups: []\n");
  writeFileSync(join(folder, left), "");
  rmSync(join(folder, gone));
  const stale = [
    { path: rules, state: "different" },
    { path: gone, state: "missing" },
    { path: left, state: "no longer rendered" },
  ];
  expect(staleFiles(folder, KVSYNC, FILES)).toEqual(stale);
  expect(writeTree(folder, KVSYNC, FILES)).toEqual(stale);
  expect(staleFiles(folder, KVSYNC, FILES)).toEqual([]);
  expect(readFileSync(join(folder, rules), "utf8")).toBe(FILES.get(rules));
});

test("files of others beside the generated ones are left alone", () => {
  const folder = emptyFolder();
  mkdirSync(join(folder, "docs"), { recursive: true });
  writeFileSync(join(folder, "docs", "style.md"), "mine");
  writeTree(folder, KVSYNC, FILES);
  expect(readFileSync(join(folder, "docs", "style.md"), "utf8")).toBe("mine");
});

test("links in alerts follow the bases that are given", () => {
  const rules = render({
    ...KVSYNC,
    links: { runbooks: "https://wiki.test/kv", grafana: "https://g.test" },
  }).get("infra/prometheus/kvsync.rules.yaml");
  expect(rules).toContain("runbook_url: https://wiki.test/kv/worker-down.md");
  expect(rules).toContain("dashboard_url: https://g.test/d/kvsync-ingest?viewPanel=5");
});
