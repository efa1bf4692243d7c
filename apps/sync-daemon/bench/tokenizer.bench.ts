/**
 * CPU time of the tokens of a conversation that grows, from the JSON of the question to ids. The code of a tokenizer thread renders
 * and encodes it, with its memory of segments and without. The vocabulary and the template are Qwen3's, the words those of this
 * repository's pages.
 *
 * Both ways take turns in one process, which measures its own CPU time, since other programs use the machine too.
 *
 *     node apps/sync-daemon/bench/tokenizer.bench.ts
 */
import { readdirSync, readFileSync } from "node:fs";
import { loadavg, cpus } from "node:os";
import { join } from "node:path";
import { version } from "node:process";

import { type OpenVocabulary, openVocabulary, tokenizeLocally } from "../dist/tokenizer/local-encoding.js";
import { CONFIG_FILE, TOKENIZER_FILE } from "../src/tokenizer/testing/qwen3.ts";

/** Where the conversation ends. */
const TOKENS = 64_000;
/** Of a question and its answer together. */
const TURN_TOKENS = 2400;
/** Characters of a token of these pages, roughly. */
const CHARACTERS = 3.6;
/** The last turns, of which medians are taken. */
const MEASURED = 7;

const pages = join(import.meta.dirname, "..", "..", "..", "docs");
const text = readdirSync(pages, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".md") && !name.startsWith("generated"))
  .sort()
  .map((name) => readFileSync(join(pages, name), "utf8"))
  .join("\n");

const files = { model: "m", tokenizerFile: TOKENIZER_FILE, configFile: CONFIG_FILE, isTemplateLocal: true };
const startedMs = performance.now();
const remembering = openVocabulary(files, 256 * 1024 * 1024);
const loadMs = performance.now() - startedMs;
const forgetting = openVocabulary(files, 0);

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function tokens(vocabulary: OpenVocabulary, body: string): number {
  const outcome = tokenizeLocally(vocabulary, body, 1e6);
  if (outcome.kind === "failed") throw new Error(outcome.reason);
  return outcome.tokens.length;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const messages: { role: string; content: string }[] = [];
const [withMemory, without]: [number[], number[]] = [[], []];
let at = 0;
let count = 0;
let grown = 0;
while (count < TOKENS) {
  for (const role of ["user", "assistant"]) {
    const length = Math.round((TURN_TOKENS * CHARACTERS) / 2);
    messages.push({ role, content: text.slice(at, at + length) });
    at += length;
  }
  const body = JSON.stringify({ model: "m", messages });
  const before = count;
  withMemory.push(cpuMs(() => (count = tokens(remembering, body))));
  without.push(cpuMs(() => tokens(forgetting, body)));
  grown = count - before;
}
const last = (values: readonly number[]): string => median(values.slice(-MEASURED)).toFixed(1);
console.log(
  `${cpus()[0]?.model ?? ""}, ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}, Node ${version}`,
);
console.log(`${messages.length / 2} turns, ${count} tokens at the end, ${grown} of them in the last turn`);
console.log(`medians of the last ${MEASURED} turns, CPU time:`);
console.log(`  segments remembered: ${last(withMemory)} ms (target 25)`);
console.log(`  nothing remembered:  ${last(without)} ms`);
console.log(
  `  a vocabulary is read and checked in ${(loadMs / 1000).toFixed(1)} s; resident ${Math.round(process.memoryUsage.rss() / 1e6)} MB with two`,
);
