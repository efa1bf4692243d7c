/**
 * Everything the index holds of a model, as a stream: for audits, by people and by router-sim.
 *
 *     header   one line of JSON, ended by \n: {"version":2,"model":…,"contexts":[{id, lora_name, block_size, lookahead}], "record_bytes":24, "columns":[…]}
 *     record   ┌ u64 prefix hash ┬ u32 context ┬ u32 rank slot ┬ u32 tier ┬ u32 copies ┐   little-endian, 24 bytes, until the end
 *
 * `context` is a position in the header's list, `copies` 0 when not known. `rank slot` is the holder: a `rank_slot` of
 * `GET /api/v1/engines`, or the `holder_slot` of a KV-cache group there (4,096 and above for all but main groups).
 *
 * Pages are read lock-free between other requests: the whole is consistent only while nothing is
 * being applied. To check that, compare the number of applied messages (a response header) before
 * and after.
 */

import type { PrefixReader } from "@kvsync/core";

const RECORD_BYTES = 24;
/** Words per row as the reader gives it: hash low, hash high, rank slot, tier, copies. */
const ROW_WORDS = 5;
/** Rows per page: a tenth of a millisecond of reading, 96 kB of response. */
const PAGE_ROWS = 4096;

/**
 * Streams a model's part of the index.
 *
 * @param model - its name.
 * @param reader - of the index; may be used by others between pages.
 * @returns byte chunks, each the consumer's.
 */
export function* dump(model: string, reader: PrefixReader): Generator<Buffer> {
  const contexts = reader.contexts().filter(({ key }) => key.model === model);
  const header = {
    version: 2,
    model,
    contexts: contexts.map(({ id, key }) => ({
      id,
      lora_name: key.loraName,
      block_size: key.blockSize,
      lookahead: key.lookahead,
    })),
    record_bytes: RECORD_BYTES,
    columns: ["prefix_hash:u64", "context:u32", "rank_slot:u32", "tier:u32", "copies:u32"],
  };
  yield Buffer.from(`${JSON.stringify(header)}\n`);
  const rows = new Uint32Array(PAGE_ROWS * ROW_WORDS);
  for (const [position, { id }] of contexts.entries()) {
    let cursor = 0;
    for (;;) {
      const page = reader.dump(id, cursor, rows);
      if (page.rows > 0) yield records(rows, page.rows, position);
      if (page.cursor < 0) break;
      cursor = page.cursor;
    }
  }
}

function records(rows: Uint32Array, count: number, context: number): Buffer {
  const words = new Uint32Array((count * RECORD_BYTES) / Uint32Array.BYTES_PER_ELEMENT);
  for (let i = 0; i < count; i++) {
    const from = i * ROW_WORDS;
    const to = i * 6;
    words[to] = rows[from] ?? 0;
    words[to + 1] = rows[from + 1] ?? 0;
    words[to + 2] = context;
    words[to + 3] = rows[from + 2] ?? 0;
    words[to + 4] = rows[from + 3] ?? 0;
    words[to + 5] = rows[from + 4] ?? 0;
  }
  return Buffer.from(words.buffer);
}
