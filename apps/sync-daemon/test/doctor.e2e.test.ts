/**
 * `kvsync doctor` against running daemons. The tests cover the daemon that it asks, the engines that
 * it takes from it, and the remedy for each way of not reaching it. The program is the built one.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "@kvsync/engine-sim";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Authority } from "./certificates.ts";
import { CHILD_ENVIRONMENT, DaemonProcess } from "./daemon-process.ts";
import { EngineProcess } from "./engine-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

const MAIN = fileURLToPath(new URL("../dist/tools/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "kvsync-doctor-"));
const TOKEN = "operators-secret-token-0123";

function write(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

interface Ended {
  readonly code: number | string | null | undefined;
  readonly out: string;
  readonly err: string;
}

function doctor(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, "doctor", "--idle", "1", ...args],
      { env: CHILD_ENVIRONMENT },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : error.code, out, err });
      },
    );
  });
}

/** The line about the daemon itself. */
function daemonLine({ out }: Ended, url: string): string {
  return out.split("\n").find((line) => line.includes(`daemon      ${url}: `)) ?? `(none in ${out})`;
}

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("without settings", () => {
  let engine: TestEngine;
  let daemon: DaemonProcess;

  beforeAll(async () => {
    engine = await TestEngine.start({ id: "engine-0" }, 1);
    daemon = await DaemonProcess.start({ engines: [engine.entry], ingest: { reconnect_ms_max: 300 } });
    await engine.serve(3);
    await caughtUp(daemon, [engine]);
    // The checks are renewed once a second.
    await until("the checks know of it", async () => {
      const health = (await (await daemon.fetch("/health")).json()) as { status: string };
      return health.status === "healthy";
    });
  });

  afterAll(async () => {
    await daemon.end();
    await engine.stop();
  });

  test("it examines each engine that the daemon follows, and ends with 0 when nothing is wrong", async () => {
    const { code, out } = await doctor("--url", daemon.url);
    expect(out).toMatch(/^skip {2}settings {4}settings: not given; /m);
    expect(out).toMatch(/^ok {4}events {6}engine-0 rank 0: tcp:\S+ publishes$/m);
    expect(out).toMatch(/^ok {4}replay {6}engine-0 rank 0: tcp:\S+: history from the engine's start/m);
    expect(out).toMatch(/^ok {4}stream {6}engine-0 rank 0: events as /m);
    expect(out).toMatch(/^ok {4}daemon {6}http:\S+: ready: in_sync$/m);
    expect(out).toMatch(/^ok {4}daemon {6}streams: healthy: 1 of 1 streams are exact/m);
    expect(out).toMatch(/, 0 failed, /);
    expect(code).toBe(0);
  });

  test("with --no-engines it asks the daemon only", async () => {
    const { code, out } = await doctor("--url", daemon.url, "--no-engines");
    expect(out).not.toMatch(/^\w+ +(events|replay) /m);
    expect(out).toMatch(/^ok {4}stream {6}engine-0 rank 0: exact, live$/m);
    expect(code).toBe(0);
  });

  test("without any argument it asks the daemon's default address, which stands in its line once", async () => {
    const { out } = await doctor("--no-engines");
    const line = daemonLine({ code: 0, out, err: "" }, "http://127.0.0.1:7070");
    expect(line).toMatch(/^(ok|warn|fail) +daemon +http:\/\/127\.0\.0\.1:7070: /);
    expect(line.split("127.0.0.1:7070")).toHaveLength(2);
  });

  test("an engine that refuses is a failure, and so is the exit code", async () => {
    const gone = await TestEngine.start({ id: "gone" }, 2);
    const follower = await DaemonProcess.start({ engines: [gone.entry], ingest: { reconnect_ms_max: 300 } });
    try {
      await gone.serve(2);
      await caughtUp(follower, [gone]);
      await until("the daemon was in sync", async () => (await follower.fetch("/readyz")).status === 200);
      await gone.stop();
      const { code, out } = await doctor("--url", follower.url);
      expect(out).toMatch(/^fail {2}events {6}gone rank 0: tcp:\S+: nothing listens there/m);
      expect(out).toMatch(/^fail {2}stream {6}gone rank 0: stale \(disconnected since .*not connected/m);
      expect(out).toMatch(/^warn {2}daemon {6}http:\S+: ready: was_in_sync$/m);
      expect(code).toBe(1);
    } finally {
      await follower.end();
      await gone.stop();
    }
  });

  test("an engine that is frozen is a failure, also while the daemon does not know it yet", async () => {
    const frozen = await EngineProcess.start("frozen", "test/model", 0);
    const follower = await DaemonProcess.start({ engines: [frozen.entry] });
    try {
      await until("the daemon is in sync", async () => (await follower.fetch("/readyz")).status === 200);
      frozen.signal("SIGSTOP");
      const { code, out } = await doctor("--url", follower.url);
      expect(out).toMatch(/^ok {4}stream {6}frozen rank 0: exact, live$/m);
      expect(out).toMatch(/^fail {2}events {6}frozen rank 0: .* its process may be frozen$/m);
      expect(code).toBe(1);
    } finally {
      frozen.signal("SIGCONT");
      await follower.end();
      await frozen.kill();
    }
  });

  test("tokens that are to be compared without settings are a failure, and not left out", async () => {
    const { code, out } = await doctor("--url", daemon.url, "--engine-http", "engine-0=http://127.0.0.1:9");
    expect(out).toMatch(/^fail {2}parity {6}engine-0: its tokens are not compared: .*behind --$/m);
    expect(code).toBe(1);
  });

  test("a daemon without engines is a warning that says what to do", async () => {
    const empty = await DaemonProcess.start();
    try {
      const { code, out } = await doctor("--url", empty.url);
      expect(out).toMatch(
        /^warn {2}events {6}engines: the daemon follows no engine.*discovery\.kubernetes\.enabled$/m,
      );
      expect(code).toBe(0);
    } finally {
      await empty.end();
    }
  });
});

describe("with settings", () => {
  test("it asks the daemon at their address, so that the address stands once", async () => {
    const daemon = await DaemonProcess.start();
    try {
      const port = new URL(daemon.url).port;
      const { code, out } = await doctor("--", "--http-port", port, "--snapshot-enabled", "false");
      expect(out).toMatch(
        new RegExp(`^ok {4}daemon {6}http://127\\.0\\.0\\.1:${port}: ready: in_sync$`, "m"),
      );
      expect(code).toBe(0);
    } finally {
      await daemon.end();
    }
  });

  test("a daemon that does not run there is not looked at: they may be checked before a start", async () => {
    const port = String(await freePort());
    const ended = await doctor("--", "--http-port", port, "--snapshot-enabled", "false");
    expect(daemonLine(ended, `http://127.0.0.1:${port}`)).toMatch(
      /^skip .*not looked at: nothing listens there/,
    );
    expect(ended.code).toBe(0);
  });

  test("files that they name are checked too", async () => {
    const tokens = join(folder, "missing-tokens");
    const ended = await doctor(
      "--",
      "--http-port",
      "0",
      "--security-tokens-file",
      tokens,
      "--tls-cert-file",
      tokens,
    );
    expect(ended.out).toMatch(
      /^fail {2}settings {4}settings: security\.tokens_file: \S+: there is no such file/m,
    );
    expect(ended.out).toMatch(/^fail {2}settings {4}settings: .*tls\.key_file: is missing/m);
    expect(ended.out).toMatch(/^fail {2}settings {4}settings: tls\.cert_file: \S+: there is no such file/m);
    expect(ended.code).toBe(1);
  });
});

describe("a daemon that cannot be asked is a failure with the remedy:", () => {
  let authority: Authority;
  let secured: DaemonProcess;
  let plain: DaemonProcess;
  let mutual: DaemonProcess;
  let token: string;
  let wrongToken: string;
  let ca: string;

  beforeAll(async () => {
    authority = await Authority.make();
    const pair = await authority.sign("daemon", 30, []);
    token = write("token", `${TOKEN}\n`);
    wrongToken = write("wrong-token", "some-other-secret-token");
    ca = write("ca.crt", authority.cert);
    const tokens = write("tokens", `tokens: [{ name: operator, scope: read, token: ${TOKEN} }]`);
    const tls = { cert_file: write("tls.crt", pair.cert), key_file: write("tls.key", pair.key) };
    secured = await DaemonProcess.start({ tls, security: { tokens_file: tokens } });
    mutual = await DaemonProcess.start({ tls: { ...tls, client_ca_file: ca } });
    plain = await DaemonProcess.start();
  });

  afterAll(async () => {
    await Promise.all([secured, plain, mutual].map((daemon) => daemon.end()));
  });

  async function failure(url: string, ...args: string[]): Promise<string> {
    const ended = await doctor("--url", url, ...args);
    expect(ended.code, ended.out + ended.err).toBe(1);
    const line = daemonLine(ended, url);
    expect(line).toMatch(/^fail/);
    expect(line.split(new URL(url).host)).toHaveLength(2);
    expect(line).not.toContain(TOKEN);
    return line;
  }

  test("an authority that this machine does not know", async () => {
    expect(await failure(secured.url)).toMatch(/pass the authority's certificate with --ca-file/);
  });

  test("http instead of https", async () => {
    expect(await failure(secured.url.replace("https:", "http:"))).toMatch(
      /write https:\/\/ instead of http:\/\//,
    );
  });

  test("https instead of http", async () => {
    expect(await failure(plain.url.replace("http:", "https:"))).toMatch(
      /write http:\/\/ instead of https:\/\//,
    );
  });

  test("a name that the certificate does not have", async () => {
    const url = secured.url.replace("127.0.0.1", "localhost");
    expect(await failure(url, "--ca-file", ca)).toMatch(
      /its certificate is for other names; write one of them in --url/,
    );
  });

  test("no client certificate", async () => {
    expect(await failure(mutual.url, "--ca-file", ca)).toMatch(
      /a client certificate; pass --cert-file and --key-file/,
    );
    const pair = await authority.sign("operator");
    const files = [
      "--cert-file",
      write("client.crt", pair.cert),
      "--key-file",
      write("client.key", pair.key),
    ];
    const ended = await doctor("--url", mutual.url, "--ca-file", ca, ...files);
    expect(ended.code, ended.out).toBe(0);
  });

  test("no token, and a token that the daemon does not know", async () => {
    expect(await failure(secured.url, "--ca-file", ca)).toMatch(/answered 401: .*; pass --token-file$/);
    expect(await failure(secured.url, "--ca-file", ca, "--token-file", wrongToken)).toMatch(
      /answered 401: .*; the daemon does not know the token in \S+wrong-token \(--token-file\)$/,
    );
    const ended = await doctor("--url", secured.url, "--ca-file", ca, "--token-file", token);
    expect(ended.code, ended.out).toBe(0);
  });

  test("nothing at the address, another program at it, and a name that is none", async () => {
    const port = await freePort();
    expect(await failure(`http://127.0.0.1:${port}`)).toMatch(
      /nothing listens there; is a daemon running there.*ECONNREFUSED/,
    );
    const web = createHttpServer((_request, response) => response.end("<html>"));
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    const other = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    expect(await failure(other)).toMatch(/its answers are not those of a kvsync daemon/);
    expect(await failure(`${plain.url}/api`)).toMatch(/write the address without a path/);
    web.close();
    const shell = createServer((socket) => socket.on("error", () => undefined).end("SSH-2.0-x\r\n"));
    await new Promise<void>((resolve) => shell.listen(0, "127.0.0.1", resolve));
    const strange = `http://127.0.0.1:${(shell.address() as AddressInfo).port}`;
    expect(await failure(strange)).toMatch(/it does not speak HTTP there; is it the port of a daemon/);
    shell.close();
    const files = createHttpServer((_request, response) => response.writeHead(404).end("<html>"));
    await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
    const shop = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
    expect(await failure(shop)).toMatch(/answered 404; its answers are not those of a kvsync daemon/);
    files.close();
    expect(await failure("http://no-such-host.invalid:7070")).toMatch(/check --url/);
  });
});

test.each([
  [["--frobnicate"], 2, /unknown option '--frobnicate'/],
  [["--url", "127.0.0.1:7070"], 2, /expected an http or https address/],
  [
    ["--url", "http://user:hunter2@127.0.0.1:9"],
    2,
    /^error: the address has a user or a password; expected one without\. A token goes into a file/m,
  ],
  [["--token-file", "/nowhere/token"], 1, /--token-file \/nowhere\/token: there is no such file$/m],
  [["--ca-file", "/nowhere/ca"], 1, /--ca-file \/nowhere\/ca: there is no such file$/m],
  [
    ["--curve-key-file", "/nowhere/key", "--url", "http://127.0.0.1:9"],
    1,
    /--curve-key-file|curve\.server_key_file/,
  ],
])("%j is refused with what is wrong and ends with %i", async (args, code, message) => {
  const ended = await doctor(...args);
  expect(ended.code, ended.err + ended.out).toBe(code);
  expect(ended.err).toMatch(message);
  expect(ended.err + ended.out).not.toContain("hunter2");
});
