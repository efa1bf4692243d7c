/**
 * From events to a message's payload, byte for byte as the engine of a dialect would write it (dialect.ts). For simulated
 * engines and tests: the daemon only decodes.
 *
 * A field that the dialect does not have is left out, as by an engine without that field. A field
 * that the event does not have is written as the dialect demands, nil or nothing. Values are
 * written as given: the simulated engine decides whether hashes are signed, and whether lists of
 * extra keys are present.
 *
 * The encoder trusts its input, which comes from our own code: a value that cannot be encoded
 * breaks an assertion.
 */
import { type Dialect, type DialectForm, DIALECTS, type FieldOrder, type WireField } from "./dialect.ts";
import type { BlockStored, EventBatch, ExtraKey, KvEvent } from "./events.ts";
import { MsgpackWriter } from "./msgpack-writer.ts";

/** First guess of an event's size without its lists: the longest map has some 230 bytes. */
const EVENT_BYTES = 256;
const HASH_BYTES = 9;
const TOKEN_BYTES = 3;

/**
 * Encodes a batch.
 *
 * @param batch - what happened. Its rank is written if the dialect has that slot and the rank is not `undefined`.
 * @param dialect - whose bytes to write.
 * @returns a new array that the caller owns. O(bytes).
 * @throws AssertionError when a number does not fit its field.
 */
export function encodeEventBatch(batch: EventBatch, dialect: Dialect): Uint8Array {
  const form: DialectForm = DIALECTS[dialect];
  const writer = new MsgpackWriter(estimateBytes(batch.events));
  const rank = batch.dataParallelRank;
  const hasRank = form.batchSlots === 3 && rank !== undefined;
  writer.array(hasRank ? 3 : 2);
  writer.float(batch.timestampSeconds);
  writer.array(batch.events.length);
  for (const event of batch.events) writeEvent(writer, event, form);
  if (hasRank) writeScalar(writer, rank);
  return writer.take();
}

function estimateBytes(events: readonly KvEvent[]): number {
  let total = 32;
  for (const event of events) {
    total += EVENT_BYTES;
    if (event.type === "AllBlocksCleared") continue;
    total += event.blockHashes.length * HASH_BYTES;
    if (event.type === "BlockStored") total += event.tokenIds.length * TOKEN_BYTES;
  }
  return total;
}

/** Any event's fields: a removal has some of a store's, a cleared pool none. */
type EventFields = Partial<Omit<BlockStored, "type">>;

const SCALARS = {
  block_size: "blockSize",
  lora_id: "loraId",
  medium: "medium",
  lora_name: "loraName",
  group_idx: "groupIdx",
  kv_cache_spec_kind: "kvCacheSpecKind",
  kv_cache_spec_sliding_window: "kvCacheSpecSlidingWindow",
  locality: "locality",
  ownership: "ownership",
  session_id: "sessionId",
  cache_salt: "cacheSalt",
} as const satisfies Partial<Record<WireField, keyof EventFields>>;
const PROPERTIES: Readonly<Record<WireField, keyof EventFields>> = {
  ...SCALARS,
  block_hashes: "blockHashes",
  parent_block_hash: "parentBlockHash",
  token_ids: "tokenIds",
  extra_keys: "extraKeys",
  lookahead_token_ids: "lookaheadTokenIds",
};
const NO_FIELDS: FieldOrder = { required: [], optional: [] };
const METADATA: FieldOrder = { required: [], optional: ["cache_salt", "session_id"] };

function writeEvent(writer: MsgpackWriter, event: KvEvent, form: DialectForm): void {
  const order =
    event.type === "BlockStored" ? form.stored : event.type === "BlockRemoved" ? form.removed : NO_FIELDS;
  const fields: EventFields = event.type === "AllBlocksCleared" ? {} : event;
  const present = presentFields(fields, order);
  const metadata = form.hasMetadataSlot && event.type === "BlockStored" ? presentFields(event, METADATA) : [];
  const isMap = form.events === "map";
  const elementCount = 1 + present.length + (metadata.length > 0 ? 1 : 0);
  if (isMap) writer.map(elementCount, form.hasMap16Header && event.type === "BlockStored");
  else writer.array(elementCount);
  if (isMap) writer.text("type");
  writer.text(event.type);
  writeFields(writer, fields, present, isMap);
  if (metadata.length > 0) {
    writer.map(metadata.length, false);
    writeFields(writer, fields, metadata, true);
  }
}

/** Fields that an event is written with: all required ones, and of the optional ones those that are not nil. */
function presentFields(event: EventFields, order: FieldOrder): readonly WireField[] {
  if (order.optional.length === 0) return order.required;
  const optional = order.optional.filter((field) => {
    const value = event[PROPERTIES[field]];
    return value !== null && value !== undefined;
  });
  return [...order.required, ...optional];
}

function writeFields(
  writer: MsgpackWriter,
  event: EventFields,
  fields: readonly WireField[],
  isKeyed: boolean,
): void {
  for (const field of fields) {
    if (isKeyed) writer.text(field);
    if (field === "block_hashes") writeHashes(writer, event.blockHashes ?? []);
    else if (field === "parent_block_hash") writeHash(writer, event.parentBlockHash ?? null);
    else if (field === "token_ids") writeTokens(writer, event.tokenIds ?? []);
    else if (field === "extra_keys") writeExtraKey(writer, event.extraKeys ?? null);
    else if (field === "lookahead_token_ids") writeExtraKey(writer, event.lookaheadTokenIds ?? null);
    else writeScalar(writer, event[SCALARS[field]] ?? null);
  }
}

function writeHashes(writer: MsgpackWriter, hashes: readonly (bigint | Uint8Array)[]): void {
  writer.array(hashes.length);
  for (const hash of hashes) writeHash(writer, hash);
}

function writeHash(writer: MsgpackWriter, hash: bigint | Uint8Array | null): void {
  if (hash === null) writer.nil();
  else if (typeof hash === "bigint") writer.bigInteger(hash);
  else writer.binary(hash);
}

function writeTokens(writer: MsgpackWriter, tokens: BlockStored["tokenIds"]): void {
  if (isPairs(tokens)) {
    writer.array(tokens.length);
    for (const pair of tokens) writer.tokens(pair);
  } else writer.tokens(tokens);
}

function isPairs(tokens: BlockStored["tokenIds"]): tokens is readonly (readonly [number, number])[] {
  return typeof tokens[0] === "object";
}

function writeExtraKey(writer: MsgpackWriter, key: ExtraKey): void {
  if (key === null || typeof key === "number" || typeof key === "string") writeScalar(writer, key);
  else if (key instanceof Uint8Array) writer.binary(key);
  else {
    writer.array(key.length);
    for (const part of key) writeExtraKey(writer, part);
  }
}

function writeScalar(writer: MsgpackWriter, value: string | number | null): void {
  if (value === null) writer.nil();
  else if (typeof value === "string") writer.text(value);
  else writer.integer(value);
}
