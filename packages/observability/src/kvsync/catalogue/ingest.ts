/**
 * Families about following engines: connections, events, gaps, replays, and the state of each stream.
 */

import { doubling } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";
import { DROP_REASONS, EVENT_TYPES, MODEL, POD, TRUST_REASONS } from "./label-domains.ts";

/** Families about following engines. */
export const INGEST_METRICS = {
  configurationValid: gauge({
    name: "kv_sync_configuration_valid",
    help: "1 when KV event sync is configured consistently, 0 when it was asked for and cannot run.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "Sync that was asked for and is off looks like a low hit rate otherwise.",
  }),
  connections: counter({
    name: "kv_zmq_connections_total",
    help: "Connection attempts to engine event sockets, by outcome.",
    unit: "none",
    labels: { pod: POD, model: MODEL, status: ["connected", "failed"] },
    preset: "absent until known",
    why: "An engine that is listed and cannot be reached, or keeps coming and going.",
  }),
  connectionsActive: gauge({
    name: "kv_zmq_connections_active",
    help: "Open connections to engine event sockets.",
    unit: "none",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "A model without any is answered from memory at best.",
  }),
  eventsReceived: counter({
    name: "kv_events_received_total",
    help: "Events decoded from messages, by type. Events that could not be decoded have the type unknown.",
    unit: "none",
    labels: { pod: POD, model: MODEL, event_type: EVENT_TYPES },
    preset: "absent until known",
    why: "The rate of change of the fleet's caches.",
  }),
  eventsProcessed: counter({
    name: "kv_events_processed_total",
    help: "Events applied to the index, by type.",
    unit: "none",
    labels: { pod: POD, model: MODEL, event_type: EVENT_TYPES },
    preset: "absent until known",
    why: "Received minus processed is what was dropped.",
  }),
  eventsDropped: counter({
    name: "kv_events_dropped_total",
    help: "Events (or whole messages: type unknown) that were not applied, by reason.",
    unit: "none",
    labels: { pod: POD, model: MODEL, event_type: EVENT_TYPES, reason: DROP_REASONS },
    preset: "absent until known",
    why: "Every drop has a reason; some of them cost trust.",
  }),
  unknownFields: counter({
    name: "kv_event_unknown_fields_total",
    help: "Fields of events and batches that this version does not know, by where they stood.",
    unit: "none",
    labels: {
      pod: POD,
      model: MODEL,
      owner: ["BlockStored", "BlockRemoved", "AllBlocksCleared", "batch"],
    },
    preset: "absent until known",
    why: "A newer engine sends fields that may change the meaning of its blocks, so the daemon lowers its trust.",
  }),
  eventProcessingDuration: histogram({
    name: "kv_event_processing_duration_seconds",
    help: "Time to decode and apply one event; taken in one message of sixteen.",
    unit: "seconds",
    labels: { model: MODEL, event_type: EVENT_TYPES },
    preset: "absent until known",
    buckets: doubling(0.0001, 10),
    why: "Large events or an index under pressure.",
  }),
  sequenceGap: histogram({
    name: "kv_event_sequence_gap",
    help: "Messages missed per gap in a stream.",
    unit: "none",
    labels: { pod: POD, model: MODEL },
    preset: "absent until known",
    buckets: doubling(1, 10),
    why: "Loss between engine and daemon, before replay repairs it.",
  }),
  replayRequests: counter({
    name: "kv_replay_requests_total",
    help: "Replays asked of engines, and how they ended.",
    unit: "none",
    labels: { pod: POD, model: MODEL, status: ["requested", "completed", "failed", "abandoned"] },
    preset: "absent until known",
    why: "Requested without completed means gaps stay open.",
  }),
  streamState: gauge({
    name: "kv_stream_state",
    help: "Streams (DP ranks) of a pod by state of the stream machine.",
    unit: "none",
    labels: {
      pod: POD,
      model: MODEL,
      state: ["connecting", "replaying", "verifying", "paused", "live", "disconnected"],
    },
    preset: "absent until known",
    why: "Where a stream is on its way to live.",
  }),
  streamTrust: gauge({
    name: "kv_stream_trust",
    help: "Streams (DP ranks) of a pod by how far the index can be trusted for them.",
    unit: "none",
    labels: { pod: POD, model: MODEL, trust: ["exact", "partial", "stale", "unknown"] },
    preset: "absent until known",
    why: "Anything but exact is a reason to look.",
  }),
  streamTrustReason: gauge({
    name: "kv_stream_trust_reason",
    help: "Streams (DP ranks) of a model that are not exact, by trust and reason; absent where there are none.",
    unit: "none",
    labels: { model: MODEL, trust: ["partial", "stale", "unknown"], reason: TRUST_REASONS },
    preset: "absent until known",
    why: "The reasons why answers are not exact, and the share of the fleet that each affects.",
  }),
  streamLastEventAge: gauge({
    name: "kv_stream_last_event_age_seconds",
    help: "Seconds since the last message of a stream was applied; absent before the first.",
    unit: "seconds",
    labels: { pod: POD, model: MODEL, dp_rank: { maxValues: 64 } },
    preset: "absent until known",
    why: "Silence: idle engine or dead connection.",
  }),
  streamLastSequenceNumber: gauge({
    name: "kv_stream_last_sequence_number",
    help: "Sequence number of the last message applied; absent before the first.",
    unit: "none",
    labels: { pod: POD, model: MODEL, dp_rank: { maxValues: 64 } },
    preset: "absent until known",
    why: "Compared with the engine's own, the lag in messages.",
  }),
  streamBlocks: gauge({
    name: "kv_stream_blocks",
    help: "Blocks that the index holds for a stream. A block on several tiers counts once.",
    unit: "none",
    labels: { pod: POD, model: MODEL, dp_rank: { maxValues: 64 } },
    preset: "absent until known",
    why: "An engine with few of them was cleared, restarted, or gets no load.",
  }),
};
