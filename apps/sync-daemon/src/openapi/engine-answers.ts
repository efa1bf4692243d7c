/**
 * Answers of `/api/v1/engines`: the engines that are followed, their sources, the state of each
 * stream, and the engines that are not followed, with the reason.
 */

import {
  EVENT_TYPES,
  GROUP_KINDS,
  GROUP_RULES,
  type GroupRule,
  GROUPS_PER_RANK_MAX,
  REPLAY_STATUSES,
  REPORT_MODES,
  STREAM_STATES,
  TIERS,
  UNKNOWN_KINDS_MAX,
} from "@kvsync/core";
import { DISCOVERY_FAILURES, DISCOVERY_STATES } from "@kvsync/observability/kvsync/discovery";
import { z } from "zod";

import { INCIDENTS_MAX, TURNS_MAX } from "../board/rank-history.ts";
import { KIND_CHARACTERS_MAX } from "../board/unknown-kinds.ts";
import { MINUTES } from "../dashboard/rank-minutes.ts";
import { ENGINE_SOURCES, REFUSAL_REASONS } from "../discovery/engine-sources.ts";
import { ENGINE_TYPES } from "../engine/engine-type.ts";
import { trustLevel, trustReason, trustSince } from "../query/match-answer.ts";
import type { Answer } from "./answer.ts";

const count = z.int().min(0);
const time = z.iso.datetime();
/** Most reasons never occur: those that did not are left out. */
const tally = z.record(z.string(), count);

/** A count for each name, those at zero included. */
function counts<Name extends string>(names: readonly Name[]) {
  return z.strictObject(Object.fromEntries(names.map((name) => [name, count])) as Record<Name, typeof count>);
}

/** A KV-cache group of a rank. */
export const cacheGroup = z
  .strictObject({
    holder_slot: count.describe(
      "The group's slot in dumps: the rank's for the main group, 4,096 or more for others.",
    ),
    index: count.nullable().describe("The engine's number of the group; null when its events have none."),
    is_main: z.boolean().describe("Whether the group's blocks are what `held_tokens` counts."),
    kind: z
      .enum(GROUP_KINDS)
      .describe(
        "vLLM's name. `none`: events name no kind. `unknown`: a name that this version does not know.",
      ),
    rule: z
      .enum(Object.keys(GROUP_RULES) as [GroupRule])
      .describe(
        "Blocks that a match needs: all (`run`), the window before its end (`window`), its last (`last`), or the chunk of its end (`chunk`).",
      ),
    window_tokens: count.nullable().describe("Tokens of the window or chunk; null for other rules."),
    block_size: count.describe("Tokens of a block."),
  })
  .meta({
    id: "CacheGroup",
    description: "The part of a prompt that an engine keeps for one kind of its layers.",
  });

const replays = z
  .strictObject({
    requested: count,
    ...counts(REPLAY_STATUSES).shape,
    probes: count.describe("Checks of an idle stream; each is a requested replay too."),
    failures: tally.describe("By reason; reasons that did not occur are left out."),
  })
  .meta({ id: "ReplayCounts", description: "Replays asked for, and how they ended." });

const eventCounts = counts(EVENT_TYPES).meta({
  id: "EventCounts",
  description: "A count for each type of event.",
});

const rankReport = z
  .strictObject({
    dp_rank: count,
    rank_slot: count.describe("The slot in dumps of the blocks of the main group."),
    state: z.enum(STREAM_STATES),
    trust: trustLevel,
    trust_reason: trustReason.nullable().describe("Null exactly when trust is exact."),
    trust_since: trustSince,
    connected: z.boolean(),
    endpoint: z.string().nullable(),
    replay_endpoint: z.string().nullable(),
    last_sequence_number: count.nullable(),
    history_from_sequence_number: count
      .nullable()
      .describe("The first message that what the index holds of the rank comes from."),
    last_event_age_seconds: z.number().nullable(),
    blocks_held: count.describe("In the index, each counted once, also when it is on several tiers."),
    groups: z
      .array(cacheGroup)
      .max(1 + GROUPS_PER_RANK_MAX)
      .describe("KV-cache groups that the rank has stored to; the main group is the first."),
    unknown_kinds: z
      .array(z.string().max(KIND_CHARACTERS_MAX))
      .max(UNKNOWN_KINDS_MAX)
      .describe(
        "Kinds of groups that this version has no rule for, as the engine spells them, and kinds whose size is not announced. A name stays while the daemon follows the rank.",
      ),
    messages_applied: count,
    events_applied: eventCounts,
    blocks_applied: eventCounts,
    gaps: count.describe("Times that messages were missing."),
    missed_messages: count.describe("Messages missing in those gaps."),
    replays,
    restarts: count.describe("Times that another publisher was found than before."),
    history_losses: count.describe(
      "Number of times that history was lost permanently and the rank began again.",
    ),
    duplicates: count,
    held_messages: count.describe("Live messages held while a replay ran."),
    dp_rank_mismatches: count.describe("Batches that named another DP rank than their socket's."),
    queue_losses: count.describe("Times that the queue of messages was full."),
    index_evictions: tally.describe("By reason, those that occurred."),
    faults: tally.describe("Messages and events that broke the protocol, by code."),
    unknown_fields: tally.describe("Fields that this version does not know, by where they stood."),
    dropped: tally.describe("Messages and events dropped, by reason."),
  })
  .meta({
    id: "RankReport",
    description: "How one rank's stream is doing. Counts begin when the daemon starts to follow the engine.",
  });

const engineSource = z
  .enum(ENGINE_SOURCES)
  .meta({ id: "EngineSource", description: "Where an engine is known from." });
const foundFacts = z
  .strictObject({
    lora_id: z.int().nullable().describe("-1 for none; null when the label is no integer."),
    block_size: count.nullable().describe("Tokens of a block; null when the pod has no annotation."),
    pod_ip: z.string(),
    remarks: z.array(z.string()).describe("Labels that are only shown and are not usable."),
  })
  .meta({ id: "PodFacts", description: "Further labels of a pod. Shown only." });
const engineReport = z
  .strictObject({
    id: z.string(),
    model: z.string(),
    source: engineSource.nullable().describe("It is null when the engine was removed during the request."),
    found: foundFacts.nullable().describe("It is null for engines that are not pods."),
    endpoint: z.string().nullable().describe("That of the first rank."),
    topic: z.string().describe("That it publishes under; empty for any."),
    report_mode: z.enum(REPORT_MODES),
    aliases: z.array(z.string()),
    adapters: z.array(z.string()),
    type: z.enum(ENGINE_TYPES).nullable(),
    drops_last_block: z.boolean().nullable(),
    shared_socket: z.boolean(),
    bind: z.boolean().describe("Whether the daemon listens and the engine connects."),
    http: z.array(z.string()).describe("Where it serves OpenAI's API; one address, or one per DP rank."),
    curve_server_key: z
      .string()
      .nullable()
      .describe("Its own CURVE public key; null for that of the fleet, or none."),
    ranks: z.array(rankReport),
  })
  .meta({ id: "EngineReport", description: "An engine and how each of its streams is doing." });
/** How a source of engines does. */
export const sourceReport = z
  .strictObject({
    source: engineSource,
    state: z.enum(DISCOVERY_STATES),
    engines: count.describe("That it wants followed."),
    last_success: time.nullable(),
    failure: z
      .strictObject({ reason: z.enum(DISCOVERY_FAILURES), message: z.string(), at: time })
      .meta({ id: "EngineSourceFailure" })
      .nullable(),
  })
  .meta({ id: "EngineSourceReport", description: "A source of engines and how it does." });
const refusalReport = z
  .strictObject({
    source: engineSource,
    id: z.string(),
    reason: z.enum(REFUSAL_REASONS),
    field: z.string().nullable(),
    winner: z
      .strictObject({ source: engineSource, id: z.string() })
      .meta({ id: "EngineRefusalWinner", description: "The engine that is followed instead." })
      .nullable(),
    message: z.string(),
  })
  .meta({
    id: "EngineRefusal",
    description: "An engine that a source wants and that is not followed for it.",
  });

/** The part of the fleet that a daemon follows. */
const shardReport = z
  .strictObject({
    index: count,
    count: count.min(1),
    engines_elsewhere: count.describe("Engines that sources want and that other shards follow."),
  })
  .meta({
    id: "FleetShard",
    description: "The part of the fleet that the daemon follows. One shard is all of it.",
  });

const replicas = z
  .array(
    z
      .strictObject({
        name: z.string().describe("Host name and port."),
        is_this: z.boolean().describe("Whether it is the daemon that answers."),
        registrations: z
          .enum(["current", "behind"])
          .describe("Whether it follows the registrations over HTTP that this daemon follows."),
      })
      .meta({ id: "Replica", description: "A daemon that shares registrations over HTTP." }),
  )
  .describe(
    "The daemon that answers, and with `discovery.shared_directory` the other replicas. Without it, no other replica gets registrations of this one.",
  );

/** What `GET /api/v1/engines` answers. */
export const engineList = z
  .strictObject({
    engines: z.array(engineReport),
    sources: z.array(sourceReport),
    refused_total: count,
    refused: z.array(refusalReport).describe("The first 256."),
    shard: shardReport,
    replicas,
  })
  .meta({
    id: "EngineList",
    description: "Engines that are followed, their sources, and engines that are refused.",
  });

/** What `POST /api/v1/engines` answers. */
export const registeredEngine = z.strictObject({ engine: engineReport, replicas }).meta({
  id: "RegisteredEngine",
  description: "The engine, with addresses in place of names, and the replicas that follow it.",
});

/** A change of state or trust. */
export const turn = z
  .strictObject({ at: time, state: z.enum(STREAM_STATES), trust: trustLevel })
  .meta({ id: "StreamTurn", description: "State and trust of a stream from a moment on." });
const gap = z
  .strictObject({
    at: time,
    from: count.describe("Number of the first message that was missing."),
    messages: count,
    outcome: z.enum(REPLAY_STATUSES).nullable().describe("How its replay ended; null while none has."),
    seconds: z.number().nullable().describe("From the gap to that end."),
  })
  .meta({ id: "StreamGap", description: "Messages that did not arrive." });
const tierBlocks = counts(TIERS).meta({
  id: "TierBlocks",
  description: "Blocks of the main group by tier. A block on two tiers counts on both.",
});
const rankDetails = z
  .strictObject({
    ...rankReport.shape,
    timeline: z.array(turn).max(TURNS_MAX).describe("The latest changes of state and trust, oldest first."),
    recent_gaps: z.array(gap).max(INCIDENTS_MAX).describe("The latest, oldest first."),
    recent_restarts: z.array(time).max(INCIDENTS_MAX).describe("When another publisher was found."),
    events_per_second: z
      .array(z.number().nullable())
      .max(MINUTES)
      .describe(
        "Events applied in each minute of the last hour, oldest first and the running one last. It is null where nothing is known, and empty while the page is off.",
      ),
    dropped_last_hour: tally
      .nullable()
      .describe(
        "Messages and events dropped in the last hour, by reason. It is null while the page is off, and for a rank beyond the limit of what is kept.",
      ),
    tiers: tierBlocks.nullable().describe("It is null when the engine came after the last count."),
  })
  .meta({ id: "RankDetails", description: "One rank's stream with its history." });

/** What `GET /api/v1/engines/{id}` answers. */
export const engineDetails = z
  .strictObject({
    ...engineReport.shape,
    ranks: z.array(rankDetails),
    tiers_counted_at: time.nullable().describe("When blocks were counted by tier."),
  })
  .meta({ id: "EngineDetails", description: "An engine, each of its streams, and what happened to them." });

/** What is asked of an engine's events. */
export const engineEventsQuery = z.strictObject({
  rank: z.coerce
    .number("a DP rank")
    .int("a DP rank")
    .min(0, "a DP rank")
    .optional()
    .describe("The DP rank; the engine's first without it."),
});

/** One engine with its history. */
export type EngineDetailsAnswer = Answer<typeof engineDetails>;
/** The part of the fleet that a daemon follows. */
export type ShardReport = Answer<typeof shardReport>;
/** A source of engines. */
export type SourceReport = Answer<typeof sourceReport>;
/** Every engine, every source, and what is refused. */
export type EngineList = Answer<typeof engineList>;
/** The engine that was registered. */
export type RegisteredEngineAnswer = Answer<typeof registeredEngine>;
/** One engine. */
export type EngineReport = Answer<typeof engineReport>;
/** One rank of it. */
export type RankReport = Answer<typeof rankReport>;
/** One KV-cache group of a rank. */
export type CacheGroupReport = Answer<typeof cacheGroup>;
