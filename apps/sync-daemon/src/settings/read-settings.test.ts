import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { effectiveSettings } from "./effective-settings.ts";
import { readSettings, requestOf } from "./read-settings.ts";
import { SettingsError } from "./settings-error.ts";
import { helpText, settingsReference } from "./settings-reference.ts";
import { SETTING_ROWS, type Settings } from "./settings.ts";
import { decideSync } from "./sync-decision.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-settings-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
let files = 0;

function fileWith(text: string): string {
  const path = join(folder, `kvsync-${(files += 1)}.yaml`);
  writeFileSync(path, text);
  return path;
}

function settingsOf(argv: readonly string[], environment: Record<string, string> = {}): Settings {
  return readSettings(argv, environment).settings;
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
  expect(ingest).toMatchObject({ poll_timeout_ms: 100, replay_timeout_seconds: 5, workers: null });
  expect(limits.contexts).toBe(1000);
  expect(sync).toMatchObject({ enabled: null, remote_tokenizer: false, tokenizer_engine: "vllm" });
  expect(engines).toEqual([]);
});

test("flags override the environment, which overrides the file", () => {
  const file = fileWith("http: { port: 1001, host: 127.0.0.2 }\nlog: { level: 3 }\n");
  expect(settingsOf(["--config", file]).http).toMatchObject({ port: 1001, host: "127.0.0.2" });
  expect(settingsOf(["--config", file], { KVSYNC_HTTP_PORT: "1002" }).http.port).toBe(1002);
  const all = settingsOf(["--config", file, "--port", "1003"], { KVSYNC_HTTP_PORT: "1002" });
  expect(all.http).toMatchObject({ port: 1003, host: "127.0.0.2" });
  expect(all.log.level).toBe(3);
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
    'environment AIBRIX_KV_EVENT_SYNC_ENABLED: sync.aibrix_enabled: "yes" is not usable; expected true or false',
  ],
  [
    ["--log-level", "loud"],
    {},
    'flag --log-level: log.level: "loud" is not usable; expected an integer from 0 to 5',
  ],
])(
  "an unusable value of %j %j is named with its source and what is expected",
  (argv, environment, message) => {
    expect(refusal(argv, environment).message).toBe(message);
  },
);

test("in the file, the place of an unusable value is named down to the list entry", () => {
  const file = fileWith("engines:\n  - { id: a, model: m, endpoint: 'tcp://*:5557' }\n");
  const { message, facts } = refusal(["--config", file]);
  expect(facts.faults).toMatchObject([{ code: "unusable_setting", setting: "engines.0.endpoint" }]);
  expect(message).toBe(
    `file ${file}, line 2: engines.0.endpoint: "tcp://*:5557" is not usable; expected tcp://host:port (port 1-65535, host not a wildcard, an IPv6 address in brackets) or ipc://path`,
  );
});

test("misspelt keys, flags and variables are refused, Kubernetes' service variables are not", () => {
  const file = fileWith("log: { level: 1 }\nhttp: { prot: 1 }\n");
  expect(refusal(["--config", file]).message).toBe(`file ${file}, line 2: http.prot: no such setting`);
  expect(refusal(["--prot", "1"]).message).toBe("flags: --prot: no such flag (--help lists them)");
  expect(refusal(["1"]).message).toBe("flags: 1: every value needs a flag before it (--help lists them)");
  expect(refusal(["--port"]).message).toBe("flags: --port: needs a value (--help lists them)");
  expect(refusal([], { KVSYNC_HTTP_PROT: "1" }).message).toBe(
    "environment KVSYNC_HTTP_PROT: no such setting (--help lists them)",
  );
  expect(
    settingsOf([], { KVSYNC_DAEMON_SERVICE_HOST: "10.0.0.1", KVSYNC_PORT: "tcp://10.0.0.1:80" }).http.port,
  ).toBe(7070);
  expect(refusal([], { KVSYNC_HTPP_PORT: "7071" }).message).toBe(
    "environment KVSYNC_HTPP_PORT: no such setting (--help lists them)",
  );
});

test("a file that is missing or no mapping says which file and why", () => {
  expect(refusal(["--config", "/nowhere/kvsync.yaml"]).message).toBe(
    "configuration file /nowhere/kvsync.yaml: there is no such file; expected a YAML file that this user can read",
  );
  const file = fileWith("- 1\n");
  expect(refusal(["--config", file]).message).toBe(
    `configuration file ${file}: expected a mapping of settings at the top`,
  );
  expect(refusal(["--config", fileWith("http: [")]).facts.faults).toMatchObject([
    { code: "unreadable_file" },
  ]);
  expect(refusal(["--config", fileWith("http: 1\nhttp: 2\n")]).message).toMatch(
    /: line 2, column 1: a name is there twice$/,
  );
});

test("a folder, a pipe and bytes that are no text are refused as files, and at once", () => {
  expect(refusal(["--config", folder]).message).toContain(`${folder}: it is a folder, and no file; expected`);
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  expect(refusal(["--config", pipe]).message).toContain("it is a pipe or a device, and no file");
  const bytes = join(folder, "bytes.yaml");
  writeFileSync(bytes, Buffer.from([0xff, 0xfe, 0x00]));
  expect(refusal(["--config", bytes]).message).toContain("it is not UTF-8");
});

test.each([
  ['picker: {share: {url: "nats://u:hunter2@h:1"\n', "line 2, column 1: a bracket is not closed"],
  ["tokens: hunter2: x\n", "line 1, column 9: a second colon in one line"],
  ["http:\n\tport: hunter2\n", "line 2, column 1: a tab as indentation"],
  ["http: {}\n---\nhunter2: 1\n", "line 2, column 1: a second document begins"],
  ["http: *hunter2\n", "its aliases name no anchor before them"],
  ['http: "hunter2\\q"\n', "line 1, column "],
])("what is no YAML is told by its place, and without what stands there: %j", (text, expected) => {
  const { message } = refusal(["--config", fileWith(text)]);
  expect(message).toContain(`: ${expected}`);
  expect(message).not.toContain("hunter2");
});

test("what is no mapping in a list is told in words", () => {
  const file = fileWith("engines: [7]\nhealth: { dependencies: [null] }\n");
  const { message } = refusal(["--config", file]);
  expect(message).toContain("engines.0: 7 is not usable; expected a mapping of names and values");
  expect(message).toContain(
    "health.dependencies.0: null is not usable; expected a mapping of names and values",
  );
});

test("a flag in place of a value is a missing value", () => {
  expect(refusal(["--http-port", "--log-level", "1"]).message).toContain("--http-port: needs a value");
});

test("two engines of one id are refused, and the second is named", () => {
  const file = fileWith(
    "engines:\n  - { id: a, model: m, endpoint: 'tcp://h:1' }\n  - { id: a, model: m, endpoint: 'tcp://h:2' }\n",
  );
  expect(refusal(["--config", file]).message).toBe(
    `file ${file}, line 3: engines.1.id: "a" is not usable; expected an id of its own; engines.0 has the same`,
  );
});

test("two engines on one socket are refused, the ranks of one that counts ports up included", () => {
  const file = fileWith(
    "engines:\n  - { id: a, model: m, endpoint: 'tcp://h:1', dp_size: 2 }\n  - { id: b, model: m, endpoint: 'tcp://h:2' }\n",
  );
  expect(refusal(["--config", file]).message).toBe(
    `file ${file}, line 3: engines.1.endpoint: "tcp://h:2" is not usable; expected an endpoint of its own, or a topic of its own; engines.0 has tcp://h:2 too`,
  );
});

test("everything that is wrong is told at once, from every source", () => {
  const file = fileWith("limits:\n  contexts: many\n  qeue_bytes: 1\n");
  const { message, facts } = refusal(["--config", file, "--port", "x", "--loud"], {
    KVSYNC_INGEST_WORKERS: "0",
  });
  expect(message.split("\n  ")).toEqual([
    "5 settings cannot be used:",
    "flags: --loud: no such flag (--help lists them)",
    'flag --port: http.port: "x" is not usable; expected an integer from 0 to 65535',
    "environment KVSYNC_INGEST_WORKERS: ingest.workers: 0 is not usable; expected an integer from 1 to 16",
    `file ${file}, line 2: limits.contexts: "many" is not usable; expected an integer from 1 to 4000`,
    `file ${file}, line 3: limits.qeue_bytes: no such setting`,
  ]);
  expect(facts.faults.map(({ code }) => code)).toEqual([
    "unknown_setting",
    "unusable_setting",
    "unusable_setting",
    "unusable_setting",
    "unknown_setting",
  ]);
});

test("a section with nothing in it is no section, and a text may look like a number", () => {
  const file = fileWith("http:\nengines:\n");
  const { http, snapshot } = settingsOf(["--config", file], { KVSYNC_SNAPSHOT_DIRECTORY: "2026" });
  expect([http.port, snapshot.directory]).toEqual([7070, "2026"]);
});

test.each(
  SETTING_ROWS.filter(({ environment }) => environment.length > 0).map(
    (row) => [row.path.join("."), row] as const,
  ),
)("an unusable %s is named with its variable, its value and what is expected", (setting, row) => {
  const [name = ""] = row.environment;
  // A text setting takes any text, but none of them a list of them.
  const file = row.isText
    ? fileWith(JSON.stringify(row.path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), [1])))
    : null;
  if (file !== null && row.path.length > 1) {
    expect(refusal(["--config", file]).message).toBe(
      `file ${file}, line 1: ${setting}: [1] is not usable; expected ${row.facts.expected}`,
    );
  } else {
    expect(refusal([], { [name]: "-1x" }).message).toBe(
      `environment ${name}: ${setting}: ${row.facts.textForm === "list" ? '["-1x"]' : '"-1x"'} is not usable; expected ${row.facts.expected}`,
    );
  }
});

test("the settings in effect name their sources, and as a file they mean the same", () => {
  const file = fileWith(
    "http: { port: 1001 }\nengines:\n  - { id: a, model: m, endpoint: 'tcp://h:1', dp_size: 2 }\n",
  );
  const reading = readSettings(["--config", file, "--host", "127.0.0.2"], { AIBRIX_KV_EVENT_WORKERS: "2" });
  const text = effectiveSettings(reading);
  expect(text).toContain("host: 127.0.0.2 # flag --host\n");
  expect(text).toContain(`port: 1001 # file ${file}\n`);
  expect(text).toContain("workers: 2 # environment AIBRIX_KV_EVENT_WORKERS\n");
  expect(settingsOf(["--config", fileWith(text)])).toEqual(reading.settings);
});

test("credentials in addresses are shown neither by --print-config nor by an error", () => {
  const name = "KVSYNC_SYNC_TOKENIZER_ENDPOINT";
  const shown = effectiveSettings(readSettings([], { [name]: "http://me:secret@host/" }));
  expect(shown).toContain(`tokenizer_endpoint: http://***@host/ # environment ${name}`);
  expect(refusal([], { [name]: "ftp://me:secret@host/" }).message).toContain(
    '"ftp://***@host/" is not usable',
  );
  const odd = effectiveSettings(readSettings([], { [name]: "http://me:sec@ret@host/" }));
  expect(odd).toContain("tokenizer_endpoint: http://***@host/ ");
  for (const address of ["http://me:sec/ret@host", "http://me:sec@ret@h st", "http://host/?key=secret@ret"]) {
    expect(refusal([], { [name]: address }).message).toContain(`${name}: sync.tokenizer_endpoint: "http://`);
    expect(refusal([], { [name]: address }).message).not.toMatch(/sec|ret/);
  }
});

test("sync.enabled decides alone; AIBrix's switch without its tokenizer is off, and names setting and variable", () => {
  expect(decideSync(settingsOf([]).sync)).toEqual({ on: true });
  const asked = { AIBRIX_KV_EVENT_SYNC_ENABLED: "true" };
  expect(decideSync(settingsOf([], asked).sync)).toEqual({
    on: false,
    asked: true,
    reason:
      "sync.remote_tokenizer (AIBRIX_USE_REMOTE_TOKENIZER) must be true, since sync.aibrix_enabled (AIBRIX_KV_EVENT_SYNC_ENABLED) is true; sync.enabled: true follows engines without a tokenizer",
  });
  expect(decideSync(settingsOf(["--sync-enabled", "true"]).sync)).toEqual({ on: true });
  expect(decideSync(settingsOf(["--sync-enabled", "true"], asked).sync)).toEqual({ on: true });
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

test("help and the reference list every setting with its flags, variables and what is expected", () => {
  const pages = [helpText(), settingsReference()];
  for (const { path, flags, environment, facts } of SETTING_ROWS) {
    for (const page of pages) {
      for (const flag of flags) expect(page).toContain(`--${flag}`);
      for (const name of environment) expect(page).toContain(name);
      expect(page).toContain(flags.length > 0 ? facts.expected : path.join("."));
    }
  }
  expect(requestOf(["--port", "x", "--help"])).toBe("help");
});

test("engines that connect and CURVE exclude each other, and the message names the engine", () => {
  const path = join(mkdtempSync(join(tmpdir(), "kvsync-bind-")), "kvsync.yaml");
  writeFileSync(
    path,
    `engines: [{ id: a, model: m, endpoint: "tcp://0.0.0.0:5557", bind: true }]\ncurve: { server_key_file: k }\n`,
  );
  expect(() => readSettings(["--config", path], {})).toThrow(/curve\.server_key_file.*engine a has bind/);
  rmSync(join(path, ".."), { recursive: true });
});

test.each([
  ["engines: &a [*a]\n", /configuration file .*kvsync\.yaml: an alias refers to a value that contains it/],
  [
    "http: &a { port: *a }\n",
    /configuration file .*kvsync\.yaml: an alias refers to a value that contains it/,
  ],
  ["snapshot: { warm_from: not a url }\n", /snapshot\.warm_from.*expected base URLs/],
])("%j is refused by its place and what was expected", (text, message) => {
  const path = join(mkdtempSync(join(tmpdir(), "kvsync-wrong-")), "kvsync.yaml");
  writeFileSync(path, text);
  expect(() => readSettings(["--config", path], {})).toThrow(message);
  rmSync(join(path, ".."), { recursive: true });
});

test("own keys of the daemon need an engine with a key, and a key in an entry is one", () => {
  const read = (lines: string) => {
    const path = join(mkdtempSync(join(tmpdir(), "kvsync-curve-")), "kvsync.yaml");
    writeFileSync(path, `curve: { client_key_file: k }\n${lines}`);
    try {
      return readSettings(["--config", path], {}).settings;
    } finally {
      rmSync(join(path, ".."), { recursive: true });
    }
  };
  const entry = (more: string): string =>
    `engines: [{ id: a, model: m, endpoint: "tcp://10.0.0.1:5557"${more} }]\n`;
  const key = `, curve_server_key: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"`;
  expect(() => read(entry(""))).toThrow(/curve\.server_key_file.*no engine has its own/);
  expect(read(entry(key)).engines[0]?.curveServerKey).toBe("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
  expect(read("discovery: { kubernetes: { enabled: true } }\n").curve.client_key_file).toBe("k");
  expect(() => read(entry(`${key}, bind: true`))).toThrow(/engines\.0\.curve_server_key.*no key with bind/);
  expect(() => read(entry(`, curve_server_key: short`))).toThrow(
    /engines\.0\.curve_server_key.*a CURVE key of 40 characters/,
  );
});

test.each([
  ["10.0.0.10", true],
  ["10.0.0.10:5353", true],
  ["fd00::10", true],
  ["[fd00::10]:5353", true],
  ["dns.example", false],
  ["10.0.0.10:0", false],
  ["10.0.0.10:65536", false],
])("a DNS server may be %s: %s", (server, isUsable) => {
  const read = () => readSettings(["--discovery-dns-servers", server], {}).settings.discovery.dns_servers;
  if (isUsable) expect(read()).toEqual([server]);
  else expect(read).toThrow(/discovery\.dns_servers/);
});

test.each([
  ["memory", "that of a check of the daemon"],
  ["gateway", "repeated"],
])("a dependency named %s, which is %s, is refused: one result would hide the other", (name) => {
  const entry = (own: string): string => `    - { name: ${own}, url: "http://h:1" }\n`;
  const path = fileWith(`health:\n  dependencies:\n${entry("gateway")}${entry(name)}`);
  expect(refusal(["--config", path]).message).toContain("expected a name that no other check has");
});

test.each([
  ["{ model: a }", /models\.0\.endpoint: is missing; expected endpoint, or tokenizer_file and config_file/],
  [
    "{ model: a, tokenizer_file: /t }",
    /models\.0\.config_file: is missing; expected the tokenizer_config\.json of/,
  ],
  ["{ model: a, config_file: /c }", /models\.0\.tokenizer_file: is missing; expected the tokenizer\.json of/],
  [
    "{ model: a, endpoint: 'http://h', template: local }",
    /models\.0\.template: "local" .* expected remote, or/,
  ],
  [
    "{ model: a, endpoint: 'http://h', template: both }",
    /models\.0\.template: "both" .* expected remote or local/,
  ],
  [
    "{ model: a, tokenizer_file: /t, config_file: /c, template: local }",
    /models\.0\.endpoint: is missing; expected an endpoint to compare the template with, or sync\.tokenizer_endpoint/,
  ],
  [
    "{ model: a, endpoint: here }",
    /tokenizer\.models\.0\.endpoint: "here" is not usable; expected a base URL/,
  ],
  ["{ endpoint: 'http://h' }", /tokenizer\.models\.0\.model: is missing; expected a model name/],
  ["{ model: a, endpoint: 'http://h', engine: tgi }", /models\.0\.engine: "tgi" .* expected vllm or sglang/],
  ["{ model: a, endpoint: 'http://h', port: 1 }", /tokenizer\.models\.0\.port: no such setting/],
  ["{ model: default, endpoint: 'http://h' }", /models\.0\.model: "default" .* expected another name/],
  [
    "{ model: a, endpoint: 'http://h' }, { model: a, endpoint: 'http://i' }",
    /models\.1\.model: "a" .* expected a model of its own; tokenizer\.models\.0 has the same/,
  ],
])("the tokenizers [%s] are refused with the place and what was expected", (entries, message) => {
  const path = fileWith(`tokenizer:\n  models: [${entries}]\n`);
  expect(refusal(["--config", path]).message).toMatch(message);
});

test("a model's tokenizer is vLLM's unless it says so, and credentials in its address are not shown", () => {
  const path = fileWith("tokenizer:\n  models: [{ model: a, endpoint: 'http://user:hush@h/x' }]\n");
  const reading = readSettings(["--config", path], {});
  expect(reading.settings.tokenizer.models).toEqual([
    {
      model: "a",
      endpoint: "http://user:hush@h/x",
      engine: "vllm",
      tokenizer_file: null,
      config_file: null,
      template: "remote",
    },
  ]);
  expect(effectiveSettings(reading)).not.toContain("hush");
});

test("a local template may be compared with the tokenizer of all models", () => {
  const path = fileWith(
    "sync: { tokenizer_endpoint: 'http://h' }\ntokenizer: { models: [{ model: a, tokenizer_file: /t, config_file: /c, template: local }] }\n",
  );
  expect(readSettings(["--config", path], {}).settings.tokenizer.models[0]?.template).toBe("local");
});
