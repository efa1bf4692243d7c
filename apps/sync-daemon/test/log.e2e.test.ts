/**
 * The log of a real daemon: the fields of a line, and changes of its level at run time, also in the
 * ingest threads.
 */
import { afterAll, beforeAll, expect, test } from "vitest";

import { DaemonProcess, type LogEntry } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

let engine: TestEngine;
let daemon: DaemonProcess;

beforeAll(async () => {
  engine = await TestEngine.start({ id: "engine-0", model: "demo/model" }, 1);
  daemon = await DaemonProcess.start({ engines: [engine.entry] });
  await engine.serve(2);
  await caughtUp(daemon, [engine]);
});

afterAll(async () => {
  await daemon.end();
  await engine.stop();
});

async function setLevel(body: object): Promise<Response> {
  return daemon.fetch("/api/v1/log-level", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

/**
 * Has the engine speak at a level that tells of messages, and gives the ingest thread's lines since `from`: they come in order, so that the last message's
 * line ends them.
 */
async function linesOfServing(from: number): Promise<LogEntry[]> {
  await engine.serve(3, { isFresh: true });
  const own = (): LogEntry[] => daemon.log.slice(from).filter(({ component }) => component === "ingest-0");
  await until("the last message's line", () =>
    Promise.resolve(own().some((line) => line["sequence_number"] === engine.engine.lastSequenceNumber)),
  );
  return own();
}

test("every line has time, level, message and component, and names its engine as metrics do", async () => {
  await until("the connection is logged", () =>
    Promise.resolve(daemon.log.some(({ event }) => event === "engine_connected")),
  );
  for (const line of daemon.log)
    expect(line).toMatchObject({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string,
      level: expect.stringMatching(/^(error|warn|info|debug)$/) as string,
      message: expect.any(String) as string,
      component: expect.any(String) as string,
      event: expect.stringMatching(/^[a-z_]+$/) as string,
    });
  expect(daemon.log.find(({ event }) => event === "engine_connected")).toMatchObject({
    component: "ingest-0",
    pod: "engine-0",
    model: "demo/model",
    dp_rank: 0,
  });
});

test("at level 1 messages and requests are not told; at 2 they are, at 3 events too, at 4 what is taken from the queue", async () => {
  const quietFrom = daemon.log.length;
  await engine.serve(3, { isFresh: true });
  await caughtUp(daemon, [engine]);
  const quietSequenceNumber = engine.engine.lastSequenceNumber;
  const seen: string[][] = [];
  for (const level of [2, 3, 4]) {
    const from = level === 2 ? quietFrom : daemon.log.length;
    expect((await setLevel({ level })).status).toBe(200);
    const lines = await linesOfServing(from);
    seen.push([...new Set(lines.map(({ event }) => String(event)))].sort());
    for (const { level: severity, verbosity } of lines) {
      expect(severity).toBe("debug");
      expect(verbosity).toBeLessThanOrEqual(level);
    }
  }
  expect(seen).toEqual([
    ["message_applied"],
    ["event_applied", "message_applied"],
    ["event_applied", "message_applied", "message_taken"],
  ]);
  const sequenceNumbers = daemon.log.slice(quietFrom).map((line) => line["sequence_number"]);
  expect(sequenceNumbers).not.toContain(quietSequenceNumber);
  expect(daemon.log.filter(({ event }) => event === "request")).toContainEqual(
    expect.objectContaining({ component: "http", method: "PUT", route: "/api/v1/log-level", status: 200 }),
  );
});

test("a borrowed level goes back by itself, and the change is told at any level", async () => {
  await setLevel({ level: 0 });
  const answer = await setLevel({ level: 3, seconds: 1 });
  expect(await answer.json()).toMatchObject({
    level: 3,
    configured_level: 1,
    until: expect.any(String) as string,
  });
  await until("the level is back", async () => {
    const state = (await (await daemon.fetch("/api/v1/log-level")).json()) as { level: number };
    return state.level === 1;
  });
  expect(daemon.log.filter(({ event }) => event === "log_level_changed").at(-1)).toMatchObject({
    level: "warn",
    from: 0,
    to: 3,
    seconds: 1,
  });
});

test.each([
  [{ level: 9 }, "level: expected an integer from 0 to 5"],
  [{}, "level: expected an integer from 0 to 5"],
  [{ level: 1, secondz: 1 }, "secondz: there is no such field"],
])("a change to %j is refused with what is expected, and changes nothing", async (body, detail) => {
  const before = await (await daemon.fetch("/api/v1/log-level")).json();
  const answer = await setLevel(body);
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({ code: "malformed_body", detail });
  expect(await (await daemon.fetch("/api/v1/log-level")).json()).toEqual(before);
});
