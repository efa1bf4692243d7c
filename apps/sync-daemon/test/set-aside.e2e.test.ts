/**
 * A message that ends the process after every restart. No such message is known, so a module that
 * the process preloads ends it at a token that one message holds. The kernel traps (a real
 * WebAssembly `unreachable`), or the process gets SIGKILL. The engine replays that message after
 * every restart.
 */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  parseReplayRequest,
} from "@kvsync/core";
import { afterEach, expect, test } from "vitest";
import { Publisher, Router } from "zeromq";

import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, TestEngine, until } from "./fleet.ts";

const DEADLY_TOKEN = 666_666;

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const TRAP = "trap()";
const KILL = 'process.kill(process.pid, "SIGKILL")';

const preloadOf = (end: string): string => `
  import { isMainThread } from "node:worker_threads";
  if (!isMainThread) {
    // (module (func (export "trap") unreachable))
    const bytes = [0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,7,8,1,4,116,114,97,112,0,0,10,5,1,3,0,0,11];
    const { Instance, Module } = WebAssembly;
    const { trap } = new Instance(new Module(Uint8Array.from(bytes))).exports;
    WebAssembly.Instance = function (module, imports) {
      const exports = { ...new Instance(module, imports).exports };
      const { indexStore } = exports;
      exports.indexStore = (...args) => {
        const words = new Uint32Array(imports.env.memory.buffer);
        if (args.some((at) => at > 0 && at % 4 === 0 && words[at / 4] === ${DEADLY_TOKEN})) ${end};
        return indexStore(...args);
      };
      return { exports };
    };
  }
`;

/** An engine with a history of three messages, replayed once `open` says so; the second one is deadly. */
async function deadlyEngine(open: () => Promise<unknown>): Promise<object> {
  const publisher = new Publisher({ linger: 0 });
  const router = new Router({ linger: 0 });
  await publisher.bind("tcp://127.0.0.1:*");
  await router.bind("tcp://127.0.0.1:*");
  cleanUp.push(() => {
    publisher.close();
    router.close();
  });
  const payloads = [1, DEADLY_TOKEN, 3].map((token, i) =>
    encodeEventBatch(
      {
        timestampSeconds: 1e9 + i,
        dataParallelRank: 0,
        events: [
          {
            type: "BlockStored",
            blockHashes: [BigInt(i) + 1n],
            parentBlockHash: null,
            tokenIds: [token, 1, 1, 1],
            blockSize: 4,
            medium: "GPU",
          },
        ],
      },
      "vllm-0.29",
    ),
  );
  void (async () => {
    for await (const frames of router) {
      await open();
      const { identity, startSequenceNumber } = parseReplayRequest(frames);
      for (const [sequenceNumber, payload] of payloads.entries()) {
        if (sequenceNumber < startSequenceNumber) continue;
        await router.send(
          encodeReplayReply({ identity, shape: "plain", topic: "", sequenceNumber, payload }),
        );
      }
      await router.send(encodeReplayEnd(identity, "plain"));
    }
  })().catch(() => undefined);
  const timer = setInterval(() => {
    const [, , last = new Uint8Array()] = payloads;
    publisher.send(encodeLiveFrames("", 2, last)).catch(() => undefined);
  }, 200);
  cleanUp.push(() => {
    clearInterval(timer);
  });
  return {
    id: "deadly",
    model: "test/model",
    endpoint: publisher.lastEndpoint,
    replay_endpoint: router.lastEndpoint,
  };
}

/** A healthy engine, a deadly one, and daemons that end at its message once the gate is open. */
async function fleetWith(end: string) {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-set-aside-"));
  cleanUp.push(() => {
    rmSync(folder, { recursive: true });
  });
  const preload = join(folder, "preload.mjs");
  writeFileSync(preload, preloadOf(end));
  const healthy = await TestEngine.start({ id: "healthy" }, 1);
  cleanUp.push(() => healthy.stop());
  let open: () => void = () => undefined;
  let gate: Promise<void> = Promise.resolve();
  const shut = (): void => {
    gate = new Promise((resolve) => (open = resolve));
  };
  shut();
  const config = {
    engines: [healthy.entry, await deadlyEngine(() => gate)],
    discovery: { state_directory: join(folder, "state") },
  };
  return {
    folder,
    healthy,
    start: () => DaemonProcess.start(config, [], null, { NODE_OPTIONS: `--import ${preload}` }),
    open: () => {
      open();
    },
    shut,
  };
}

test("a message during which the process died is passed over after the restart, named, and costs its engine alone", async () => {
  const { folder, healthy, start, open } = await fleetWith(TRAP);
  const first = await start();
  open();
  const { code, signal } = await first.exited;
  // Node before 22.15 cannot end at once, and may abort while it ends the thread.
  const isAborted = !("execve" in process) && signal === "SIGABRT";
  expect(isAborted ? 1 : code).toBe(1);
  const events = first.log.map((line) => line["event"]);
  expect(events).toContain("ingest_died");
  expect(first.log).toContainEqual(
    expect.objectContaining({ event: "message_set_aside", pod: "deadly", sequence_number: 1, cause: "died" }),
  );
  expect(statSync(join(folder, "state", "set-aside.json")).mode & 0o777).toBe(0o600);

  const second = await start();
  cleanUp.push(() => second.end("SIGKILL"));
  await healthy.serve(3);
  await caughtUp(second, [healthy]);
  const rank = await until("the stream goes on behind the message", async () => {
    const deadly = (await second.engines()).find(({ id }) => id === "deadly")?.ranks[0];
    return deadly?.last_sequence_number === 2 && deadly.trust === "stale" ? deadly : null;
  });
  expect(rank.dropped).toMatchObject({ set_aside: 1 });
  const events2 = second.log.filter(
    ({ event }) => event === "message_set_aside" || event === "message_passed_over",
  );
  expect(events2).toEqual([
    expect.objectContaining({ event: "message_set_aside", pod: "deadly", sequence_number: 1 }),
    expect.objectContaining({ event: "message_passed_over", pod: "deadly", sequence_number: 1 }),
  ]);
});

test("a message that kills the whole process is recorded after the first kill and passed over after the second, and a clean stop ends the recording", async () => {
  const { folder, healthy, start, open, shut } = await fleetWith(KILL);
  await healthy.serve(3);
  const journal = join(folder, "state", "run.journal");
  for (const kill of [1, 2]) {
    shut();
    const daemon = await start();
    expect(daemon.log.some(({ event }) => event === "run_was_killed")).toBe(kill === 2);
    expect(statSync(journal).size > 0).toBe(kill === 2);
    open();
    expect((await daemon.exited).signal).toBe("SIGKILL");
    expect(daemon.log.some(({ event }) => event === "message_set_aside")).toBe(false);
  }

  const third = await start();
  cleanUp.push(() => third.end("SIGKILL"));
  await healthy.serve(3);
  await caughtUp(third, [healthy]);
  const rank = await until("the stream continues behind the message", async () => {
    const deadly = (await third.engines()).find(({ id }) => id === "deadly")?.ranks[0];
    return deadly?.last_sequence_number === 2 && deadly.trust === "stale" ? deadly : null;
  });
  expect(rank).toMatchObject({ trust_reason: "message_set_aside", dropped: { set_aside: 1 } });
  expect(await audit(third, [healthy]).then((all) => all.filter((one) => !one.startsWith("ghost")))).toEqual(
    [],
  );
  const told = third.log.filter(
    ({ event }) => event === "message_set_aside" || event === "message_passed_over",
  );
  expect(told).toEqual([
    expect.objectContaining({
      event: "message_set_aside",
      pod: "deadly",
      sequence_number: 1,
      cause: "killed",
    }),
    expect.objectContaining({ event: "message_passed_over", pod: "deadly", sequence_number: 1 }),
  ]);

  await third.end("SIGTERM");
  expect(existsSync(journal)).toBe(false);
  const fourth = await start();
  cleanUp.push(() => fourth.end("SIGKILL"));
  expect(fourth.log.map(({ event }) => event)).not.toContain("run_was_killed");
  expect(statSync(journal).size).toBe(0);
});
