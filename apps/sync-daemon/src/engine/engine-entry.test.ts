import { expect, test } from "vitest";

import { engineEntry, endpointOfRank } from "./engine-entry.ts";

const MINIMAL = { id: "engine-0", model: "m", endpoint: "tcp://127.0.0.1:5557" };

function refusalOf(entry: unknown): { path: string; message: string } {
  const result = engineEntry.safeParse(entry);
  if (result.success) throw new Error("the entry was taken");
  const issue = result.error.issues[0];
  return { path: (issue?.path ?? []).join("."), message: issue?.message ?? "" };
}

test("an entry with least fields is one rank without replay", () => {
  expect(engineEntry.parse(MINIMAL)).toEqual({
    bind: false,
    curveServerKey: null,
    id: "engine-0",
    model: "m",
    aliases: [],
    adapters: [],
    topic: "",
    reportMode: "auto",
    type: null,
    dropsLastBlock: null,
    sharedSocket: false,
    http: [],
    ranks: [{ dpRank: 0, endpoint: "tcp://127.0.0.1:5557", replayEndpoint: null }],
  });
});

test("each DP rank has its ports counted up from the base ports", () => {
  const { ranks } = engineEntry.parse({ ...MINIMAL, replay_endpoint: "tcp://127.0.0.1:5657", dp_size: 3 });
  expect(ranks).toEqual([
    { dpRank: 0, endpoint: "tcp://127.0.0.1:5557", replayEndpoint: "tcp://127.0.0.1:5657" },
    { dpRank: 1, endpoint: "tcp://127.0.0.1:5558", replayEndpoint: "tcp://127.0.0.1:5658" },
    { dpRank: 2, endpoint: "tcp://127.0.0.1:5559", replayEndpoint: "tcp://127.0.0.1:5659" },
  ]);
});

test("a node that hosts ranks 8 to 15 names them so, at the ports of the global ranks", () => {
  const { ranks } = engineEntry.parse({
    ...MINIMAL,
    replay_endpoint: "tcp://127.0.0.1:5657",
    first_rank: 8,
    dp_size: 8,
  });
  expect(ranks).toHaveLength(8);
  expect(ranks[0]).toEqual({
    dpRank: 8,
    endpoint: "tcp://127.0.0.1:5565",
    replayEndpoint: "tcp://127.0.0.1:5665",
  });
  expect(ranks[7]).toMatchObject({ dpRank: 15, endpoint: "tcp://127.0.0.1:5572" });
});

test("explicit endpoints of a later node are its ranks in order", () => {
  const endpoints = ["tcp://h:1", "ipc:///run/kv-9"];
  const { ranks } = engineEntry.parse({ id: "a", model: "m", endpoints, first_rank: 8 });
  expect(ranks.map(({ dpRank, endpoint }) => [dpRank, endpoint])).toEqual([
    [8, "tcp://h:1"],
    [9, "ipc:///run/kv-9"],
  ]);
});

test("ranks that share a socket are told apart by their number alone", () => {
  const shared = {
    ...MINIMAL,
    replay_endpoint: "tcp://127.0.0.1:5657",
    first_rank: 4,
    dp_size: 2,
    shared_socket: true,
  };
  const [endpoint, replayEndpoint] = ["tcp://127.0.0.1:5557", "tcp://127.0.0.1:5657"];
  expect(engineEntry.parse(shared)).toMatchObject({
    sharedSocket: true,
    ranks: [
      { dpRank: 4, endpoint, replayEndpoint },
      { dpRank: 5, endpoint, replayEndpoint },
    ],
  });
});

test("an engine has up to 1,024 ranks", () => {
  const { ranks } = engineEntry.parse({ ...MINIMAL, dp_size: 1024 });
  expect(ranks.at(-1)).toMatchObject({ dpRank: 1023, endpoint: "tcp://127.0.0.1:6580" });
});

test("explicit endpoints give the DP size, and mean the same as counted ones", () => {
  const counted = engineEntry.parse({ ...MINIMAL, dp_size: 2 });
  const endpoints = ["tcp://127.0.0.1:5557", "tcp://127.0.0.1:5558"];
  expect(engineEntry.parse({ id: "engine-0", model: "m", endpoints })).toEqual(counted);
});

test("base ports closer together than the DP size are refused, since ranks would read each other's sockets", () => {
  const refusal = refusalOf({ ...MINIMAL, replay_endpoint: "tcp://127.0.0.1:5558", dp_size: 2 });
  expect(refusal.path).toBe("endpoint");
  expect(refusal.message).toContain("tcp://127.0.0.1:5558 is used twice");
});

test.each([
  [{ ...MINIMAL, id: "engine 0" }, "id"],
  [{ ...MINIMAL, model: "" }, "model"],
  [{ ...MINIMAL, endpoint: "tcp://0.0.0.0" }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://*:5557" }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://h:0" }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://::1:5557" }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://2001:db8::7:5557" }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://[::1]" }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://[::1:5557" }, "endpoint"],
  [{ ...MINIMAL, id: "a".repeat(513) }, "id"],
  [{ ...MINIMAL, endpoint: "udp://h:1" }, "endpoint"],
  [{ ...MINIMAL, dp_size: 0 }, "dp_size"],
  [{ ...MINIMAL, dp_size: 1025 }, "dp_size"],
  [{ ...MINIMAL, first_rank: -1 }, "first_rank"],
  [{ ...MINIMAL, first_rank: 1.5 }, "first_rank"],
  [{ ...MINIMAL, first_rank: 1020, dp_size: 5 }, "first_rank"],
  [{ ...MINIMAL, endpoint: "tcp://h:65530", first_rank: 6 }, "first_rank"],
  [{ ...MINIMAL, endpoint: "ipc:///run/kv", first_rank: 1 }, "endpoint"],
  [{ ...MINIMAL, endpoint: "tcp://h:65535", dp_size: 2 }, "dp_size"],
  [{ ...MINIMAL, endpoint: "ipc:///run/kv", dp_size: 2 }, "endpoint"],
  [{ ...MINIMAL, endpoints: ["tcp://h:1"] }, "endpoint"],
  [{ id: "a", model: "m" }, "endpoint"],
  [{ id: "a", model: "m", endpoints: ["tcp://h:1", "tcp://h:2"], dp_size: 3 }, "endpoints"],
  [{ ...MINIMAL, replay_endpoint: "tcp://h:1", replay_endpoints: ["tcp://h:1"] }, "replay_endpoint"],
  [{ ...MINIMAL, report_mode: "diff" }, "report_mode"],
  [{ id: "a", model: "m", endpoints: ["tcp://h:1", "tcp://h:2"], shared_socket: true }, "shared_socket"],
  [{ ...MINIMAL, replay_endpoint: MINIMAL.endpoint, dp_size: 2, shared_socket: true }, "endpoint"],
  [{ ...MINIMAL, type: "Triton" }, "type"],
  [{ ...MINIMAL, aliases: "m2" }, "aliases"],
  [{ ...MINIMAL, aliases: ["m2", ""] }, "aliases.1"],
  [{ ...MINIMAL, aliases: Array.from({ length: 17 }, (_, i) => `m${i}`) }, "aliases"],
  [{ ...MINIMAL, adapters: [7] }, "adapters.0"],
  [{ ...MINIMAL, drops_last_block: "yes" }, "drops_last_block"],
  [{ ...MINIMAL, http: "10.0.0.7:8000" }, "http"],
  [{ ...MINIMAL, http: ["engine-0:8000"] }, "http.0"],
  [{ ...MINIMAL, http: ["10.0.0.7"] }, "http.0"],
  [{ ...MINIMAL, http: ["10.0.0.7:0"] }, "http.0"],
  [{ ...MINIMAL, http: ["10.0.0.7:65536"] }, "http.0"],
  [{ ...MINIMAL, http: ["10.0.0.256:8000"] }, "http.0"],
  [{ ...MINIMAL, http: ["2001:db8::7:8000"] }, "http.0"],
  [{ ...MINIMAL, http: ["http://10.0.0.7:8000"] }, "http.0"],
  [{ ...MINIMAL, http: ["10.0.0.7:8000", "10.0.0.7:8001"] }, "http"],
  [{ ...MINIMAL, dp_size: 3, http: ["10.0.0.7:8000", "10.0.0.7:8001"] }, "http"],
  [{ ...MINIMAL, dp_size: 2, http: ["10.0.0.7:8000", "10.0.0.7:8000"] }, "http"],
  ["engine-0", ""],
])("%j is refused at %s", (entry, path) => {
  expect(refusalOf(entry).path).toBe(path);
});

test.each([
  [{ ...MINIMAL, endpoint: "tcp://[2001:db8::7]:5557" }],
  [{ ...MINIMAL, endpoint: "tcp://[fe80::1%eth0]:5557" }],
  [{ ...MINIMAL, endpoint: "tcp://10.0.0.1:0;10.0.0.7:5557" }],
  [{ ...MINIMAL, id: `${"n".repeat(63)}/${"p".repeat(253)}/dp1023` }],
])("%j is taken as it stands", (entry) => {
  const engine = engineEntry.parse(entry);
  expect(engine.id).toBe(entry.id);
  expect(engine.ranks[0]?.endpoint).toBe(entry.endpoint);
});

test("HTTP addresses are written in one way: as gateways do", () => {
  const http = ["[2001:DB8:0::7]:08000", "10.0.0.7:8001"];
  expect(engineEntry.parse({ ...MINIMAL, dp_size: 2, http }).http).toEqual([
    "[2001:db8::7]:8000",
    "10.0.0.7:8001",
  ]);
});

test("only tcp ports are counted up", () => {
  expect(endpointOfRank("tcp://[::1]:5557", 2)).toBe("tcp://[::1]:5559");
  expect(endpointOfRank("ipc:///run/kv", 2)).toBe("ipc:///run/kv");
});

test.each([
  ["tcp://0.0.0.0:5557", true],
  ["tcp://[::]:5557", true],
  ["tcp://10.0.0.1:5557", true],
  ["tcp://engine:5557", false],
  ["ipc:///tmp/events", false],
])("the daemon can listen for an engine at %s: %s", (endpoint, isUsable) => {
  const entry = { id: "a", model: "m", endpoint, bind: true };
  expect(engineEntry.safeParse(entry).success).toBe(isUsable);
  expect(engineEntry.safeParse({ ...entry, shared_socket: true }).success).toBe(false);
});
