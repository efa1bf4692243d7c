/**
 * A thread that renders and encodes with vocabularies from files. Half a megabyte of text takes half a second, and lookups do not wait for
 * it.
 *
 *     job {model, body} ─▶ local-encoding.ts ─▶ ids, moved to the asker
 *
 * One job at a time, in order; tokenizer-threads.ts keeps what waits. No text leaves the thread.
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert } from "@kvsync/core";

import {
  type OpenVocabulary,
  openVocabulary,
  type TokenizeJob,
  tokenizeLocally,
  type TokenizerThreadData,
  type TokenizerThreadMessage,
} from "./local-encoding.ts";
import type { SegmentCounts } from "./vocabulary.ts";
import { VocabularyError } from "./vocabulary.ts";

const port = parentPort;
assert(port !== null, "tokenizer-thread runs as a worker thread");
const { vocabularies, segmentBytes, tokensMax } = workerData as TokenizerThreadData;

function say(message: TokenizerThreadMessage, moved: ArrayBuffer[] = []): void {
  port?.postMessage(message, moved);
}

/** Null when a file was refused: the thread ends then. */
function openAll(): ReadonlyMap<string, OpenVocabulary> | null {
  const open = new Map<string, OpenVocabulary>();
  for (const files of vocabularies) {
    try {
      open.set(files.model, openVocabulary(files, segmentBytes));
    } catch (error) {
      if (!(error instanceof VocabularyError)) throw error;
      say({ kind: "refused", model: files.model, file: error.facts.file, message: error.message });
      return null;
    }
  }
  return open;
}

function countsOf(open: ReadonlyMap<string, OpenVocabulary>): SegmentCounts {
  let [hits, misses, bytes] = [0, 0, 0];
  for (const { vocabulary } of open.values()) {
    hits += vocabulary.counts.hits;
    misses += vocabulary.counts.misses;
    bytes += vocabulary.counts.bytes;
  }
  return { hits, misses, bytes };
}

const open = openAll();
if (open !== null) {
  port.on("message", ({ id, model, body }: TokenizeJob) => {
    const known = open.get(model);
    assert(known !== undefined, "a thread has the vocabulary of each job");
    const outcome = tokenizeLocally(known, body, tokensMax);
    const moved = outcome.kind === "tokens" ? [outcome.tokens.buffer as ArrayBuffer] : [];
    say({ kind: "done", id, outcome, counts: countsOf(open) }, moved);
  });
  say({ kind: "ready" });
}
