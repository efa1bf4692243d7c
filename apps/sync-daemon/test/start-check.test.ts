/**
 * The check of everything that a start depends on, over real files, certificates and ports. The
 * tests break each thing by itself, and all of them at once.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";

import { readUsable } from "../src/settings/read-settings.ts";
import { checkFiles, checkStart, type StartReport } from "../src/tools/start-check.ts";
import { CONFIG_FILE, TOKENIZER_FILE } from "../src/tokenizer/testing/qwen3.ts";
import { Authority, type Pem } from "./certificates.ts";

const DAY_MS = 86_400_000;
const TOKEN = "operators-secret-token-0123";
let folder: string;
let authority: Authority;
let pair: Pem;
let other: Pem;

const path = (name: string): string => join(folder, name);

function write(name: string, content: string): string {
  writeFileSync(path(name), content);
  return path(name);
}

beforeAll(async () => {
  authority = await Authority.make();
  pair = await authority.sign("daemon");
  other = await authority.sign("other");
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-start-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
});

/** Checks settings as a file has them; snapshots are off and the port is free unless they say otherwise. */
async function check(settings: object, nowMs = Date.now()): Promise<StartReport> {
  const file = write(
    "kvsync.yaml",
    JSON.stringify({ http: { port: 0 }, snapshot: { enabled: false }, ...settings }),
  );
  const { reading, faults } = readUsable(["--config", file], {});
  expect(faults).toEqual([]);
  if (reading === null) throw new Error("nothing of the settings can be used");
  return checkStart(reading, "files and ports", nowMs);
}

function linesOf({ faults }: StartReport): readonly string[] {
  return faults.map(({ line }) => line);
}

/** As many as a text has of another. */
const count = (text: string, part: string): number => text.split(part).length - 1;

test("I3: settings whose files, folders and ports can be used have no fault and no warning, and nothing is left behind", async () => {
  const before = readdirSync(folder);
  const report = await check({
    security: { tokens_file: write("tokens", `tokens: [{ name: a, scope: read, token: ${TOKEN} }]`) },
    tls: {
      cert_file: write("tls.crt", pair.cert),
      key_file: write("tls.key", pair.key),
      client_ca_file: write("ca.crt", authority.cert),
    },
    discovery: { state_directory: path("state/deep") },
    snapshot: { directory: path("snapshots"), warm_token_file: write("warm", `${TOKEN}\n`) },
  });
  expect(report).toMatchObject({ faults: [], warnings: [] });
  expect(existsSync(path("state"))).toBe(false);
  expect(existsSync(path("snapshots"))).toBe(false);
  const made = readdirSync(folder).filter((name) => !before.includes(name));
  expect(made.sort()).toEqual(["ca.crt", "kvsync.yaml", "tls.crt", "tls.key", "tokens", "warm"]);
});

test("I1, I2, I4: everything that is wrong is found in one run, each with its setting and its path once, and no secret", async () => {
  mkdirSync(path("folder"));
  const report = await check({
    http: { host: "192.0.2.1", port: 0 },
    security: {
      tokens_file: write("tokens", `tokens: [{ name: a, scope: reed, token: ${TOKEN} }]`),
    },
    tls: {
      cert_file: path("folder"),
      key_file: write("tls.key", "-----BEGIN PRIVATE KEY-----\nKEYSTUFF4711\n-----END PRIVATE KEY-----\n"),
      client_ca_file: path("missing.crt"),
    },
    curve: { server_key_file: path("missing.pub"), client_key_file: write("short.key", "too short") },
    discovery: {
      state_directory: path("tokens/state"),
      shared_directory: path("tokens/shared"),
      kubernetes: { enabled: true, kubeconfig: path("missing.kubeconfig") },
    },
    snapshot: { directory: path("tokens/snapshots"), warm_token_file: write("warm", "two words") },
  });
  const expected: readonly (readonly [string, string, RegExp])[] = [
    ["security.tokens_file", path("tokens"), /tokens\.0\.scope: expected read or admin$/],
    [
      "snapshot.warm_token_file",
      path("warm"),
      /has white space .*; expected a file with one token in one line$/,
    ],
    ["tls.cert_file", path("folder"), /is no regular file; expected a PEM file/],
    ["tls.key_file", path("tls.key"), /expected a private key in PEM/],
    ["tls.client_ca_file", path("missing.crt"), /there is no such file; expected a PEM file/],
    ["curve.server_key_file", path("missing.pub"), /expected a file that can be read/],
    ["curve.client_key_file", path("short.key"), /expected two CURVE keys/],
    [
      "discovery.state_directory",
      path("tokens/state"),
      /is not a folder; expected a folder that this user may/,
    ],
    [
      "discovery.shared_directory",
      path("tokens/shared"),
      /is not a folder; expected a folder that this user/,
    ],
    ["snapshot.directory", path("tokens/snapshots"), /is not a folder; expected a folder that this user may/],
    ["discovery.kubernetes.kubeconfig", path("missing.kubeconfig"), /cannot be read \(ENOENT\)$/],
    [
      "http.host",
      "192.0.2.1:0",
      /cannot be listened at \(EADDRNOTAVAIL\); expected an address of this machine$/,
    ],
  ];
  const lines = linesOf(report);
  for (const [setting, source, pattern] of expected) {
    const found = lines.filter((line) => line.startsWith(`${setting}: `));
    expect(found, setting).toHaveLength(1);
    expect(found[0]).toMatch(pattern);
    expect(found[0]).toContain(source);
    expect(count(found[0] ?? "", `${source}:`) + count(found[0] ?? "", `${source} `), found[0]).toBe(1);
  }
  expect(lines).toHaveLength(expected.length);
  for (const line of lines) {
    expect(line).not.toContain(TOKEN);
    expect(line).not.toMatch(/KEYSTUFF4711|two words|too short/);
  }
});

describe("a certificate", () => {
  const settings = () => ({
    tls: { cert_file: write("tls.crt", pair.cert), key_file: write("tls.key", pair.key) },
  });

  test("that has expired, or is not valid yet, is a fault with the time", async () => {
    const late = linesOf(await check(settings(), Date.now() + 31 * DAY_MS));
    expect(late).toEqual([
      expect.stringMatching(
        /^tls\.cert_file: \S+tls\.crt: expired at \d{4}-\S+Z, and callers refuse it; expected a certificate that is valid now$/,
      ),
    ]);
    const early = linesOf(await check(settings(), Date.now() - 2 * DAY_MS));
    expect(early).toEqual([
      expect.stringMatching(/^tls\.cert_file: \S+: is not valid before \d{4}-\S+Z; expected/),
    ]);
  });

  test("that expires within two weeks is a warning", async () => {
    const report = await check(settings(), Date.now() + 20 * DAY_MS);
    expect(linesOf(report)).toEqual([]);
    expect(report.warnings).toEqual([
      expect.stringMatching(/^tls\.cert_file: \S+: expires at .*; renew it$/),
    ]);
  });

  test("of another key is a fault of the key", async () => {
    const report = await check({
      tls: { cert_file: write("tls.crt", pair.cert), key_file: write("tls.key", other.key) },
    });
    expect(linesOf(report)).toEqual([
      expect.stringMatching(
        /^tls\.key_file: \S+tls\.key: expected the key of the first certificate in \S+tls\.crt/,
      ),
    ]);
  });
});

test("a file and a folder that this user may not use are faults", async () => {
  const tokens = write("tokens", "tokens: []");
  chmodSync(tokens, 0o000);
  mkdirSync(path("locked"), { mode: 0o500 });
  // Root may use everything: it checks as another user then, who may write in the folder of the test.
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chmodSync(path("."), 0o777);
  if (isRoot) process.seteuid?.(65_534);
  try {
    const report = await check({
      security: { tokens_file: tokens },
      discovery: { state_directory: path("locked/state") },
    });
    expect(linesOf(report)).toEqual([
      expect.stringMatching(/^security\.tokens_file: .*this user may not read it \(EACCES\)/),
      expect.stringMatching(/^discovery\.state_directory: .*where it would be made, cannot be written/),
    ]);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

test("a picker's credentials, token and cluster are looked at as a start needs them", async () => {
  const report = await check({
    picker: {
      enabled: true,
      port: 0,
      health_port: 0,
      pool: { name: "pool" },
      share: { url: "nats://127.0.0.1:1", credentials_file: write("nats.creds", "KEYSTUFF4711") },
    },
    discovery: { kubernetes: { models_token_file: path("missing-token") } },
  });
  expect(linesOf(report)).toEqual([
    `picker.share.credentials_file: ${path("nats.creds")}: has no NATS USER JWT; expected a file of NATS credentials (.creds)`,
    expect.stringMatching(/^picker\.pool\.name: Kubernetes credentials cannot be used: /),
  ]);
  const asking = await check({
    discovery: {
      kubernetes: {
        enabled: true,
        kubeconfig: path("missing.kubeconfig"),
        models_token_file: path("missing-token"),
      },
    },
  });
  expect(linesOf(asking)[0]).toMatch(/^discovery\.kubernetes\.models_token_file: .*there is no such file/);
});

test("a port that is taken is a warning with the setting, that of an engine which connects too", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const bound = { id: "a", model: "m", bind: true, endpoint: `tcp://127.0.0.1:${port}` };
  const report = await check({ http: { port }, engines: [bound] });
  expect(linesOf(report)).toEqual([]);
  expect(report.warnings).toEqual([
    expect.stringMatching(
      new RegExp(`^http\\.port: 127\\.0\\.0\\.1:${port} is taken, and a start would fail`),
    ),
    expect.stringMatching(new RegExp(`^engines\\.0\\.endpoint: 127\\.0\\.0\\.1:${port} is taken`)),
  ]);
});

test("the platform's folder for snapshots is a warning when it cannot be used, as a start goes on without it", async () => {
  const file = write("kvsync.yaml", JSON.stringify({ http: { port: 7999 } }));
  const { reading } = readUsable(["--config", file], { STATE_DIRECTORY: path("kvsync.yaml/state") });
  if (reading === null) throw new Error("nothing of the settings can be used");
  const report = await checkStart(reading, "files", Date.now());
  expect(report.faults).toEqual([]);
  expect(report.warnings).toEqual([
    expect.stringMatching(/^snapshot\.directory: .*No snapshots are kept.*: set snapshot\.directory$/),
  ]);
});

test("files are checked although settings are wrong, by what can be used of them, and rules between settings too", () => {
  const file = write(
    "kvsync.yaml",
    JSON.stringify({
      limits: { contexts: 0 },
      http: { host: "0.0.0.0", prot: 1 },
      engines: [
        { id: "a", model: "m", endpoint: "tcp://h:1" },
        { id: "b", model: "m", endpoint: "nowhere" },
      ],
      tls: { cert_file: path("missing.crt") },
    }),
  );
  const { reading, faults } = readUsable(["--config", file], {});
  expect(faults.map(({ fault }) => ("setting" in fault ? fault.setting : fault.path)).sort()).toEqual([
    "engines.1.endpoint",
    "http.prot",
    "limits.contexts",
    "security.tokens_file",
    "tls.key_file",
  ]);
  expect(reading?.settings.engines.map(({ id }) => id)).toEqual(["a"]);
  expect(reading?.settings.limits.contexts).toBe(1000);
  if (reading === null) return;
  expect(linesOf(checkFiles(reading.settings, Date.now()))).toEqual([
    expect.stringMatching(/^tls\.cert_file: .*there is no such file/),
  ]);
});

test("a setting that cannot be used has one fault, not a second one for what follows from its absence", () => {
  const settings = {
    http: { host: "0.0.0.0" },
    security: { tokens_file: 5 },
    engines: [{ id: "a" }, { id: "b", model: "m", endpoint: "tcp://h:1" }],
    tls: { cert_file: "cert", key_file: 7 },
  };
  const { faults } = readUsable(["--config", write("kvsync.yaml", JSON.stringify(settings))], {});
  const named = faults.map(({ fault }) => ("setting" in fault ? fault.setting : fault.path));
  expect(new Set(named).size).toBe(named.length);
  expect(named.filter((name) => !name.startsWith("engines.0.")).sort()).toEqual([
    "security.tokens_file",
    "tls.key_file",
  ]);
});

test("I1: vocabularies are read as a start reads them, and a fault names the entry, the file and what is wrong with it", async () => {
  const entry = (model: string, files: object): object => ({
    model,
    endpoint: "http://127.0.0.1:9",
    tokenizer_file: TOKENIZER_FILE,
    config_file: CONFIG_FILE,
    ...files,
  });
  const report = await check({
    tokenizer: {
      models: [
        entry("sound", { template: "local" }),
        { model: "remote", endpoint: "http://127.0.0.1:9" },
        entry("missing", { tokenizer_file: path("gone.json") }),
        entry("other", { tokenizer_file: write("other.json", `{"secret":"${TOKEN}"}`) }),
        entry("bare", { config_file: write("config.json", "{}"), template: "local" }),
      ],
    },
  });
  const expected = "expected a file of a Hugging Face tokenizer that this user can read";
  expect(linesOf(report)).toEqual([
    `tokenizer.models.2.tokenizer_file: ${path("gone.json")}: there is no such file; ${expected}`,
    `tokenizer.models.3.tokenizer_file: ${path("other.json")}: is no tokenizer.json of Hugging Face (added_tokens); ${expected}`,
    `tokenizer.models.4.config_file: ${path("config.json")}: has no chat_template to render with; ${expected}`,
  ]);
});
