/** A page's names of metrics follow the namespace, and no other word does. W is of page-names.ts. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, sep } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { NAMESPACE } from "../kvsync/namespace.ts";
import { KVSYNC } from "../kvsync/project.ts";
import { renamedPages, withNamespace } from "./page-names.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..", "..");
const NAMES = new Set(["kv_events_total", "kv_event_seconds", "kv_queue_depth", "sync_status"]);

test.each([
  ["`old_kv_events_total` counts", "`new_kv_events_total` counts"],
  ["rate(old_kv_event_seconds_bucket[5m])", "rate(new_kv_event_seconds_bucket[5m])"],
  ["instance:old_kv_queue_depth:max", "instance:new_kv_queue_depth:max"],
  ["grep '^old_kv_queue_' and old_kv_queue_(depth|x)", "grep '^new_kv_queue_' and new_kv_queue_(depth|x)"],
  ["my_old_kv_events_total", "new_kv_events_total"],
  ["old_sync_status 1", "new_sync_status 1"],
])("%s becomes %s", (before, after) => {
  expect(withNamespace(before, "new", NAMES)).toBe(after);
});

test.each([
  "new_kv_events_total and new_kv_event_seconds_sum",
  "kv_events_total",
  "old_kv_",
  "old_kv_gone_total",
  "sync.old_kv_events_total",
  "src/old_kv_events_total",
  "OLD_KV_EVENTS_TOTAL",
  "self_describing_kv_event",
])("%s stays (W1, W2)", (text) => {
  expect(withNamespace(text, "new", NAMES)).toBe(text);
});

test("every page of this repository has the namespace of the metrics; generate gives it to those that have not", () => {
  expect([...renamedPages(ROOT, KVSYNC).keys()]).toEqual([]);
});

test("no source names a metric with the namespace: it follows namespace.ts", () => {
  const written = new RegExp(String.raw`\b${NAMESPACE}_(?:kv|sync|prefix)_[a-z]`);
  const sources = ["apps", "packages", "examples/src", "scripts"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter(
        (name) =>
          /\.m?ts$|\.mjs$/.test(name) && !/(?:^|\/)(?:node_modules|dist)\//.test(name.replaceAll(sep, "/")),
      )
      .map((name) => `${folder}/${name}`),
  );
  expect(sources.length).toBeGreaterThan(500);
  expect(sources.filter((path) => written.test(readFileSync(join(ROOT, path), "utf8")))).toEqual([]);
});

test("pages in folders are read, generated ones are not", () => {
  const root = mkdtempSync(join(tmpdir(), "kvsync-pages-"));
  onTestFinished(() => {
    rmSync(root, { recursive: true });
  });
  const [family] = KVSYNC.families;
  const old = `old_${family?.name.slice((KVSYNC.pages?.namespace.length ?? 0) + 1) ?? ""}\n`;
  for (const path of ["README.md", "docs/operations/health.md", "docs/generated/metrics.md"]) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), old);
  }
  const renamed = renamedPages(root, KVSYNC);
  expect([...renamed.keys()]).toEqual(["README.md", "docs/operations/health.md"]);
  expect(renamed.get("README.md")).toBe(`${family?.name ?? ""}\n`);
  expect(readFileSync(join(root, "README.md"), "utf8")).toBe(old);
});
