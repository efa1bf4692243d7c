/** One planted mistake per rule, and its repaired form. */
import { describe, expect, test } from "vitest";

import { lintPassage } from "../lint.ts";
import { readPage } from "../markdown.ts";
import { readSource } from "../source-text.ts";
import { checkChangelog } from "./changelog.ts";
import { readSynonyms } from "./glossary.ts";
import { checkPnpm, checkReferences, checkSettings, type KnownNames } from "./references.ts";
import { checkColumns } from "./shape.ts";

const SYNONYMS = readSynonyms(
  "| term | meaning | elsewhere | not |\n| --- | --- | --- | --- |\n| worker | an engine | | instance |\n",
);

function rulesIn(markdown: string): readonly string[] {
  const page = readPage("page.md", markdown);
  return page.passages.flatMap((passage) => lintPassage(passage, SYNONYMS)).map(({ rule }) => rule);
}

const LONG = "The daemon reads one event and ".repeat(5);
const MISTAKES: Readonly<Record<string, readonly [wrong: string, right: string]>> = {
  "software-verb": ["The daemon tells you the reason.", "The daemon logs the reason."],
  nobody: ["Nobody has this token.", "No caller has this token."],
  idiom: ["The stream goes on.", "The stream continues."],
  metaphor: ["A stranger connects.", "An unknown peer connects."],
  filler: ["Simply restart it.", "Restart it."],
  contraction: ["It doesn't start.", "It does not start."],
  latin: ["Use a proxy, e.g. nginx.", "Use a proxy, for example nginx."],
  plural: ["It follows the engine(s).", "It follows the engines."],
  unit: ["It reconnects 147.4m times per second.", "It reconnects 8.8 times per minute."],
  elliptical: ["Null without one.", "It is null when no tokenizer is configured."],
  "fronted-of": ["Of two entries the first wins.", "The first of two entries wins."],
  "what-subject": ["What gets lost is replayed.", "Lost messages are replayed."],
  "one-subject": ["It is used when one is there.", "It is used when a cache is there."],
  "us-spelling": ["The behaviour is normalised.", "The behavior is normalized."],
  glossary: ["An instance answers.", "A worker answers."],
  "sentence-length": [`${LONG}.`, "The daemon reads one event."],
  heading: ["## What one sees", "## Example output"],
  backticks: ["Set buffer_steps first.", "Set `buffer_steps` first."],
};

describe("each rule of English finds its mistake and accepts the repaired sentence", () => {
  for (const [rule, [wrong, right]] of Object.entries(MISTAKES))
    test(rule, () => {
      expect(rulesIn(wrong)).toContain(rule);
      expect(rulesIn(right)).toEqual([]);
    });

  test("a heading may not end with a mark, nor begin each word with a capital", () => {
    expect(rulesIn("## Example output:")).toEqual(["heading"]);
    expect(rulesIn("## Example Output Here")).toEqual(["heading"]);
    expect(rulesIn("## Engines over CURVE")).toEqual([]);
  });

  test("code is not read as English", () => {
    expect(rulesIn("Call `tell_nobody`:\n\n```ts\n// simply told\n```\n")).toEqual([]);
  });
});

test("a line of Markdown wraps; a table and a link's address do not", () => {
  const words = "word ".repeat(25);
  const columns = (text: string): number => checkColumns(readPage("page.md", text)).length;
  expect(columns(words)).toBe(1);
  expect(columns(`| ${words} |`)).toBe(0);
  expect(columns(`[word](${"x".repeat(100)}) word`)).toBe(0);
  expect(columns(`\`\`\`\n${words}\n\`\`\``)).toBe(0);
});

describe("messages and comments in sources", () => {
  const found = (source: string): readonly string[] =>
    readSource("apps/x/src/x.ts", source).flatMap((passage) =>
      lintPassage(passage, []).map(({ line, rule }) => `${line} ${rule}`),
    );

  test("a message is read with its values as code, also when it is joined from parts", () => {
    expect(found('f();\nlog(`${name} is told by ` + "the engine itself");')).toEqual(["2 software-verb"]);
  });

  test("the comment that opens the file is read, and its pictures are not", () => {
    expect(found("/**\n * Waits.\n *\n *     told here\n *\n * It goes on.\n */\nf();")).toEqual(["6 idiom"]);
    expect(found("// Nobody reads this.\nf();")).toEqual(["1 nobody"]);
  });

  test("queries, paths and single words are not read", () => {
    expect(found('f("sum by (model) (rate(told[5m]))", "tell", "a/b/told.ts c d e");')).toEqual([]);
  });
});

describe("names in a page", () => {
  const KNOWN: KnownNames = {
    paths: new Set(["page.md", "docs", "docs/other.md", "packages/a/src/main.ts"]),
    anchors: new Map([
      ["page.md", new Set(["here"])],
      ["docs/other.md", new Set(["there"])],
    ]),
    metrics: new Set(["other_kv_lookups_total", "other_kv_seconds"]),
    settings: new Set(["http.port"]),
    spans: new Set(["http.route"]),
    variables: new Set(["KVSYNC_HTTP_PORT"]),
    routes: new Set(["/api/v1/engines/{}"]),
    flags: new Set(["--config"]),
    scripts: new Map([
      ["", new Set(["test"])],
      ["@kvsync/a", new Set(["bench"])],
    ]),
    pnpm: "npx pnpm@1.2.3",
  };
  const NAMES: Readonly<Record<string, readonly [wrong: string, right: string]>> = {
    "dead-link": ["[a](docs/gone.md)", "[a](docs/other.md)"],
    "dead-anchor": ["[a](docs/other.md#gone) [b](#gone)", "[a](docs/other.md#there) [b](#here)"],
    "unknown-metric": ["`other_kv_gone_total`", "`other_kv_lookups_total` `other_kv_seconds_bucket`"],
    "unknown-setting": ["`http.prot`", "`http.port` `http.route`"],
    "unknown-variable": ["`KVSYNC_HTTP_PROT`", "`KVSYNC_HTTP_PORT` `KVSYNC_SERVICE_HOST`"],
    "unknown-route": ["`GET /api/v1/engine`", "`DELETE /api/v1/engines/engine-0`"],
    "unknown-file": ["`packages/b/src/main.ts`", "`node packages/a/dist/main.js`"],
    "unknown-script": ["`npm run tset`", "`npm run test`"],
    "unknown-flag": [
      "`kvsync-daemon --confg x`",
      "`kvsync-daemon --config x` `helm install kvsync --set x=y`",
    ],
    pnpm: [
      "```sh\npnpm --filter @kvsync/a bench\n```",
      "```sh\nnpx pnpm@1.2.3 --filter @kvsync/a bench\n```",
    ],
  };
  const found = (text: string): readonly string[] =>
    checkReferences(readPage("page.md", text), KNOWN).map(({ rule }) => rule);

  for (const [rule, [wrong, right]] of Object.entries(NAMES))
    test(rule, () => {
      expect(found(wrong)).toContain(rule);
      expect(found(right)).toEqual([]);
    });
});

test.each([
  ["Messages are refused: limits.queue_mesages was reached.", ["limits.queue_mesages"]],
  ["Raise limits.queue_messages.", []],
  ["See limits.ts, data.limits.other and http://limits.example.", []],
])("a setting that a text of a source names exists: %j", (text, unknown) => {
  const known = { settings: new Set(["limits.queue_messages"]), spans: new Set<string>() };
  const passage = { kind: "message", file: "a.ts", line: 1, text } as const;
  expect(checkSettings(passage, known).map(({ found }) => found)).toEqual(unknown);
});

test.each([
  ["// Run: pnpm\n// --filter @kvsync/a bench", ["pnpm"]],
  [" * Run: pnpm\n *     --filter @kvsync/a bench", ["pnpm"]],
  ["<!-- Generated (pnpm turbo build). -->", ["pnpm"]],
  ['console.log("npx pnpm@1.2.2 run bench")', ["npx pnpm@1.2.2"]],
  ["npx pnpm@1.2.3 run bench; npx pnpm@1.2.3 turbo build", []],
  ['node_modules/.pnpm/x, pnpm("exec", "publint"), pnpm links its files', []],
] as const)("calls of pnpm in comments and texts have one form: %j", (text, found) => {
  expect(checkPnpm("a.ts", text, "npx pnpm@1.2.3").map((finding) => finding.found)).toEqual(found);
});

test("a changelog has dated versions, its sections in order, and upgrade notes first", () => {
  const found = (text: string): readonly string[] =>
    checkChangelog(readPage("CHANGELOG.md", text).passages).map((finding) => finding.found);
  expect(found("## [1.0.0] - 2026-01-02\n### Upgrade notes\n### Added\n### Fixed\n")).toEqual([]);
  expect(found("## [1.0.0]\n### Added\n")).toEqual(["[1.0.0]", "Added"]);
  expect(found("## [Unreleased]\n### Upgrade notes\n### Fixed\n### Added\n### News\n")).toEqual([
    "Added",
    "News",
  ]);
});
