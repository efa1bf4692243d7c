/**
 * Every span there is. Tracing of the daemon makes no other: its methods compile with these names only.
 */

import { integer, number, oneOf, orAbsent, text } from "../../signals/field.ts";
import { type SpanDefinition, spans } from "../../signals/span.ts";
import { LANES, REPLAY_STATUSES, TRUST_LEVELS } from "./label-domains.ts";
import { PICK_DECISIONS, PICK_REASONS } from "./picker.ts";
import { LOOKUP_DECISIONS } from "./routing.ts";

const STREAM = {
  "kvsync.pod": text("id of the engine"),
  "kvsync.model": text("model that the engine serves"),
  "kvsync.dp_rank": integer("data-parallel rank of the engine, from 0"),
} as const;

const CALL = {
  "http.request.method": oneOf(["POST", "GET"], "method of HTTP"),
  "server.address": text("host of the server"),
  "server.port": integer("port of the server"),
} as const;

/** By name, in the order of the reference. */
export const SPANS = spans({
  request: {
    kind: "server",
    named: "the method and the template of the route, such as `POST /api/v1/match`",
    parent: "the caller's span, by `traceparent`",
    sampled: "caller",
    attributes: {
      "http.request.method": text("method of HTTP"),
      "http.route": text("template of the route; never the address of the request"),
      "http.response.status_code": orAbsent(integer("status of the answer"), "the caller disconnected"),
    },
    meaning:
      "A request, from its headers to its response. The ratio is `tracing.ratio`; probes and scrapes have no span.",
  },
  lookup: {
    kind: "internal",
    parent: "the request",
    sampled: "caller",
    attributes: {
      "kvsync.model": text("model of the lookup"),
      "kvsync.input": oneOf(["token_ids", "prefix_hashes"], "form of the question"),
      "kvsync.input_count": integer("tokens or hashes in it"),
      "kvsync.blocks": integer("full blocks of the prompt; 0 when no block is stored"),
      "kvsync.matched_blocks": integer("blocks that the best engine has"),
      "kvsync.decision": oneOf(LOOKUP_DECISIONS, "use that a caller can make of the answer"),
      "kvsync.trust": oneOf(TRUST_LEVELS, "trust of the answer"),
    },
    meaning: "The lookup itself, without reading the request and without the tokenizer.",
  },
  tokenize: {
    kind: "internal",
    parent: "the request, or `pick`",
    sampled: "caller",
    attributes: { "kvsync.input_count": orAbsent(integer("tokens of the prompt"), "the span failed") },
    meaning: "A prompt becomes tokens, from the cache or the tokenizer.",
  },
  POST: {
    kind: "client",
    parent: "`tokenize`",
    sampled: "caller",
    attributes: CALL,
    meaning: "One attempt to ask the tokenizer.",
  },
  pick: {
    kind: "internal",
    parent: "the span of the request that a gateway asks about, by its `traceparent`",
    sampled: "caller",
    attributes: {
      "kvsync.pod": orAbsent(text("engine of the first endpoint"), "there is no pick"),
      "kvsync.model": orAbsent(text("model, as engines serve it"), "no engine serves it"),
      "kvsync.decision": oneOf(PICK_DECISIONS, "fact that decided"),
      "kvsync.reason": oneOf(PICK_REASONS, "why the index did not decide"),
      "kvsync.input_count": integer("tokens of the prompt, by its bytes where they are not known"),
      "kvsync.matched_tokens": integer("tokens that the engine is expected to have cached"),
      "kvsync.trust": oneOf(TRUST_LEVELS, "trust in them"),
    },
    meaning:
      "The endpoint picker decides about a request, and the engine gets this span as its parent. The picker's thread hands over at most 100 spans per second.",
  },
  "pick.lookup": {
    kind: "internal",
    parent: "`pick`",
    sampled: "caller",
    attributes: {
      "kvsync.model": text("model, as engines serve it"),
      "kvsync.input_count": integer("tokens of the prompt"),
      "kvsync.matched_tokens": integer("tokens that the picked engine is expected to have cached"),
    },
    meaning: "The picker looks the prompt up, and ranks the endpoints.",
  },
  "snapshot.write": {
    kind: "internal",
    parent: "the request for one; none when the clock or a stop asked",
    sampled: "always",
    attributes: {
      "kvsync.rows": orAbsent(integer("blocks in the file"), "the span failed"),
      "kvsync.bytes": orAbsent(integer("size of the file"), "the span failed"),
      "kvsync.streams": orAbsent(integer("streams in the file"), "the span failed"),
    },
    meaning: "A snapshot is copied and written.",
  },
  "snapshot.find": {
    kind: "internal",
    parent: "none",
    sampled: "always",
    attributes: {
      "kvsync.origin": oneOf(["own", "previous", "sibling", "none"], "origin of the snapshot that is used"),
    },
    meaning: "The search for a snapshot at the start.",
  },
  GET: {
    kind: "client",
    parent: "`snapshot.find`",
    sampled: "caller",
    attributes: CALL,
    meaning: "Another daemon is asked for its snapshot.",
  },
  "ingest.apply": {
    kind: "internal",
    parent: "none",
    sampled: "thread",
    attributes: {
      ...STREAM,
      "kvsync.lane": oneOf(LANES, "live stream or replay"),
      "kvsync.queue_wait_seconds": number("time in the queue"),
      "kvsync.sequence_number": integer("number of the message applied last; -1 before the first"),
      "kvsync.events": integer("events of the message"),
    },
    meaning:
      "A message of an engine is applied. The setting is `tracing.batch_ratio`; a thread hands over at most 100 spans per second.",
  },
  "ingest.replay": {
    kind: "internal",
    parent: "none",
    sampled: "thread",
    attributes: {
      ...STREAM,
      "kvsync.from_sequence_number": integer("first message that was requested"),
      "kvsync.messages": integer("messages that were applied"),
      "kvsync.status": oneOf(REPLAY_STATUSES, "how it ended"),
    },
    meaning: "A replay, from its request to its end. One that found nothing new has no span.",
  },
});

/** A name of a span. */
export type SpanName = keyof typeof SPANS;

/** The definition behind a name, without its literal types. */
export function spanOf(name: SpanName): SpanDefinition {
  return SPANS[name];
}
