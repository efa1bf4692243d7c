/**
 * The `kvsync` tools against real engines, a real daemon and the built program. The tests cover
 * their output, the data that they never print, and their errors.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { KvEvent } from "@kvsync/core";
import { freePort } from "@kvsync/engine-sim";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Cluster } from "./cluster.ts";
import { CHILD_ENVIRONMENT, DaemonProcess } from "./daemon-process.ts";
import { caughtUp, dumped, TestEngine, until } from "./fleet.ts";

const MAIN = fileURLToPath(new URL("../dist/tools/main.js", import.meta.url));

interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the built program; `during` is called when it has written to standard error for the first time. */
function kvsync(args: readonly string[], during?: (kill: () => void) => Promise<void>): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: CHILD_ENVIRONMENT });
    let out = "";
    let err = "";
    let done = Promise.resolve();
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => {
      const isFirst = err === "";
      err += chunk.toString();
      if (isFirst && during !== undefined)
        done = during(() => {
          child.kill("SIGINT");
        });
    });
    child.on("close", (code) => {
      done.then(() => {
        resolve({ code, out, err });
      }, reject);
    });
  });
}

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

let engine: TestEngine;
let daemon: DaemonProcess;

beforeAll(async () => {
  engine = await TestEngine.start({ id: "engine-0", dialect: "vllm-0.29", loraNames: ["sql"] }, 7);
  daemon = await DaemonProcess.start({ engines: [engine.entry] });
  await engine.serve(20);
  await caughtUp(daemon, [engine]);
});

afterAll(async () => {
  await daemon.end();
  await engine.stop();
});

describe("kvsync inspect", () => {
  test("shows each message with its number and events, and a summary when the count is reached", async () => {
    const { code, out } = await kvsync(["inspect", engine.server.endpoint, "--count", "5"], () =>
      engine.serve(10),
    );
    expect(code).toBe(0);
    const lines = out.split("\n");
    expect(
      lines.filter((line) => /#\d+ .*\d+ B {2}.*Block(Stored|Removed) \d+ block/.test(line)),
    ).toHaveLength(5);
    expect(out).toMatch(/messages +5 \([\d.]+\/s\), sequence numbers \d+ to \d+/);
    expect(out).toMatch(/spelled as +map; topics/);
    expect(out).toMatch(/block sizes +16; media GPU/);
    expect(out).not.toMatch(/\u001b/);
  });

  test("with --json is one object a message and a summary, in which lost messages are a gap", async () => {
    const { code, out } = await kvsync(
      ["inspect", engine.server.endpoint, "--count", "20", "--json"],
      async () => {
        await engine.server.applyFault({ kind: "drop", percent: 50 }, 0);
        await until("enough was published", async () => {
          await engine.serve(5);
          return engine.engine.lastSequenceNumber > 400;
        });
        await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
        await engine.serve(20);
      },
    );
    expect(code).toBe(0);
    const objects = jsonLines(out);
    expect(objects).toHaveLength(21);
    const missed = objects.slice(0, 20).reduce((sum, { missed }) => sum + Number(missed), 0);
    expect(missed).toBeGreaterThan(0);
    expect(objects[20]).toMatchObject({ summary: { messages: 20, missed_messages: missed, forms: ["map"] } });
    const numbers = objects.slice(0, 20).map(({ sequence_number }) => Number(sequence_number));
    expect(numbers).toEqual([...numbers].sort((one, other) => one - other));
  });

  test("never shows a token id or a salt, also not with --hashes", async () => {
    const { out } = await kvsync(
      ["inspect", engine.server.endpoint, "--count", "4", "--json", "--hashes"],
      () => engine.serve(10, { isFresh: true, cacheSalt: "tenant-secret" }),
    );
    expect(out).toMatch(/"hashes":\["[0-9a-f]{16}"/);
    expect(out).not.toContain("tenant-secret");
    expect(out).not.toMatch(/token_ids/);
  });

  test("says what is bad about a bad event and where, and goes on", async () => {
    const { code, out } = await kvsync(["inspect", engine.server.endpoint, "--count", "3"], async () => {
      await engine.server.applyFault({ kind: "poison", form: "unknown_event_type" }, 0);
      await engine.serve(10);
    });
    expect(code).toBe(0);
    expect(out).toMatch(/unknown_event_type: .*at byte \d+ of the payload/);
    expect(out).toMatch(/faults +\{"unknown_event_type":1\}/);
  });

  test("ends with its summary when interrupted", async () => {
    const { code, out } = await kvsync(["inspect", engine.server.endpoint], (kill) => {
      kill();
      return Promise.resolve();
    });
    expect(code).toBe(0);
    expect(out).toMatch(/messages +0 \(0\/s\), sequence numbers none/);
  });

  test("of a host that has no address says so, and ends with 1", async () => {
    const { code, out, err } = await kvsync([
      "inspect",
      "tcp://no-such-host.invalid:5557",
      "--seconds",
      "0.5",
    ]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/neither an IPv4 nor an IPv6 address/);
  });

  test("says why there is no connection, and ends with 1", async () => {
    const web = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const port = await listening(web);
    const wrongPort = await kvsync(["inspect", `tcp://127.0.0.1:${port}`]);
    web.close();
    expect(wrongPort).toMatchObject({ code: 1, out: "" });
    expect(wrongPort.err).toMatch(/does not speak ZeroMQ's publisher protocol/);
    const nobody = await kvsync(["inspect", `tcp://127.0.0.1:${port}`]);
    expect(nobody).toMatchObject({ code: 1, out: "" });
    expect(nobody.err).toMatch(
      /nothing listens there; is the engine up, and are KV events enabled\? \(refused\)/,
    );
  });
});

describe("kvsync replay-probe", () => {
  test("says from where to where the history reaches", async () => {
    const endpoint = engine.server.replayEndpoint ?? "";
    const { code, out } = await kvsync(["replay-probe", endpoint, "--json"]);
    expect(code).toBe(0);
    expect(jsonLines(out)[0]).toMatchObject({
      first_sequence_number: 0,
      last_sequence_number: engine.engine.lastSequenceNumber,
      messages: engine.engine.lastSequenceNumber + 1,
      holes: 0,
      has_end: true,
      failure: null,
    });
    const later = await kvsync(["replay-probe", endpoint, "--from", "1000000"]);
    expect(later).toMatchObject({ code: 0 });
    expect(later.out).toMatch(/nothing from 1000000 on; the engine answers and has no history there/);
  });

  test("asks again for what is lost on the way, and calls a hole only what the history does not have", async () => {
    const lossy = await TestEngine.start({ id: "engine-3" }, 11);
    try {
      await lossy.serve(40);
      await lossy.server.applyFault({ kind: "drop", percent: 0, replayPercent: 3 }, 0);
      const endpoint = lossy.server.replayEndpoint ?? "";
      const messages = lossy.engine.lastSequenceNumber + 1;
      const whole = await kvsync(["replay-probe", endpoint, "--json"]);
      expect(jsonLines(whole.out)[0]).toMatchObject({ messages, holes: 0, has_end: true });
      expect(Number(jsonLines(whole.out)[0]?.["asked_again"])).toBeGreaterThan(0);
      expect(whole.code).toBe(0);
      await lossy.server.applyFault({ kind: "burn_sequence_number" }, 0);
      await lossy.serve(4);
      const burnt = await kvsync(["replay-probe", endpoint, "--json"]);
      expect(jsonLines(burnt.out)[0]).toMatchObject({ messages: lossy.engine.lastSequenceNumber, holes: 1 });
      expect(burnt.code).toBe(1);
    } finally {
      await lossy.stop();
    }
  });

  test("of a port that does not answer says so, and ends with 1", async () => {
    const { code, err } = await kvsync(["replay-probe", engine.server.endpoint, "--idle", "0.3"]);
    expect(code).toBe(1);
    expect(err).toMatch(/no answer to a replay request .*is it the replay port/);
    const web = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const port = await listening(web);
    const wrong = await kvsync(["replay-probe", `tcp://127.0.0.1:${port}`, "--idle", "2"]);
    web.close();
    expect(wrong.err).toMatch(/\(violation\).*another program than a replay socket answers/);
  });
});

describe("kvsync dump", () => {
  test("adds up what the daemon's own dump holds, by worker and tier", async () => {
    const rows = await dumped(daemon, "test/model");
    const { code, out } = await kvsync(["dump", "--url", daemon.url, "--model", "test/model", "--json"]);
    expect(code).toBe(0);
    const { holdings } = jsonLines(out)[0] as {
      holdings: { worker: string; blocks: Record<string, number> }[];
    };
    expect(holdings.every(({ worker }) => worker === "engine-0")).toBe(true);
    const sum = holdings.reduce((total, { blocks }) => total + (blocks["device"] ?? 0), 0);
    expect(sum).toBe(rows.size);
    const table = await kvsync(["dump", "--url", daemon.url, "--model", "test/model"]);
    expect(table.out).toMatch(/^worker +rank +group +lora +block size +device +host +disk +remote\n/);
    const records = await kvsync([
      "dump",
      "--url",
      daemon.url,
      "--model",
      "test/model",
      "--records",
      "--json",
    ]);
    expect(jsonLines(records.out)).toHaveLength(rows.size);
  });

  test("names engine, rank and KV-cache group of every block of a hybrid engine", async () => {
    const model = "hybrid/model";
    const hybrid = await TestEngine.start({ id: "hybrid-0", model, blockSize: 4 }, 11);
    const hybridDaemon = await DaemonProcess.start({
      engines: [{ ...hybrid.entry, report_mode: "delta", drops_last_block: false }],
    });
    try {
      const stored = { type: "BlockStored", parentBlockHash: null, blockSize: 4 } as const;
      const blockHashes = [11n, 12n, 13n];
      const tokenIds = Array.from({ length: 12 }, (_, i) => 500 + i);
      const full = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
      const window = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 9 };
      const events: KvEvent[] = [
        { ...stored, ...full, blockHashes, tokenIds },
        { ...stored, ...window, blockHashes: [11n, 12n], tokenIds: tokenIds.slice(0, 8) },
      ];
      const batch = { timestampSeconds: Date.now() / 1000, events, dataParallelRank: 0 };
      hybrid.server.publish({ sequenceNumber: 0, batch });
      const dump = ["dump", "--url", hybridDaemon.url, "--model", model];
      await until("its blocks are known", async () => (await dumped(hybridDaemon, model)).size === 5);
      const { out } = await kvsync([...dump, "--json"]);
      const holder = { worker: "hybrid-0", dp_rank: 0, lora_name: null, block_size: 4 };
      const shape = { block_size: 4 };
      const onDevice = (device: number): object => ({ device, host: 0, disk: 0, remote: 0 });
      const main = { ...shape, index: 0, is_main: true, kind: "full_attention", window_tokens: null };
      const other = { ...shape, index: 1, is_main: false, kind: "sliding_window", window_tokens: 9 };
      expect(jsonLines(out)[0]?.["holdings"]).toEqual([
        { ...holder, group: main, blocks: onDevice(3) },
        { ...holder, group: other, blocks: onDevice(2) },
      ]);
      const records = jsonLines((await kvsync([...dump, "--records", "--json"])).out);
      const groups = records.map(({ worker, dp_rank, group }) => ({ worker, dp_rank, group }));
      const row = { worker: "hybrid-0", dp_rank: 0 };
      expect(groups.filter(({ group }) => (group as typeof main).index === 0)).toEqual(
        Array.from({ length: 3 }, () => ({ ...row, group: main })),
      );
      expect(groups.filter(({ group }) => (group as typeof main).index === 1)).toEqual(
        Array.from({ length: 2 }, () => ({ ...row, group: other })),
      );
      const { out: table } = await kvsync(dump);
      expect(table).toMatch(/^hybrid-0 +0 +1 sliding_window 9 +- +4 +2 +0 +0 +0$/m);
      const { out: lines } = await kvsync([...dump, "--records"]);
      expect(lines.match(/ hybrid-0 rank 0 group 1 sliding_window 9 device ×1$/gm)).toHaveLength(2);
    } finally {
      await hybridDaemon.end();
      await hybrid.stop();
    }
  });

  test("passes on what the daemon says is wrong", async () => {
    const unknown = await kvsync(["dump", "--url", daemon.url, "--model", "none"]);
    expect(unknown.code).toBe(1);
    expect(unknown.err).toMatch(/answered 404: .*none/);
    const nobody = await kvsync(["dump", "--url", `http://127.0.0.1:${await freePort()}`, "--model", "none"]);
    expect(nobody.code).toBe(1);
    expect(nobody.err).toMatch(/nothing listens there; is a daemon running there.*ECONNREFUSED/);
  });

  test.each(["<html>", "{}"])(
    "of a program that answers %j names the address, without a stack",
    async (text) => {
      const web = createHttpServer((_request, response) => response.end(text));
      const port = await listening(web);
      const url = `http://127.0.0.1:${port}`;
      const foreign = await kvsync(["dump", "--url", url, "--model", "none"]);
      web.close();
      expect(foreign).toMatchObject({ code: 1, out: "" });
      expect(foreign.err).toMatch(
        new RegExp(`^kvsync: ${url}: its answers are not those of a kvsync daemon; .*Check --url$`, "m"),
      );
    },
  );
});

describe("kvsync snapshot verify", () => {
  test("says what a daemon's snapshot holds, and refuses a damaged one by byte", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-tools-"));
    const file = join(folder, "kvsync.snapshot");
    const response = await daemon.fetch("/api/v1/snapshot");
    expect(response.status).toBe(200);
    const bytes = Buffer.from(await response.arrayBuffer());
    writeFileSync(file, bytes);
    const { code, out } = await kvsync(["snapshot", "verify", file, "--json"]);
    expect(code).toBe(0);
    const rows = await dumped(daemon, "test/model");
    expect(jsonLines(out)[0]).toMatchObject({ bytes: bytes.length, streams: [{ workerId: "engine-0" }] });
    expect(Number(jsonLines(out)[0]?.["rows"])).toBeGreaterThanOrEqual(rows.size);
    const text = await kvsync(["snapshot", "verify", file]);
    expect(text.out).toMatch(/: whole, [\d,]+ bytes\n {2}written by /);
    writeFileSync(file, bytes.subarray(0, bytes.length - 1));
    const damaged = await kvsync(["snapshot", "verify", file]);
    expect(damaged).toMatchObject({ code: 1, out: "" });
    expect(damaged.err).toMatch(/ends at byte \d+, in the middle/);
    rmSync(folder, { recursive: true });
  });
});

describe("kvsync doctor", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-doctor-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  /** The file that a daemon of these settings would be given. */
  function configOf(settings: object): string {
    const file = join(folder, `kvsync-${randomUUID()}.yaml`);
    writeFileSync(file, JSON.stringify(settings));
    return file;
  }

  test("of a sound fleet finds nothing wrong, and says what it saw", async () => {
    const first = await TestEngine.start({ id: "engine-2", dialect: "vllm-0.29" }, 10);
    const other = await TestEngine.start({ id: "engine-1", dialect: "vllm-0.21" }, 8, { httpPort: 0 });
    const sound = await DaemonProcess.start({ engines: [first.entry, other.entry] });
    try {
      const url = other.server.httpUrl ?? "";
      const file = configOf({ engines: [first.entry, other.entry], sync: { tokenizer_endpoint: url } });
      await first.serve(2);
      await other.serve(2);
      await caughtUp(sound, [first, other]);
      const args = ["doctor", "--url", sound.url, "--engine-http", `engine-1=${url}`, "--", "--config", file];
      const { code, out } = await kvsync(args);
      expect(out).toMatch(/^ok {4}settings {4}settings: usable; 2 engines are listed$/m);
      expect(out).toMatch(/^ok {4}events {6}engine-2 rank 0: tcp:.* publishes$/m);
      expect(out).toMatch(
        /^ok {4}replay {6}engine-1 rank 0: tcp:.* history from the engine's start, .*no holes$/m,
      );
      expect(out).toMatch(/^ok {4}stream {6}engine-2 rank 0: events as maps .*; block size 16$/m);
      expect(out).toMatch(/^ok {4}stream {6}engine-1 rank 0: events as arrays .*; block size 16$/m);
      expect(out).toMatch(/^ok {4}parity {6}engine-1: .* makes the same tokens as the tokenizer$/m);
      expect(out).toMatch(/^ok {4}daemon {6}http:.*: ready: in_sync$/m);
      expect(out).toMatch(/, 0 failed, /);
      expect(code).toBe(0);
    } finally {
      await sound.end();
      await first.stop();
      await other.stop();
    }
  });

  test("names an engine that a cluster wants followed in vain, and says that pods are looked at through a daemon", async () => {
    const cluster = await Cluster.start();
    cluster.add("odd", "127.0.0.1", { annotations: { "model.aibrix.ai/kv-events-port": "many" } });
    const settings = { discovery: { kubernetes: { enabled: true, kubeconfig: cluster.kubeconfig() } } };
    const found = await DaemonProcess.start(settings);
    try {
      const args = ["doctor", "--url", found.url, "--", "--config", configOf(settings)];
      const { code, out } = await until("the pod is known", async () => {
        const run = await kvsync(args);
        return run.out.includes("serving/odd") ? run : null;
      });
      expect(out).toMatch(
        /^ok {4}settings {4}settings: usable; 0 engines are listed; those found among pods/m,
      );
      expect(out).toMatch(
        /^fail {2}daemon {6}serving\/odd of kubernetes: malformed: pod serving\/odd: model\.aibrix\.ai\/kv-events-port: "many" is not usable/m,
      );
      expect(code).toBe(1);
    } finally {
      await found.end();
      await cluster.stop();
    }
  });

  test("names each thing that is wrong, with what to do, and ends with 1", async () => {
    const other = await TestEngine.start({ id: "engine-1", blockSize: 32 }, 9, { httpPort: 0 });
    const silent = await TestEngine.start({ id: "no-replay" }, 10, { replayPort: null });
    const swapped = await TestEngine.start({ id: "swapped" }, 11);
    const tokenizer = createHttpServer((request, response) => {
      request.resume();
      response.setHeader("content-type", "application/json");
      response.end('{"tokens":[1,2,3]}');
    });
    try {
      await other.serve(2);
      const nobody = `tcp://127.0.0.1:${await freePort()}`;
      const replay = engine.server.replayEndpoint ?? "";
      const file = configOf({
        engines: [
          { id: "no-replay", model: "test/model", endpoint: silent.server.endpoint },
          { id: "gone", model: "test/model", endpoint: nobody, replay_endpoint: replay },
          {
            id: "swapped",
            model: "test/model",
            endpoint: swapped.server.endpoint,
            replay_endpoint: other.server.endpoint,
          },
          engine.entry,
          other.entry,
        ],
        sync: { tokenizer_endpoint: `http://127.0.0.1:${await listening(tokenizer)}` },
      });
      const pair = `engine-1=${other.server.httpUrl ?? ""}`;
      const { code, out } = await kvsync([
        "doctor",
        "--idle",
        "0.5",
        "--engine-http",
        pair,
        "--json",
        "--",
        "--config",
        file,
      ]);
      const { findings } = jsonLines(out)[0] as { findings: Record<string, string>[] };
      const of = (check: string, subject: string): Record<string, string> | undefined =>
        findings.find((finding) => finding["check"] === check && finding["subject"] === subject);
      expect(of("replay", "no-replay rank 0")).toMatchObject({
        status: "warn",
        message: expect.stringMatching(/no replay endpoint/) as string,
      });
      expect(of("events", "gone rank 0")).toMatchObject({
        status: "fail",
        message: expect.stringMatching(/nothing listens there/) as string,
      });
      expect(of("replay", "swapped rank 0")).toMatchObject({
        status: "fail",
        message: expect.stringMatching(/is it the replay port/) as string,
      });
      expect(of("block_size", "test/model")).toMatchObject({
        status: "warn",
        message: expect.stringMatching(/16 \(\S+\), 32 \(engine-1\)/) as string,
      });
      expect(of("parity", "engine-1")).toMatchObject({
        status: "fail",
        message: expect.stringMatching(/differ in a text, first at token \d \(3 and \d+ tokens\)/) as string,
      });
      expect(code).toBe(1);
    } finally {
      tokenizer.close();
      await Promise.all([other, silent, swapped].map((one) => one.stop()));
    }
  });

  test("of settings that cannot be used tells all that is wrong and looks at nothing else", async () => {
    const file = configOf({ limits: { contexts: 0 }, http: { prot: 1 } });
    const { code, out } = await kvsync(["doctor", "--", "--config", file]);
    expect(code).toBe(1);
    expect(out).toMatch(
      /^fail {2}settings {4}settings: .*limits.contexts: 0 is not usable; expected an integer from 1 to 4000$/m,
    );
    expect(out).toMatch(/^fail {2}settings {4}settings: .*http.prot: no such setting$/m);
    expect(out).toMatch(
      /^skip {2}events {6}engines: those of the settings are not looked at: the settings cannot be used$/m,
    );
  });
});

describe("kvsync, used wrongly,", () => {
  test.each([
    [["inspect"], /missing required argument 'endpoint'/],
    [["inspect", "10.0.0.7:5557"], /expected tcp:\/\/host:port, ipc:\/\/path or pod\/NAME/],
    [
      ["inspect", "tcp://10.0.0.7:5557", "--count", "many"],
      /'--count <n>' argument 'many' is invalid\. Not a number: expected an integer from 1 to 1000000000; write/,
    ],
    [
      ["inspect", "tcp://10.0.0.7:5557", "--dp-rank", "1.5"],
      /Not an integer: expected an integer from 0 to 63; leave/,
    ],
    [
      ["inspect", "tcp://10.0.0.7:5557", "--seconds", "0"],
      /Too small: expected a number from 0\.1 to 86400; use 0\.1 or/,
    ],
    [["inspect", "tcp://10.0.0.7:65536"], /ports are 1 to 65535/],
    [["replay-probe", "tcp://10.0.0.7:0"], /ports are 1 to 65535/],
    [
      ["replay-probe", "tcp://10.0.0.7:5558", "--from", "-1"],
      /Too small: expected an integer from 0 to 9007199254740991; use 0/,
    ],
    [["doctor", "--idle", "301"], /Too large: expected a number from 0\.1 to 300; use 300 or less/],
    [["dump"], /required option '--model <name>' not specified/],
    [["dump", "--model", "m", "--url", "localhost:7070"], /expected an http or https address/],
    [["doctor", "--engine-http", "engine-0"], /expected ID=URL/],
    [["frobnicate"], /unknown command 'frobnicate'/],
  ])("%j names what is wrong and ends with 2", async (args, message) => {
    const { code, out, err } = await kvsync(args);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toMatch(message);
  });

  test("--help of each command ends with 0", async () => {
    for (const command of [[], ["inspect"], ["replay-probe"], ["dump"], ["snapshot", "verify"], ["doctor"]]) {
      const { code, out } = await kvsync([...command, "--help"]);
      expect(code).toBe(0);
      expect(out).toMatch(/Usage: kvsync/);
    }
  });
});
