/**
 * Two daemons that follow the same engine, one with the main thread alone and one with three threads. The same questions,
 * good and bad, have the same answers. They leave the same counts and log lines. Numbers are of
 * src/lookup-threads/lookup-threads.ts and src/query/body-lookup.ts, R5 of src/http/request-reading.ts.
 */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import { OPEN_MAX } from "../src/lookup-threads/lookup-threads.ts";
import type { MatchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const JSON_HEADERS = { "content-type": "application/json" };
const LOG = ["--log-level", "5"];
const LOOKUP = { model: "test/model", token_ids: [1, 2, 3] };

let engine: TestEngine;
let alone: DaemonInProcess;
let threaded: DaemonInProcess;
let prompt: number[];

beforeAll(async () => {
  engine = await TestEngine.start({ id: "engine-0", loraNames: ["sql"] }, 1);
  await engine.serve(0);
  [alone, threaded] = await Promise.all([
    startInProcess(LOG),
    startInProcess([...LOG, "--http-threads", "3"]),
  ]);
  for (const { app } of [alone, threaded]) {
    const url = "/api/v1/engines";
    await app.inject({ method: "POST", url, headers: JSON_HEADERS, payload: engine.entry });
  }
  await engine.serve(10);
  await engine.serve(2, { loraName: "sql" });
  prompt = [...engine.firstPrompt];
  for (const { app } of [alone, threaded])
    await until("the daemon is in sync", async () => {
      const { engines } = (await app.inject("/api/v1/engines")).json<{
        engines: { ranks: { trust: string; last_sequence_number: number | null }[] }[];
      }>();
      const rank = engines[0]?.ranks[0];
      return rank?.trust === "exact" && rank.last_sequence_number === engine.engine.lastSequenceNumber;
    });
});

afterAll(async () => {
  await Promise.all([alone.stop(), threaded.stop()]);
  await engine.stop();
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

const CHANGING_HEADERS = new Set(["date", "x-kvsync-instance", "content-length"]);

/** An answer without the parts that differ between two moments or two daemons. */
async function ask({ app }: DaemonInProcess, body: string, url = "/api/v1/match"): Promise<Answer> {
  const response = await app.inject({ method: "POST", url, headers: JSON_HEADERS, payload: body });
  const headers = Object.fromEntries(
    Object.entries(response.headers).filter(([name]) => !CHANGING_HEADERS.has(name)),
  );
  const changing = /"(age_seconds|trust_since)":("[^"]*"|[\d.e-]+)/g;
  return { status: response.statusCode, headers, body: response.body.replace(changing, '"$1":0') };
}

/** Bodies by what is special about them. */
function bodies(): Record<string, string> {
  const lookup = (fields: object): string =>
    JSON.stringify({ model: "test/model", token_ids: prompt, ...fields });
  const deep = `${"[".repeat(200)}${"]".repeat(200)}`;
  return {
    tokens: lookup({}),
    "tokens with every option": lookup({
      block_size: 16,
      top_k: 1,
      include_unmatched: true,
      workers: ["engine-0", "none"],
    }),
    "an adapter": lookup({ lora_name: "sql" }),
    "an adapter as the model": lookup({ model: "sql" }),
    "a salt": lookup({ cache_salt: "s" }),
    "no tokens": lookup({ token_ids: [] }),
    hashes: JSON.stringify({ model: "test/model", prefix_hashes: ["1", "0x2"] }),
    media: lookup({ mm_features: [{ identifier: "cat", offset: 0, length: 4 }] }),
    "white space": `  ${lookup({})}\n`,
    "an escape": lookup({}).replace("test/model", String.raw`test\u002fmodel`),
    "a prompt without a tokenizer": JSON.stringify({ model: "test/model", prompt: 'about "token_ids"' }),
    "a token of the wrong kind": lookup({ token_ids: [1, "2"] }),
    "too large a token": lookup({ token_ids: [2 ** 32] }),
    "a hash of the wrong kind": JSON.stringify({ model: "test/model", prefix_hashes: ["1", "x"] }),
    "two inputs": lookup({ prefix_hashes: ["1"] }),
    "an unknown field": lookup({ token_idz: [] }),
    "an unknown model": lookup({ model: "nobody/model" }),
    "a wrong block size": lookup({ block_size: 32 }),
    "no object": '["token_ids"]',
    "no JSON": '{"token_ids": [1, 2',
    "two documents": `${lookup({})}${lookup({})}`,
    "a byte order mark": `\uFEFF${lookup({})}`,
    "too deep": `{"token_ids": ${deep}}`,
    "a prototype": `{"__proto__": {}, ${lookup({}).slice(1)}`,
    "a constructor": `{"constructor": {"prototype": {}}, ${lookup({}).slice(1)}`,
    nothing: "",
  };
}

test("H1, H2, R5: any body has the same answer with any number of threads: status, headers and text", async () => {
  const differing: object[] = [];
  const statuses = new Set<number>();
  for (const [name, body] of Object.entries(bodies())) {
    for (const url of ["/api/v1/match", "/api/v1/match?block_size=16"]) {
      const [expected, actual] = await Promise.all([ask(alone, body, url), ask(threaded, body, url)]);
      statuses.add(expected.status);
      if (JSON.stringify(actual) !== JSON.stringify(expected))
        differing.push({ name, url, expected, actual });
    }
  }
  expect(differing).toEqual([]);
  expect([...statuses].sort()).toEqual([200, 400, 404, 422]);
});

test("H2: threads answer lookups by tokens and hashes, and leave errors, prompts and odd JSON to the main thread", async () => {
  const answered: string[] = [];
  for (const [name, body] of Object.entries(bodies()))
    if ((await threaded.daemon.lookupThreads?.answer(Buffer.from(body))) != null) answered.push(name);
  expect(answered).toEqual([
    "tokens",
    "tokens with every option",
    "an adapter",
    "an adapter as the model",
    "a salt",
    "no tokens",
    "hashes",
    "media",
    "white space",
  ]);
});

test("answers of threads are counted, logged and shown on the web page like those of the main thread", async () => {
  const counts = async ({ app }: DaemonInProcess): Promise<Record<string, string>> => {
    const page = (await app.inject("/metrics")).body;
    const names =
      /^(\w*(lookup|routing|http_request|match_percentage|indexer_operation)\w*(_total|_count)(\{.*\})?) (\S+)$/gm;
    return Object.fromEntries(
      [...page.matchAll(names)].map(([, name = "", , , , value = ""]) => [name, value] as const),
    );
  };
  const told = ({ log }: DaemonInProcess): object[] =>
    log.filter(({ event }) => event === "lookup_answered").map(({ facts }) => ({ ...facts }));
  const seen = async (daemon: DaemonInProcess) => {
    const before = await counts(daemon);
    const lines = told(daemon).length;
    const mark = daemon.daemon.lookup.tally.mark().cells.slice(0, 3);
    for (const body of Object.values(bodies())) await ask(daemon, body);
    const after = Object.entries(await counts(daemon)).map(([name, value]) => [
      name,
      Number(value) - Number(before[name] ?? 0),
    ]);
    const cells = daemon.daemon.lookup.tally
      .mark()
      .cells.slice(0, 3)
      .map((count, i) => count - (mark[i] ?? 0));
    return {
      counts: Object.fromEntries(after) as Record<string, number>,
      lines: told(daemon).slice(lines),
      cells,
    };
  };
  const expected = await seen(alone);
  expect(await seen(threaded)).toEqual(expected);
  expect(expected.lines.length).toBeGreaterThan(5);
  expect(
    Object.entries(expected.counts).filter(([name, count]) => name.startsWith(NAMESPACE) && count > 0).length,
  ).toBeGreaterThan(5);
});

test("L1: a lookup knows the engines that were registered before it; one whose engines change is the main thread's", async () => {
  const { daemon, app } = threaded;
  const other = { id: "other", model: "other/model", endpoint: "tcp://127.0.0.1:1" };
  const body = JSON.stringify({ ...LOOKUP, model: "other/model" });
  const register = () =>
    app.inject({ method: "POST", url: "/api/v1/engines", headers: JSON_HEADERS, payload: other });
  for (let round = 0; round < 5; round++) {
    expect((await ask(threaded, body)).status).toBe(404);
    expect((await register()).statusCode).toBe(201);
    const answered = await Promise.all([ask(threaded, body), ask(threaded, body), ask(threaded, body)]);
    expect(answered.map(({ status }) => status)).toEqual([200, 200, 200]);
    const open = daemon.lookupThreads?.answer(Buffer.from(body));
    expect(open).toBeInstanceOf(Promise);
    await daemon.discovery.registrations.remove("other");
    expect(await open).toBeNull();
  }
});

test("L2: threads take their share of lookups at once, the main thread the rest, and all are right", async () => {
  const body = JSON.stringify({ model: "test/model", token_ids: prompt });
  const answers = Array.from({ length: 3 * OPEN_MAX }, () =>
    threaded.daemon.lookupThreads?.answer(Buffer.from(body)),
  );
  expect(answers.map((answer) => answer !== null)).toEqual([
    ...Array<boolean>(2 * OPEN_MAX).fill(true),
    ...Array<boolean>(OPEN_MAX).fill(false),
  ]);
  for (const answer of answers) await answer;
  const all = await Promise.all(Array.from({ length: 50 }, () => ask(threaded, body)));
  const matched = all.map(({ body: text }) => (JSON.parse(text) as MatchAnswer).matches[0]?.matched_blocks);
  expect(new Set(matched)).toEqual(new Set([Math.floor(prompt.length / 16)]));
});
