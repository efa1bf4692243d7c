/**
 * Reads a Mooncake trace: JSON Lines, one request a line, exactly four fields. Strict, because a wrong workload gives
 * right-looking figures: the first flaw ends the reading with a TraceError that has file, line,
 * field, value and expectation.
 *
 * Streams the file in chunks and holds one line of at most LINE_BYTES_MAX; the requests satisfy T1
 * and T2 (request.ts). It makes no tokens: that is prompt.ts.
 */
import { createReadStream } from "node:fs";

import {
  INPUT_TOKENS_MAX,
  OUTPUT_TOKENS_MAX,
  TRACE_BLOCK_TOKENS,
  TraceError,
  type TraceRequest,
} from "./request.ts";

/** A line of 1,048,576 tokens has 2,048 ids of up to ten digits: 24 kB. Ten times that is not a trace's line. */
const LINE_BYTES_MAX = 262_144;

/** 800 times the conversation trace; the requests are held in memory during a run. */
const REQUESTS_MAX = 10_000_000;

/** A week. */
const ARRIVAL_MS_MAX = 7 * 24 * 3_600_000;

const U32_MAX = 4_294_967_295;
const NEWLINE = 0x0a;
const GZIP_MAGIC = [0x1f, 0x8b] as const;
const BYTE_ORDER_MARK = "\ufeff";
const QUOTED_CHARACTERS_MAX = 60;
const FIELDS = ["timestamp", "input_length", "output_length", "hash_ids"] as const;
type Field = (typeof FIELDS)[number];

/**
 * Reads a trace file, request by request.
 *
 * @param path - a JSON Lines file.
 * @returns the requests in the file's order; blank lines are not allowed but for one at the end; a byte order mark is skipped.
 * @throws TraceError `trace_unreadable`, `trace_empty`, `trace_too_long`, `line_too_long`, `line_not_json`,
 * `field_missing`, `field_unknown`, `field_wrong`.
 */
export async function* readMooncakeTrace(path: string): AsyncGenerator<TraceRequest, void, undefined> {
  let line = 0;
  let previousMs = 0;
  for await (const text of readLines(path)) {
    line += 1;
    if (line > REQUESTS_MAX) {
      throw new TraceError(
        { code: "trace_too_long", path, requestsMax: REQUESTS_MAX },
        `${path} has more than ${REQUESTS_MAX} requests`,
      );
    }
    const request = parseLineOf(path, text, line, previousMs);
    previousMs = request.arrivalMs;
    yield request;
  }
  if (line === 0) {
    throw new TraceError({ code: "trace_empty", path }, `${path} is empty; expected one request a line`);
  }
}

/** As parseMooncakeLine, with the file's name in front of what is wrong: a comparison may read several. */
function parseLineOf(path: string, text: string, line: number, previousMs: number): TraceRequest {
  const isMarked = line === 1 && text.startsWith(BYTE_ORDER_MARK);
  try {
    return parseMooncakeLine(isMarked ? text.slice(BYTE_ORDER_MARK.length) : text, line, previousMs);
  } catch (cause) {
    if (!(cause instanceof TraceError)) throw cause;
    throw new TraceError(cause.facts, `${path}: ${cause.message}`, { cause });
  }
}

/**
 * Reads a whole trace into memory, about 8 bytes per block reference.
 *
 * @param path - a JSON Lines file.
 * @param requestsMax - read no more than this many; the rest of the file is not looked at.
 * @returns the requests in order of arrival.
 * @throws TraceError as readMooncakeTrace.
 */
export async function loadMooncakeTrace(path: string, requestsMax?: number): Promise<TraceRequest[]> {
  const requests: TraceRequest[] = [];
  for await (const request of readMooncakeTrace(path)) {
    requests.push(request);
    if (requests.length === requestsMax) break;
  }
  return requests;
}

/**
 * Reads one line.
 *
 * @param text - the line without its end.
 * @param line - its number, from 1.
 * @param previousMs - the arrival of the line before; 0 for the first.
 * @returns the request.
 * @throws TraceError `line_not_json`, `field_missing`, `field_unknown`, `field_wrong`.
 */
export function parseMooncakeLine(text: string, line: number, previousMs: number): TraceRequest {
  const row = parseObject(text, line);
  for (const field of FIELDS) {
    if (!Object.hasOwn(row, field)) {
      throw new TraceError(
        { code: "field_missing", line, field },
        `line ${line}: field ${field} is missing; expected exactly ${FIELDS.join(", ")}`,
      );
    }
  }
  for (const field of Object.keys(row)) {
    if (!FIELDS.some((known) => known === field)) {
      throw new TraceError(
        { code: "field_unknown", line, field: quote(field) },
        `line ${line}: unknown field ${quote(field)}; expected exactly ${FIELDS.join(", ")}`,
      );
    }
  }
  const arrivalMs = integerField(row, line, "timestamp", 0, ARRIVAL_MS_MAX);
  if (arrivalMs < previousMs) {
    throw wrong(
      line,
      "timestamp",
      arrivalMs,
      `at least ${previousMs}, the line before's: arrivals never go back`,
    );
  }
  const inputTokens = integerField(row, line, "input_length", 1, INPUT_TOKENS_MAX);
  const outputTokens = integerField(row, line, "output_length", 1, OUTPUT_TOKENS_MAX);
  return { arrivalMs, inputTokens, outputTokens, hashIds: idsField(row, line, inputTokens) };
}

function parseObject(text: string, line: number): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TraceError({ code: "line_not_json", line }, `line ${line}: not JSON: ${quote(text)}`, {
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TraceError({ code: "line_not_json", line }, `line ${line}: not a JSON object: ${quote(text)}`);
  }
  return value as Record<string, unknown>;
}

function integerField(
  row: Readonly<Record<string, unknown>>,
  line: number,
  field: Field,
  min: number,
  max: number,
): number {
  const value = row[field];
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw wrong(line, field, value, `an integer from ${min} to ${max}`);
  }
  return value;
}

function idsField(
  row: Readonly<Record<string, unknown>>,
  line: number,
  inputTokens: number,
): readonly number[] {
  const value = row["hash_ids"];
  if (!Array.isArray(value)) throw wrong(line, "hash_ids", value, "an array of ids");
  const expectedCount = Math.ceil(inputTokens / TRACE_BLOCK_TOKENS);
  if (value.length !== expectedCount) {
    const expected = `${expectedCount} ids, one per started ${TRACE_BLOCK_TOKENS}-token block of ${inputTokens} tokens`;
    throw wrong(line, "hash_ids", `${value.length} ids`, expected);
  }
  value.forEach((id: unknown, position) => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > U32_MAX) {
      throw wrong(line, `hash_ids[${position}]`, id, `an integer from 0 to ${U32_MAX}`);
    }
  });
  return value as number[];
}

function wrong(line: number, field: string, value: unknown, expected: string): TraceError {
  const actual = typeof value === "string" && value.endsWith(" ids") ? value : quote(JSON.stringify(value));
  return new TraceError(
    { code: "field_wrong", line, field, actual, expected },
    `line ${line}: ${field} is ${actual}; expected ${expected}`,
  );
}

/** Foreign text goes to terminals: control characters are shown as U+FFFD. */
function quote(text: string): string {
  const shown = text.slice(0, QUOTED_CHARACTERS_MAX).replaceAll(/\p{Cc}/gu, "\ufffd");
  return text.length <= QUOTED_CHARACTERS_MAX ? shown : `${shown}…`;
}

/** Splits a file at newlines. Node's readline has no limit on a line's length, hence this. */
async function* readLines(path: string): AsyncGenerator<string, void, undefined> {
  let carried: Buffer[] = [];
  let carriedBytes = 0;
  let line = 1;
  const take = (part: Buffer): string => {
    const text = Buffer.concat([...carried, part]).toString("utf8");
    carried = [];
    carriedBytes = 0;
    line += 1;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  };
  for await (const chunk of readChunks(path)) {
    let begin = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, begin)) {
      checkLineBytes(carriedBytes + end - begin, line, path);
      yield take(chunk.subarray(begin, end));
      begin = end + 1;
    }
    carried.push(chunk.subarray(begin));
    carriedBytes += chunk.length - begin;
    checkLineBytes(carriedBytes, line, path);
  }
  if (carriedBytes > 0) yield take(Buffer.alloc(0));
}

function checkLineBytes(bytes: number, line: number, path: string): void {
  if (bytes <= LINE_BYTES_MAX) return;
  throw new TraceError(
    { code: "line_too_long", line, bytesMax: LINE_BYTES_MAX },
    `${path}: line ${line} is longer than ${LINE_BYTES_MAX} bytes; expected one request a line`,
  );
}

async function* readChunks(path: string): AsyncGenerator<Buffer, void, undefined> {
  const stream = createReadStream(path);
  let isFirst = true;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (isFirst && GZIP_MAGIC.every((byte, at) => chunk[at] === byte)) {
        throw new TraceError(
          { code: "trace_unreadable", path },
          `${path} is compressed by gzip; expected JSON Lines as they are: gunzip it first`,
        );
      }
      isFirst = false;
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof TraceError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TraceError({ code: "trace_unreadable", path }, `cannot read ${path}: ${reason}`, { cause });
  }
}
