/** A run's requests as CSV, one line each, for other charts. */
import type { RequestColumns } from "./simulation-result.ts";

const HEADER =
  "request,arrival_s,queue_s,first_token_s,end_to_end_s,input_tokens,output_tokens,prompt_blocks,hit_blocks,best_hit_blocks,engine,preemptions";
/** Lines are handed on in chunks of so many, so that a million of them are never one text. */
const CHUNK_LINES = 1_000;
/** Microseconds: more than the columns hold. */
const DIGITS = 6;

/**
 * Writes the lines.
 *
 * @param columns - of all requests.
 * @returns pieces of text; the first line names the fields. Seconds of a refused request are −1.
 */
export function* requestLines(columns: RequestColumns): Generator<string, void, undefined> {
  yield `${HEADER}\n`;
  const count = columns.arrivalSeconds.length;
  for (let first = 0; first < count; first += CHUNK_LINES) {
    let text = "";
    for (let i = first; i < Math.min(count, first + CHUNK_LINES); i++) text += `${lineOf(columns, i)}\n`;
    yield text;
  }
}

function lineOf(columns: RequestColumns, i: number): string {
  const seconds = (column: Float32Array | Float64Array): string => (column[i] ?? 0).toFixed(DIGITS);
  return [
    i,
    seconds(columns.arrivalSeconds),
    seconds(columns.queueSeconds),
    seconds(columns.firstTokenSeconds),
    seconds(columns.endToEndSeconds),
    columns.inputTokens[i],
    columns.outputTokens[i],
    columns.promptBlocks[i],
    columns.hitBlocks[i],
    columns.bestHitBlocks[i],
    columns.engine[i],
    columns.preemptions[i],
  ].join(",");
}
