/**
 * Writes workloads as Mooncake traces, the counterpart of mooncake.ts: one request a line while
 * they are made, for any number of them. The format has no field for sessions, adapters and the ids
 * of answers, so they are left out. Blocks of adapters have ids of their own already, and later
 * turns repeat the ids of answers.
 */
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import type { Workload, WorkloadRequest } from "../workload/workload.ts";
import { TRACE_BLOCK_TOKENS, TraceError } from "./request.ts";

/**
 * Writes a file.
 *
 * @param path - overwritten.
 * @param workload - of blocks of 512 tokens; arrivals are rounded down to milliseconds.
 * @throws TraceError `block_tokens_wrong`, `trace_unwritable`.
 */
export async function writeMooncakeTrace(path: string, workload: Workload): Promise<void> {
  const { blockTokens } = workload;
  if (blockTokens !== TRACE_BLOCK_TOKENS) {
    throw new TraceError(
      { code: "block_tokens_wrong", actual: blockTokens, expected: TRACE_BLOCK_TOKENS },
      `${workload.name} has blocks of ${blockTokens} tokens; expected ${TRACE_BLOCK_TOKENS}, a trace's (no length factor)`,
    );
  }
  try {
    await pipeline(Readable.from(lines(workload.requests())), createWriteStream(path));
  } catch (cause) {
    if (cause instanceof TraceError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TraceError({ code: "trace_unwritable", path }, `cannot write ${path}: ${reason}`, { cause });
  }
}

function* lines(requests: Iterable<WorkloadRequest>): Generator<string, void, undefined> {
  for (const { arrivalMs, inputTokens, outputTokens, hashIds } of requests) {
    const row = {
      timestamp: Math.floor(arrivalMs),
      input_length: inputTokens,
      output_length: outputTokens,
      hash_ids: hashIds,
    };
    yield `${JSON.stringify(row)}\n`;
  }
}
