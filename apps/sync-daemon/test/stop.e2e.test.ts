/**
 * The start and end of the process. The tests cover the message for refused settings, stopping with
 * everything still open, and the end of a daemon whose ingest thread is gone.
 * R3 is of request-reading.ts.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { Agent, get } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { expect, onTestFinished, test } from "vitest";

import { CHILD_ENVIRONMENT, DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));

function run(
  argv: readonly string[],
  env: Record<string, string> = {},
): { code: number | null; out: string; err: string } {
  const result = spawnSync(process.execPath, [MAIN, ...argv], {
    env: { ...CHILD_ENVIRONMENT, ...env },
    encoding: "utf8",
    timeout: 60_000,
  });
  return { code: result.status, out: result.stdout, err: result.stderr };
}

test("unusable settings end the process with code 2 and one line that says which, from where, and what would do", () => {
  expect(run(["--port", "99999"])).toEqual({
    code: 2,
    out: "",
    err: "kvsync-daemon: flag --port: http.port: 99999 is not usable; expected an integer from 0 to 65535\n",
  });
  expect(run([], { KVSYNC_LIMITS_REPLAYS: "none" }).code).toBe(2);
});

test("--help describes the settings and ends well", () => {
  const { code, out } = run(["--help"]);
  expect(code).toBe(0);
  expect(out).toContain("--limits-index-bytes");
});

test("a port that is taken ends the process with code 1 and names the port", async () => {
  const daemon = await DaemonProcess.start();
  try {
    const port = new URL(daemon.url).port;
    const { code, out } = run(["--port", port]);
    expect(code).toBe(1);
    expect(out).toContain(
      `http.port: 127.0.0.1:${port} is taken (EADDRINUSE); end the program that listens there, or set another port`,
    );
    expect(out).not.toContain('"stack"');
  } finally {
    await daemon.end();
  }
});

test("what still comes on a kept connection while stopping is answered as ever, and is the connection's last", async () => {
  const daemon = await DaemonProcess.start();
  const port = Number(new URL(daemon.url).port);
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.on("data", (bytes) => (received += String(bytes)));
  const ended = new Promise((resolve) => socket.once("close", resolve));
  const head = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
  socket.write(`POST /api/v1/match HTTP/1.1\r\n${head}{`);
  // Its head is read when a later request, on a connection of its own, is answered.
  await fetch(new URL("/livez", daemon.url));
  daemon.signal("SIGTERM");
  await until("nobody new is let in", () =>
    fetch(new URL("/livez", daemon.url)).then(
      () => false,
      () => true,
    ),
  );
  socket.write("}GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await ended;
  expect(received).toContain('"code":"malformed_body"');
  expect(received).toContain('{"status":"alive"}');
  expect(received.toLowerCase()).toContain("connection: close");
  await daemon.end();
});

test("SIGTERM ends the process within 5 s, kept connections, half a request and a frozen engine notwithstanding", async () => {
  const engine = await TestEngine.start({ id: "a" }, 1);
  const daemon = await DaemonProcess.start({ engines: [engine.entry] });
  await engine.serve(5);
  await caughtUp(daemon, [engine]);
  // The engine neither publishes nor answers replays any more.
  await engine.server.applyFault({ kind: "hold", seconds: 30 }, 0);
  const agent = new Agent({ keepAlive: true });
  await new Promise((resolve, reject) => {
    get(`${daemon.url}/livez`, { agent }, (response) => response.resume().on("end", resolve)).on(
      "error",
      reject,
    );
  });
  const { hostname, port } = new URL(daemon.url);
  const half = connect(Number(port), hostname);
  half.on("error", () => undefined);
  half.write("POST /api/v1/match?model=m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc");
  await new Promise((resolve) => half.once("connect", resolve));
  const ended = await daemon.end("SIGTERM");
  expect(ended.code).toBe(0);
  expect(ended.afterMs).toBeLessThan(5000);
  expect(daemon.log.map(({ event }) => event)).toEqual(expect.arrayContaining(["stopping", "stopped"]));
  agent.destroy();
  half.destroy();
  await engine.stop();
});

test("readiness is lost before connections are refused, so that a balancer sees it", async () => {
  const daemon = await DaemonProcess.start({ http: { drain_seconds: 2 } });
  expect((await daemon.fetch("/readyz")).status).toBe(200);
  daemon.signal("SIGTERM");
  let sawNotReady = false;
  while (!sawNotReady) {
    const response = await daemon.fetch("/readyz");
    sawNotReady = response.status === 503;
  }
  expect((await daemon.fetch("/livez")).status).toBe(200);
  expect((await daemon.exited).code).toBe(0);
});

test("callers that hang up in the middle of a request are counted as that, and are no failure of the daemon", async () => {
  const daemon = await DaemonProcess.start();
  try {
    const { hostname, port } = new URL(daemon.url);
    for (let i = 0; i < 5; i++) {
      const socket = connect(Number(port), hostname);
      const head = `POST /api/v1/match HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{`;
      await new Promise<void>((resolve) => {
        socket.write(head, () => {
          resolve();
        });
      });
      // Not before the request is being read.
      await new Promise((resolve) => setTimeout(resolve, 30));
      socket.destroy();
    }
    const counted = await until("five are counted", async () => {
      const text = await (await daemon.fetch("/metrics")).text();
      const lines = text
        .split("\n")
        .filter((line) => line.startsWith(`${NAMESPACE}_kv_http_request_errors_total{`));
      return lines.some((line) => /code="caller_gone"\} 5$/.test(line)) ? lines : null;
    });
    expect(counted).toHaveLength(1);
    expect(daemon.log.filter(({ event }) => event === "request_failed")).toEqual([]);
  } finally {
    await daemon.end();
  }
});

test.each([
  ["something else", "\u0016\u0003\u0001 hush-7f3a", 400, "bad_request"],
  [
    "two lengths",
    "POST /query?hush-7f3a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2",
    400,
    "bad_request",
  ],
  [
    "a length and chunks",
    "POST /query?hush-7f3a HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
    400,
    "bad_request",
  ],
  [
    "headers without end",
    `GET /livez HTTP/1.1\r\nx: hush-7f3a${"a".repeat(20_000)}`,
    431,
    "headers_too_large",
  ],
])(
  "%s in place of a request is answered with a problem document that repeats none of it, and counted (R3)",
  async (_what, sent, status, code) => {
    const daemon = await DaemonProcess.start();
    try {
      const { hostname, port } = new URL(daemon.url);
      const answer = await new Promise<string>((resolve) => {
        let text = "";
        const socket = connect(Number(port), hostname, () =>
          socket.write(`${sent}\r\nhost: localhost\r\n\r\n`),
        );
        socket.on("data", (data: Buffer) => (text += data.toString()));
        socket.on("error", () => undefined);
        socket.on("close", () => {
          resolve(text);
        });
      });
      expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(answer).toContain("Content-Type: application/problem+json");
      expect(answer).not.toContain("hush-7f3a");
      expect(JSON.parse(answer.slice(answer.indexOf("{")))).toMatchObject({ status, code });
      expect(await (await daemon.fetch("/metrics")).text()).toContain(
        `${NAMESPACE}_kv_http_request_errors_total{route="unmatched",code="${code}"} 1`,
      );
    } finally {
      await daemon.end();
    }
  },
);

/** Code that runs in the process before the daemon. */
const before = (code: string): Record<string, string> => ({
  NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(code)}"`,
});
/** Node before 22.15 cannot replace the process image. */
const WITHOUT_EXECVE = "process.execve = undefined;";

test.each([
  ["a port that is taken", "", ["--host", "127.0.0.1"], "EADDRINUSE"],
  ["a port that is taken, on the oldest Node", WITHOUT_EXECVE, ["--host", "127.0.0.1"], "EADDRINUSE"],
  ["an address of another machine", "", ["--host", "192.0.2.1"], "EADDRNOTAVAIL"],
  [
    "an address of another machine, on the oldest Node",
    WITHOUT_EXECVE,
    ["--host", "192.0.2.1"],
    "EADDRNOTAVAIL",
  ],
])(
  "%s ends a daemon with engines listed by code 1, not by a signal",
  async (_name, code, argv, error) => {
    const engine = await TestEngine.start({ id: "a" }, 2);
    const taken = await DaemonProcess.start();
    onTestFinished(async () => {
      await taken.end();
      await engine.stop();
    });
    const { port } = new URL(taken.url);
    const trusting = ["--security-trust-every-caller-on-the-network", "true"];
    const starts = Array.from({ length: 3 }, () =>
      DaemonProcess.start(
        { engines: [engine.entry] },
        [...argv, ...trusting, "--port", port],
        null,
        before(code),
      ),
    );
    for (const start of await Promise.allSettled(starts)) {
      const reason = start.status === "rejected" ? String(start.reason) : "started";
      expect(reason).toContain("the daemon ended with 1");
      expect(reason).toContain(error);
    }
  },
  60_000,
);

const THROWS = "process.on('SIGUSR2', () => { throw new Error('planted'); });";
const REJECTS = "process.on('SIGUSR2', () => { void Promise.reject(new Error('planted')); });";
test.each([
  ["an exception", THROWS],
  ["an exception, on the oldest Node", THROWS + WITHOUT_EXECVE],
  ["a rejection", REJECTS],
  ["a rejection, on the oldest Node", REJECTS + WITHOUT_EXECVE],
])(
  "%s that nothing catches ends a daemon with connected engines by code 1, not by a signal, and is no clean stop",
  async (_name, code) => {
    const engine = await TestEngine.start({ id: "a" }, 2);
    const state = mkdtempSync(join(tmpdir(), "kvsync-stop-"));
    const settings = { engines: [engine.entry], discovery: { state_directory: state } };
    const daemon = await DaemonProcess.start(settings, [], null, before(code));
    onTestFinished(async () => {
      await daemon.end();
      await engine.stop();
      rmSync(state, { recursive: true });
    });
    await engine.serve(5);
    await caughtUp(daemon, [engine]);
    daemon.signal("SIGUSR2");
    expect(await daemon.exited).toMatchObject({ code: 1, signal: null });
    expect(daemon.log.at(-1)).toMatchObject({ event: "crash", error_message: "planted" });
    // J1 of message-journal.ts: the next run looks for a message that did it.
    expect(existsSync(join(state, "run.journal"))).toBe(true);
  },
  60_000,
);
