/**
 * HTTPS over real sockets, with certificates made here. The tests cover which clients may connect,
 * with which credentials, and the effect of files that change under a running daemon.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type ConnectionOptions } from "node:tls";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { LogLine } from "../src/log/log-line.ts";
import { HttpSecurity } from "../src/security/http-security.ts";
import { readSettings } from "../src/settings/read-settings.ts";
import { SettingsError } from "../src/settings/settings-error.ts";
import { Authority, type Pem } from "./certificates.ts";
import { startInProcess } from "./daemon-in-process.ts";
import { until } from "./fleet.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-tls-"));
const path = (name: string): string => join(folder, name);
let authority: Authority;
let server: Pem;
let client: Pem;
let running: {
  port: number;
  log: readonly LogLine[];
  metrics: () => Promise<string>;
  stop: () => Promise<void>;
};

function writePair(pem: Pem): void {
  writeFileSync(path("tls.crt"), pem.cert);
  writeFileSync(path("tls.key"), pem.key);
}

async function start(...argv: string[]): Promise<typeof running> {
  const files = [
    "--tls-cert-file",
    path("tls.crt"),
    "--tls-key-file",
    path("tls.key"),
    "--security-reload-seconds",
    "0.1",
  ];
  const { app, log, stop } = await startInProcess([...files, ...argv]);
  await app.listen({ host: "127.0.0.1", port: 0 });
  const address = app.getHttpServer().address();
  return {
    port: typeof address === "object" ? (address?.port ?? 0) : 0,
    log,
    metrics: async () => (await app.inject("/metrics")).body,
    stop,
  };
}

beforeAll(async () => {
  authority = await Authority.make();
  server = await authority.sign("first");
  client = await authority.sign("gateway");
  writeFileSync(path("ca.crt"), authority.cert);
  writePair(server);
  running = await start();
});

afterAll(async () => {
  await running.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Asks /livez over a connection of its own: the status line and the certificate's name, or the code of what went wrong. */
async function ask(port: number, options: ConnectionOptions = {}): Promise<string> {
  return new Promise((resolve) => {
    let name = "";
    let text = "";
    const socket = connect({ host: "127.0.0.1", port, ca: authority.cert, ...options }, () => {
      name = String(socket.getPeerCertificate().subject.CN);
      socket.write("GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    });
    socket.on("data", (data: Buffer) => (text += data.toString()));
    socket.on("error", (error: Error & { code?: string }) => {
      resolve(error.code ?? error.message);
    });
    socket.on("close", () => {
      resolve(`${text.split("\r\n", 1)[0] ?? ""} ${name}`);
    });
  });
}

test("a caller that trusts the authority is answered over TLS 1.2 and 1.3, an older one and plain HTTP are not", async () => {
  expect(await ask(running.port)).toBe("HTTP/1.1 200 OK first");
  expect(await ask(running.port, { maxVersion: "TLSv1.2" })).toBe("HTTP/1.1 200 OK first");
  expect(await ask(running.port, { ca: [] })).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } as const;
  expect(await ask(running.port, old)).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  await expect(fetch(`http://127.0.0.1:${running.port}/livez`)).rejects.toThrow();
});

test("a renewed certificate is served without a restart; one that does not fit its key is refused, told, and the old one stays", async () => {
  const second = await authority.sign("second", 10);
  const expiry = async (): Promise<number> =>
    Number(
      new RegExp(String.raw`^${NAMESPACE}_kv_tls_certificate_expiry_timestamp_seconds (\S+)`, "m").exec(
        await running.metrics(),
      )?.[1],
    );
  const before = await expiry();
  expect(before).toBeCloseTo(Date.now() / 1000 + 30 * 86_400, -2);
  // As certificates are renewed by most tools: one file, then the other.
  writeFileSync(path("tls.crt"), second.cert);
  const refused = await until("the refusal is told", () =>
    Promise.resolve(running.log.find(({ event }) => event === "security_file_refused") ?? null),
  );
  expect(refused).toMatchObject({ level: "error", facts: { file: "tls" } });
  expect(refused.message).toContain("tls.crt");
  expect(refused.message).toContain("the last good content stays in use");
  expect(await ask(running.port)).toBe("HTTP/1.1 200 OK first");
  expect(await running.metrics()).toContain(`${NAMESPACE}_kv_security_file_usable{file="tls"} 0`);
  writeFileSync(path("tls.key"), second.key);
  await until("the new one is served", async () => (await ask(running.port)) === "HTTP/1.1 200 OK second");
  expect(await running.metrics()).toContain(`${NAMESPACE}_kv_security_file_usable{file="tls"} 1`);
  expect(before - (await expiry())).toBeCloseTo(20 * 86_400, -2);
  expect(running.log.filter(({ event }) => event === "security_file_refused")).toHaveLength(1);
});

test("with an authority for clients only their certificates get in, also after a renewal", async () => {
  writePair(server);
  const strict = await start("--tls-client-ca-file", path("ca.crt"));
  try {
    const stranger = await (await Authority.make()).sign("stranger");
    expect(await ask(strict.port, client)).toBe("HTTP/1.1 200 OK first");
    expect(await ask(strict.port)).toMatch(/^ERR_SSL_|^ECONNRESET|^ first/);
    expect(await ask(strict.port, stranger)).toMatch(/^ERR_SSL_|^ECONNRESET|^ first/);
    writePair(await authority.sign("third"));
    await until("the new one is served", async () => (await ask(strict.port, client)).endsWith("third"));
    expect(await ask(strict.port, { ...stranger })).not.toContain("200");
  } finally {
    await strict.stop();
  }
});

/** A connection over TLS that stays open, with a request under way or none. */
async function hold(port: number, text: string): Promise<ReturnType<typeof connect>> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca: authority.cert }, () => {
      if (text === "") resolve(socket);
      else socket.write(text);
    });
    socket.once("data", () => {
      resolve(socket);
    });
    socket.on("error", reject);
  });
}

test("connections beyond the limit are closed and counted; those with requests under way go on, idle ones give way", async () => {
  writePair(server);
  const small = await start("--callers-connections", "2");
  const busy =
    "POST /api/v1/match HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
  const held = [await hold(small.port, busy), await hold(small.port, busy)];
  try {
    expect(await ask(small.port)).not.toContain("200");
    expect(await small.metrics()).toMatch(/http_connections_refused_total\{reason="address_full"\} [1-9]/);
    expect(small.log.find(({ event }) => event === "connection_refused")).toMatchObject({
      facts: { connections_max: 2 },
    });
    held.pop()?.destroy();
    await until("there is room again", async () => (await ask(small.port)).includes("200"));
    held.push(await hold(small.port, ""));
    expect(await ask(small.port)).toContain("200");
    expect(await small.metrics()).toMatch(/http_connections_refused_total\{reason="gave_way"\} [1-9]/);
  } finally {
    for (const socket of held) socket.destroy();
    await small.stop();
  }
});

test("a connection that does not begin its handshake ends after callers.request_seconds", async () => {
  writePair(server);
  const strict = await start("--callers-request-seconds", "1");
  const silent = connectPlain({ host: "127.0.0.1", port: strict.port });
  silent.on("error", () => undefined);
  await once(silent, "connect");
  const beganMs = performance.now();
  await once(silent.resume(), "close");
  expect(performance.now() - beganMs).toBeLessThan(10_000);
  await strict.stop();
});

test("a request that does not arrive in its time is answered with 408", async () => {
  writePair(server);
  const slow = await start("--callers-request-seconds", "1");
  const answer = await new Promise<string>((resolve, reject) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port: slow.port, ca: authority.cert }, () => {
      socket.write(
        "POST /api/v1/match HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
      );
    });
    socket.on("data", (data: Buffer) => (text += data.toString()));
    socket.on("error", reject);
    socket.on("close", () => {
      resolve(text);
    });
  });
  await slow.stop();
  expect(answer).toContain("HTTP/1.1 408 Request Timeout");
  expect(answer).toContain('"code":"request_overdue"');
});

test.each([
  [
    ["--tls-cert-file", "nowhere.crt", "--tls-key-file", "nowhere.key"],
    /^tls\.cert_file: nowhere\.crt, nowhere\.key: ENOENT/,
  ],
  [["--security-tokens-file", "nowhere.yaml"], /^security\.tokens_file: nowhere\.yaml: ENOENT/],
  [["--tls-cert-file", "CERT"], /^settings: tls\.key_file: is missing; expected the key of tls\.cert_file$/],
  [
    ["--tls-key-file", "KEY"],
    /^settings: tls\.cert_file: is missing; expected the certificate of tls\.key_file$/,
  ],
  [
    ["--tls-client-ca-file", "CA"],
    /^settings: tls\.cert_file: is missing; expected a certificate with tls\.client_ca_file/,
  ],
  [
    ["--tls-cert-file", "KEY", "--tls-key-file", "KEY"],
    /^tls\.cert_file: .*tls\.key: expected at least one certificate in PEM$/,
  ],
  [
    ["--tls-cert-file", "CERT", "--tls-key-file", "CERT"],
    /^tls\.cert_file: .*tls\.crt: expected a private key in PEM, without a passphrase \(/,
  ],
  [
    ["--tls-cert-file", "CERT", "--tls-key-file", "OTHER"],
    /^tls\.cert_file: .*other\.key: expected the key of the first certificate in .*tls\.crt, not another's$/,
  ],
  [
    ["--tls-cert-file", "CUT", "--tls-key-file", "KEY"],
    /^tls\.cert_file: .*cut\.crt: its certificate 2 of 2 cannot be read \(/,
  ],
  [
    ["--tls-cert-file", "CERT", "--tls-key-file", "KEY", "--tls-client-ca-file", "EMPTY"],
    /^tls\.cert_file: .*empty\.crt: expected at least one certificate in PEM$/,
  ],
  [
    ["--security-tokens-file", "CERT"],
    /^security\.tokens_file: .*: expected a mapping with the list `tokens`$/,
  ],
  [
    ["--host", "0.0.0.0"],
    /^settings: security\.tokens_file: is missing; expected a file of tokens, because http\.host 0\.0\.0\.0 can be reached from other machines\. Alternatives: http\.host 127\.0\.0\.1, or security\.trust_every_caller_on_the_network true where a proxy authenticates callers$/,
  ],
  [["--host", "kvsync.internal"], /can be reached from other machines/],
  [
    ["--security-tokens-file", "CERT", "--security-trust-every-caller-on-the-network", "true"],
    /trust_every_caller_on_the_network: true is not usable; expected false with security\.tokens_file/,
  ],
  [
    ["--security-registration-ranges", "10.0.0.0/33"],
    /registration_ranges: \["10\.0\.0\.0\/33"\] is not usable; expected a list of address ranges/,
  ],
  [
    ["--curve-client-key-file", "KEY"],
    /^settings: curve\.server_key_file: is missing; expected the engines' key/,
  ],
])("the settings %j keep the daemon from starting, and say why", async (argv, message) => {
  const other = await authority.sign("other");
  writeFileSync(path("other.key"), other.key);
  writePair(server);
  writeFileSync(path("cut.crt"), `${server.cert}\n${server.cert.replace(/[\w/+=]{40}\n/, "")}`);
  writeFileSync(path("empty.crt"), "# to be filled in\n");
  const files: Readonly<Record<string, string>> = {
    CERT: path("tls.crt"),
    KEY: path("tls.key"),
    OTHER: path("other.key"),
    CA: path("ca.crt"),
    CUT: path("cut.crt"),
    EMPTY: path("empty.crt"),
  };
  let said: unknown = null;
  try {
    HttpSecurity.read(
      readSettings(
        argv.map((word) => files[word] ?? word),
        {},
      ).settings,
    );
  } catch (error) {
    said = error;
  }
  expect(said).toBeInstanceOf(SettingsError);
  expect((said as Error).message).toMatch(message);
  expect((said as Error).message).not.toContain("PRIVATE");
});

test("beyond loopback a daemon starts with tokens, or with the setting that says out loud what it does", () => {
  writeFileSync(path("tokens.yaml"), "tokens: [{ name: a, scope: read, token: 0123456789abcdef }]\n");
  for (const argv of [
    ["--security-tokens-file", path("tokens.yaml")],
    ["--security-trust-every-caller-on-the-network", "true"],
  ])
    expect(readSettings(["--host", "::", ...argv], {}).settings.http.host).toBe("::");
  for (const host of ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
    expect(readSettings(["--host", host], {}).settings.http.host).toBe(host);
});
