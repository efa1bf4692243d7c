import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import {
  decideSync,
  helpText,
  listedEngines,
  readSettings,
  settingRows,
  type Settings,
  SettingsError,
} from "./config.ts";

function fileWith(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "kvsync-config-")), "config.yaml");
  writeFileSync(path, text);
  return path;
}

function settingsOf(argv: readonly string[], environment: Record<string, string> = {}): Settings {
  const settings = readSettings(argv, environment);
  if (settings === "help") throw new Error("help was not asked for");
  return settings;
}

function refusal(argv: readonly string[], environment: Record<string, string> = {}): SettingsError {
  try {
    readSettings(argv, environment);
  } catch (error) {
    if (error instanceof SettingsError) return error;
    throw error;
  }
  throw new Error("the settings were taken");
}

test("without any source the defaults of the operators' contract hold", () => {
  const { http, ingest, limits, sync, engines } = settingsOf([]);
  expect(http).toMatchObject({ host: "127.0.0.1", port: 7070 });
  expect(ingest).toMatchObject({ poll_timeout_ms: 100, replay_timeout_seconds: 5, workers: 1 });
  expect(limits.contexts).toBe(1000);
  expect(sync).toMatchObject({ enabled: null, remote_tokenizer: false, tokenizer_engine: "vllm" });
  expect(engines).toEqual([]);
});

test("flags override the environment, which overrides the file", () => {
  const file = fileWith("http: { port: 1001, host: 0.0.0.0 }\nlog_level: warn\n");
  expect(settingsOf(["--config", file]).http).toMatchObject({ port: 1001, host: "0.0.0.0" });
  expect(settingsOf(["--config", file], { KVSYNC_HTTP_PORT: "1002" }).http.port).toBe(1002);
  const all = settingsOf(["--config", file, "--port", "1003"], { KVSYNC_HTTP_PORT: "1002" });
  expect(all.http).toMatchObject({ port: 1003, host: "0.0.0.0" });
  expect(all.log_level).toBe("warn");
});

test("operators' names set the same settings, and our own name wins over them", () => {
  const environment = { AIBRIX_KV_EVENT_REPLAY_TIMEOUT_S: "7", AIBRIX_SYNC_MAX_CONTEXTS: "12" };
  expect(settingsOf([], environment).ingest.replay_timeout_seconds).toBe(7);
  expect(settingsOf([], environment).limits.contexts).toBe(12);
  expect(settingsOf([], { ...environment, KVSYNC_LIMITS_CONTEXTS: "13" }).limits.contexts).toBe(13);
});

test.each([
  [
    ["--port", "http"],
    {},
    'flag --port: http.port: "http" is not usable; expected an integer from 0 to 65535',
  ],
  [
    [],
    { KVSYNC_HTTP_PORT: "70000" },
    "environment KVSYNC_HTTP_PORT: http.port: 70000 is not usable; expected an integer from 0 to 65535",
  ],
  [
    [],
    { AIBRIX_KV_EVENT_WORKERS: "17" },
    "environment AIBRIX_KV_EVENT_WORKERS: ingest.workers: 17 is not usable; expected an integer from 1 to 16",
  ],
  [
    [],
    { AIBRIX_KV_EVENT_SYNC_ENABLED: "yes" },
    'environment AIBRIX_KV_EVENT_SYNC_ENABLED: sync.enabled: "yes" is not usable; expected true or false',
  ],
  [
    ["--log-level", "loud"],
    {},
    'flag --log-level: log_level: "loud" is not usable; expected one of trace, debug, info, warn, error, fatal',
  ],
])(
  "an unusable value of %j %j is named with its source and what is expected",
  (argv, environment, message) => {
    expect(refusal(argv, environment).message).toBe(message);
  },
);

test("in the file, the place of an unusable value is named down to the list entry", () => {
  const file = fileWith("engines:\n  - { id: a, model: m, endpoint: 'tcp://*:5557' }\n");
  const { message, code } = refusal(["--config", file]);
  expect(code).toBe("unusable_setting");
  expect(message).toBe(
    `file ${file}: engines.0.endpoint: "tcp://*:5557" is not usable; expected tcp://host:port (port 1-65535, host not a wildcard) or ipc://path`,
  );
});

test("misspelt keys, flags and variables are refused, Kubernetes' service variables are not", () => {
  const file = fileWith("http: { prot: 1 }\n");
  expect(refusal(["--config", file]).facts).toMatchObject({ code: "unknown_setting", setting: "http.prot" });
  expect(refusal(["--prot", "1"]).facts).toMatchObject({ code: "unknown_setting", setting: "--prot" });
  expect(refusal([], { KVSYNC_HTTP_PROT: "1" }).facts).toMatchObject({ code: "unknown_setting" });
  expect(
    settingsOf([], { KVSYNC_DAEMON_SERVICE_HOST: "10.0.0.1", KVSYNC_PORT: "tcp://10.0.0.1:80" }).http.port,
  ).toBe(7070);
});

test("a file that is missing or no mapping says which file and why", () => {
  expect(refusal(["--config", "/nowhere/kvsync.yaml"]).message).toMatch(
    /^configuration file \/nowhere\/kvsync.yaml: ENOENT/,
  );
  const file = fileWith("- 1\n");
  expect(refusal(["--config", file]).message).toBe(
    `configuration file ${file}: expected a mapping of settings at the top`,
  );
  expect(refusal(["--config", fileWith("http: [")]).code).toBe("unreadable_file");
});

test("two engines of one id are refused", () => {
  const file = fileWith(
    "engines:\n  - { id: a, model: m, endpoint: 'tcp://h:1' }\n  - { id: a, model: m, endpoint: 'tcp://h:2' }\n",
  );
  expect(() => listedEngines(settingsOf(["--config", file]))).toThrow('engines: id "a" is used twice');
});

test("sync is on unless told otherwise; asked for without its tokenizer it is off and names the variable", () => {
  expect(decideSync(settingsOf([]).sync)).toEqual({ on: true });
  const asked = { AIBRIX_KV_EVENT_SYNC_ENABLED: "true" };
  expect(decideSync(settingsOf([], asked).sync)).toEqual({
    on: false,
    asked: true,
    reason: "AIBRIX_USE_REMOTE_TOKENIZER must be true",
  });
  const complete = {
    ...asked,
    AIBRIX_USE_REMOTE_TOKENIZER: "true",
    AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE: "remote",
    AIBRIX_REMOTE_TOKENIZER_ENDPOINT: "http://tokenizer:8000",
  };
  expect(decideSync(settingsOf([], complete).sync)).toEqual({ on: true });
  expect(decideSync(settingsOf([], { AIBRIX_KV_EVENT_SYNC_ENABLED: "false" }).sync)).toMatchObject({
    on: false,
    asked: false,
  });
});

test("help lists every setting with its flag, variable and default", () => {
  const text = helpText();
  for (const { flags, environment } of settingRows()) {
    for (const flag of flags) expect(text).toContain(`--${flag}`);
    for (const name of environment) expect(text).toContain(name);
  }
  expect(readSettings(["--help"], {})).toBe("help");
});
