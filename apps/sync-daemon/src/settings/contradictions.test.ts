import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { readUsable } from "./read-settings.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-contradictions-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** What is wrong with settings of a file. */
function linesOf(settings: object): string[] {
  const file = join(folder, "kvsync.yaml");
  writeFileSync(file, JSON.stringify(settings));
  return readUsable(["--config", file], {}).faults.map(({ line }) => line);
}

test.each([
  ["K1", { ingest: { reconnect_ms_min: 500, reconnect_ms_max: 100 } }, "ingest.reconnect_ms_max: 100"],
  [
    "K1",
    { discovery: { kubernetes: { retry_seconds_min: 50, retry_seconds_max: 1 } } },
    "discovery.kubernetes.retry_seconds_max: 1 is not usable; expected at least discovery.kubernetes.retry_seconds_min, which is 50",
  ],
  [
    "K2",
    { http: { port: 7070 }, picker: { enabled: true, port: 7070 } },
    "picker.port: 7070 is not usable; expected a port of its own; http.port has the same",
  ],
  [
    "K2",
    { picker: { enabled: true, host: "127.0.0.1", port: 9003 } },
    "picker.health_port: is missing; expected a port of its own; picker.port has the same",
  ],
  [
    "K3",
    { discovery: { kubernetes: { namespaces: ["a"], namespace_selector: "b=c" } } },
    "discovery.kubernetes.namespaces or this one, not both",
  ],
])("%s: settings that exclude each other are refused: %j", (_number, settings, expected) => {
  expect(linesOf(settings).join("\n")).toContain(expected);
});

test("ports of a picker that is off, and free ports, exclude nothing", () => {
  const off = { http: { port: 9002 }, picker: { enabled: false } };
  expect(linesOf(off)).toEqual([]);
  const free = { http: { port: 0 }, picker: { enabled: true, port: 0, health_port: 0 } };
  expect(linesOf(free)).toEqual([]);
});
