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
  [
    "K8",
    { ingest: { workers: 2 }, limits: { index_bytes: 2 * 3 * 1024 ** 3 + 1 } },
    "limits.index_bytes: 6442450945",
  ],
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
  [
    "K4",
    { shard: { index: 8, count: 8 } },
    "shard.index: 8 is not usable; expected an index below shard.count, which is 8",
  ],
  [
    "K4",
    { shard: { index: 1 } },
    "shard.index: 1 is not usable; expected an index below shard.count, which is 1",
  ],
  [
    "K5",
    { index: { prefix_hashes: "public", seed_file: "/seed" } },
    'index.seed_file: "/seed" is not usable',
  ],
  [
    "K6",
    { shard: { count: 2 }, snapshot: { warm_from: ["http://a:7070", "http://b:7070"] } },
    "index.seed_file: is missing; expected a file that all shards have",
  ],
  [
    "K7",
    { shard: { index: "ordinal", count: 2 }, picker: { enabled: true, port: 0, health_port: 0 } },
    "picker.shards.addresses: is missing; expected the addresses of all shards by index, as many as shard.count, which is 2",
  ],
  [
    "K7",
    { picker: { enabled: true, port: 0, shards: { addresses: ["http://a:1", "http://b:1"] } } },
    "expected none where shard.count is 1, or shard.count as the number of shards",
  ],
  [
    "K7",
    { shard: { count: 2 }, picker: { shards: { addresses: ["http://a:1", ["http://b:1", "http://A:1/"]] } } },
    "expected each address once, of one shard only",
  ],
  [
    "K7",
    { picker: { decision_timeout_ms: 40, shards: { addresses: ["http://a:1"] } } },
    "picker.shards.timeout_ms: is missing; expected at most picker.decision_timeout_ms, which is 40",
  ],
])("%s: settings that exclude each other are refused: %j", (_number, settings, expected) => {
  expect(linesOf(settings).join("\n")).toContain(expected);
});

test.each([
  { shard: { index: "first", count: 8 } },
  { shard: { index: -1, count: 8 } },
  { shard: { index: 0, count: 0 } },
  { shard: { index: 0, count: 1025 } },
])("a shard that cannot be is refused with what was expected: %j", (settings) => {
  expect(linesOf(settings).join("\n")).toMatch(
    /shard\.(index|count): \S+ is not usable; expected an integer from/,
  );
});

test.each([
  [{ ingest: { workers: 0 } }, /ingest\.workers/],
  [{ shard: { count: 0 } }, /shard\.count/],
  [{ ingest: { reconnect_ms_min: 99_999_999 } }, /reconnect_ms_min/],
  [{ picker: { decision_timeout_ms: 1, shards: { addresses: ["http://a:1"] } } }, /decision_timeout_ms/],
])(
  "a setting that is refused by itself is refused once, and nothing that depends on it: %j",
  (settings, named) => {
    expect(linesOf(settings)).toEqual([expect.stringMatching(named)]);
  },
);

test.each([
  ...["EXAMPLE.com:80", "[", "[[::1]]"].map((name) => ({ http: { host_names: [name] } })),
  ...["grafana_url", "traces_url", "runbooks_url", "errors_url"].map((name) => ({
    dashboard: { [name]: "https://user:hunter2@a/b" },
  })),
])("a name with a port and a link with credentials are refused, without the password: %j", (settings) => {
  const lines = linesOf(settings);
  expect(lines).toEqual([
    expect.stringMatching(/without (ports|query or fragment, and without credentials)/),
  ]);
  expect(lines.join()).not.toContain("hunter2");
});

test("names and IPv6 addresses of a Host header can be listed", () => {
  expect(linesOf({ http: { host_names: ["kvsync.example", "[::1]", "10.0.0.1"] } })).toEqual([]);
});

test("a password in the address of a shard is in no line", () => {
  const addresses = ["http://user:hunter2@a:1", "http://user:hunter2@a:1"];
  const lines = linesOf({ shard: { count: 2 }, picker: { shards: { addresses } } });
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.join("\n")).not.toContain("hunter2");
});

test("shards whose seeds are one take each other's snapshots, and an ordinal excludes nothing", () => {
  const from = { warm_from: ["http://a:7070"] };
  const shard = { index: "ordinal", count: 8 };
  expect(linesOf({ shard, snapshot: from, index: { seed_file: "/seed" } })).toEqual([]);
  expect(linesOf({ shard, snapshot: from, index: { prefix_hashes: "public" } })).toEqual([]);
  expect(linesOf({ shard })).toEqual([]);
});

test("one daemon to take a snapshot from may be named without a list, by a variable too", () => {
  const file = join(folder, "kvsync.yaml");
  writeFileSync(file, JSON.stringify({ snapshot: { warm_from: "http://a:7070" } }));
  const givers = (environment: Record<string, string>): readonly string[] | undefined =>
    readUsable(["--config", file], environment).reading?.settings.snapshot.warm_from;
  expect(givers({})).toEqual(["http://a:7070"]);
  expect(givers({ KVSYNC_SNAPSHOT_WARM_FROM: "http://b:1, http://c:2" })).toEqual([
    "http://b:1",
    "http://c:2",
  ]);
});

test("ports of a picker that is off, and free ports, exclude nothing", () => {
  const off = { http: { port: 9002 }, picker: { enabled: false } };
  expect(linesOf(off)).toEqual([]);
  const free = { http: { port: 0 }, picker: { enabled: true, port: 0, health_port: 0 } };
  expect(linesOf(free)).toEqual([]);
});
