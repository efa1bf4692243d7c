/**
 * Constants of both sides of the kernel's boundary: limits, codes of outcomes and notes, and positions of fields in
 * records. Compiled by build.mjs into src/prefix-index/kernel-boundary.generated.ts, which TypeScript imports. So each fact has one
 * owner, the kernel's source. No part of the kernel itself.
 *
 * Fields of records are given as positions of u32 words, `…_BYTES` in bytes.
 */
import { Group, HOLDER_RECORD_LOG } from "./layout";
import { ContextRecord, DumpCursor } from "./dump";
import { ExportCursor, ExportRow } from "./export";
import { Reader } from "./match";

export { GROUPS_PER_RANK_MAX, HOLDER_SLOTS_MAX, LOOKAHEAD_MAX, RANK_SLOTS_MAX, READERS_MAX } from "./layout";
export {
  CONTEXT_GONE,
  COUNT_EVICTED,
  EVICTED,
  EVICTION_REASONS,
  EVICTION_WORDS,
  FAULT_WORDS,
  FAULTS_MAX,
  MEMORY_LIMIT,
  NOTE_HELD,
  NOTE_LAST_COPY,
  NOTE_MISSING,
  NOTE_RENAMED,
  NOTE_REPEATED,
  NOTED,
  REPEATED,
  REPEATS_COUNT,
  REPEATS_EACH,
  REPEATS_IF_ALL,
  STATS_WORDS,
  STORED,
  TOO_MANY_BLOCKS,
  UNKNOWN_PARENT,
} from "./codes";
export { LOST_TO_CONTEXTS, LOST_TO_MEMORY, LOST_TO_PREFIXES } from "./losses";
export { CHUNK, LAST, RUN, WINDOW } from "./groups";
export { DIGEST_TOKENS_MIN, DIGEST_WORDS } from "./chunk-digest";
export { ROW_WORDS as MATCH_ROW_WORDS } from "./match";
export { DUMP_ROW_WORDS } from "./dump";
export { EXPORT_ROWS_MIN, HOLDER_SLOT_MASK, HOLDER_TIER_SHIFT } from "./export";

export const READER_LINE: u32 = <u32>offsetof<Reader>("line") / 4;
export const READER_BLOCK_COUNT: u32 = <u32>offsetof<Reader>("blockCount") / 4;
export const READER_ROW_COUNT: u32 = <u32>offsetof<Reader>("rowCount") / 4;
export const READER_ROWS: u32 = <u32>offsetof<Reader>("rows") / 4;
export const READER_BLOCK_SIZE: u32 = <u32>offsetof<Reader>("blockSize") / 4;
export const READER_LOOKAHEAD: u32 = <u32>offsetof<Reader>("lookahead") / 4;
export const READER_CURSOR: u32 = <u32>offsetof<Reader>("cursor") / 4;
export const READER_HASHES: u32 = <u32>offsetof<Reader>("hashes") / 4;
export const READER_WORDS: u32 = <u32>offsetof<Reader>() / 4;

export const RANK_WORDS: u32 = 1 << (<u32>HOLDER_RECORD_LOG - 2);

export const GROUP_NEXT: u32 = <u32>offsetof<Group>("next") / 4;
export const GROUP_RULE: u32 = <u32>offsetof<Group>("rule") / 4;
export const GROUP_WINDOW: u32 = <u32>offsetof<Group>("window") / 4;
export const GROUP_BLOCK_SIZE: u32 = <u32>offsetof<Group>("blockSize") / 4;
export const GROUP_INDEX: u32 = <u32>offsetof<Group>("index") / 4;
export const GROUP_KIND: u32 = <u32>offsetof<Group>("kind") / 4;
export const GROUP_WORDS: u32 = 1 << (<u32>HOLDER_RECORD_LOG - 2);

export const CONTEXT_SERIAL: u32 = <u32>offsetof<ContextRecord>("serial") / 4;
export const CONTEXT_BLOCK_SIZE: u32 = <u32>offsetof<ContextRecord>("blockSize") / 4;
export const CONTEXT_LOOKAHEAD: u32 = <u32>offsetof<ContextRecord>("lookahead") / 4;
export const CONTEXT_PREFIX_COUNT: u32 = <u32>offsetof<ContextRecord>("prefixCount") / 4;
export const CONTEXT_MAPPING_COUNT: u32 = <u32>offsetof<ContextRecord>("mappingCount") / 4;
export const CONTEXT_BYTES: u32 = <u32>offsetof<ContextRecord>("bytes") / 4;
export const CONTEXT_NAME_LENGTH: u32 = <u32>offsetof<ContextRecord>("nameBytes") / 4;
export const CONTEXT_WORDS: u32 = <u32>offsetof<ContextRecord>() / 4;

export const DUMP_BLOCK: u32 = <u32>offsetof<DumpCursor>("id") / 4;
export const DUMP_HOLDER: u32 = <u32>offsetof<DumpCursor>("holder") / 4;
export const DUMP_ROWS: u32 = <u32>offsetof<DumpCursor>("rows") / 4;
export const DUMP_DONE: u32 = <u32>offsetof<DumpCursor>("isDone") / 4;
export const DUMP_WORDS: u32 = <u32>offsetof<DumpCursor>() / 4;

export const EXPORT_ROWS: u32 = <u32>offsetof<ExportCursor>("rows") / 4;
export const EXPORT_DONE: u32 = <u32>offsetof<ExportCursor>("isDone") / 4;
export const EXPORT_WORDS: u32 = <u32>offsetof<ExportCursor>() / 4;

export const ROW_PREFIX_BYTES: u32 = <u32>offsetof<ExportRow>("prefix");
export const ROW_NAME_BYTES: u32 = <u32>offsetof<ExportRow>("engineHash");
export const ROW_HOLDER_BYTES: u32 = <u32>offsetof<ExportRow>("holder");
export const ROW_COPIES_BYTES: u32 = <u32>offsetof<ExportRow>("copies");
export const ROW_BYTES: u32 = <u32>offsetof<ExportRow>();
