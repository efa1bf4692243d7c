/** The page about shards: its settings are taken, and its worked examples follow from the figures that it names. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { readSettings } from "../src/settings/read-settings.ts";

const text = readFileSync(new URL("../../../docs/operations/scale.md", import.meta.url), "utf8");

/** Cells of a row of the worked examples. */
function row(name: string): readonly string[] {
  const line = text.split("\n").find((one) => one.startsWith(`| ${name} |`)) ?? "";
  return line
    .split("|")
    .slice(2, -1)
    .map((cell) => cell.trim());
}

test("its settings are those of a shard", () => {
  const [, block = ""] = /^```yaml settings\n([\s\S]*?)^```/m.exec(text) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "kvsync-scale-page-"));
  const path = join(folder, "kvsync.yaml");
  writeFileSync(path, block);
  const { settings } = readSettings(["--config", path], {});
  rmSync(folder, { recursive: true });
  expect(settings.shard).toEqual({ index: "ordinal", count: 8 });
  expect(settings.index.seed_file).not.toBeNull();
});

test("what a picker carries follows from the measured costs that it names", () => {
  const benchmarks = readFileSync(new URL("../../../docs/benchmarks.md", import.meta.url), "utf8");
  const carried = (work: string): number =>
    Number((row(work)[1] ?? "").replaceAll(",", "").match(/\d+/)?.[0] ?? Number.NaN);
  const costs: readonly (readonly [work: string, milliseconds: readonly number[], perRequest: number])[] = [
    ["picks of 2,048 tokens over 1,000 endpoints, no other shard", [0.97], 1],
    ["picks over 10,000 endpoints and 9 other shards, one row of each", [0.35, 0.79, 0.85], 1],
    ["the same with 1,000 rows of each shard", [0.35, 22.6, 3.2], 1],
    ["looks at engines' metrics, of each pod", [0.22], 1],
    ["shared decisions, three messages for each request of all pickers", [0.041], 3],
  ];
  for (const [work, milliseconds, perRequest] of costs) {
    const each = milliseconds.reduce((sum, cost) => sum + cost, 0) * perRequest;
    expect(carried(work) / (600 / each), work).toBeCloseTo(1, 1);
  }
  for (const figure of ["0.97 ms (", "0.35 ms (", "| 0.79 ms |", "| 0.85 ms |", "| 22.6 ms |", "| 3.20 ms |"])
    expect(benchmarks).toContain(figure);
});

test("its examples follow from the measured figures that it names", () => {
  for (const figure of ["28 µs for a message", "0.25 ms for a lookup", "2,400 lookups per second"])
    expect(text.replaceAll("\n", " ")).toContain(figure);
  const fleets = [100, 1000, 10_000].map((engines) => {
    const shards = Math.max(1, Math.floor(engines / 1000));
    const perSecond = 2 * engines;
    const replicas = Math.max(2, Math.ceil(perSecond / 2400));
    const own = engines / shards;
    const pod = 165 + (2 * own * 20_000 * 28) / 1e6 + 512 + 64;
    return {
      shards,
      replicas,
      pods: shards * replicas,
      memory: (pod * shards * replicas) / 1000,
      ingest: own * 20 * 28e-6 * shards * replicas,
      lookups: perSecond * 0.25e-3 * shards,
    };
  });
  const column = (key: keyof (typeof fleets)[number]): readonly number[] => fleets.map((fleet) => fleet[key]);
  const numbers = (name: string): readonly number[] => row(name).slice(0, 3).map(Number.parseFloat);
  expect(numbers("shards")).toEqual(column("shards"));
  expect(numbers("replicas of each shard")).toEqual(column("replicas"));
  expect(numbers("pods")).toEqual(column("pods"));
  for (const [name, key] of [
    ["memory in all", "memory"],
    ["cores for ingest", "ingest"],
    ["cores for lookups", "lookups"],
  ] as const)
    for (const [i, value] of column(key).entries())
      expect((numbers(name)[i] ?? 0) / value).toBeCloseTo(1, 0.9);
});
