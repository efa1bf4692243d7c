/**
 * Engines and their sources as answers have them, for the list, for one engine, and for the page about
 * the daemon.
 *
 * Not here: the history of one engine (engine-details.controller.ts).
 */

import { type HeldGroup, type PrefixReader, UNNUMBERED_GROUP } from "@kvsync/core";

import type { BoardReader } from "../board/stream-board.ts";
import type { UnknownKinds } from "../board/unknown-kinds.ts";
import { epochMs, timeText } from "../clock.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import type {
  CacheGroupReport,
  EngineReport,
  RankReport,
  ShardReport,
  SourceReport,
} from "../openapi/engine-answers.ts";

/** Where reports come from. */
export interface ReportSources {
  readonly discovery: Discovery;
  readonly board: BoardReader;
  readonly reader: PrefixReader;
  readonly unknownKinds: UnknownKinds;
}

/** See the head of this file. */
export class EngineReports {
  readonly #discovery: Discovery;
  readonly #board: BoardReader;
  readonly #reader: PrefixReader;
  readonly #unknownKinds: UnknownKinds;

  /** @param sources - of the daemon. */
  constructor({ discovery, board, reader, unknownKinds }: ReportSources) {
    this.#discovery = discovery;
    this.#board = board;
    this.#reader = reader;
    this.#unknownKinds = unknownKinds;
  }

  /** The part of the fleet that is followed. */
  shard(): ShardReport {
    const { sources } = this.#discovery;
    const { index, count } = sources.shard;
    return { index, count, engines_elsewhere: sources.elsewhereCount };
  }

  /** How each source of engines does. */
  sources(): SourceReport[] {
    const { sources, status } = this.#discovery;
    return status.inUse().map(({ source, state, lastSuccessMs, failure }) => ({
      source,
      state,
      engines: sources.wantedCount(source),
      last_success: lastSuccessMs === null ? null : isoTime(lastSuccessMs),
      failure:
        failure === null
          ? null
          : { reason: failure.reason, message: failure.message, at: isoTime(failure.atMs) },
    }));
  }

  /**
   * An engine with the state of each of its streams.
   *
   * @param registered - the engine.
   */
  engine({ engine, ranks }: RegisteredEngine): EngineReport {
    const { sources } = this.#discovery;
    return {
      id: engine.id,
      model: engine.model,
      source: sources.sourceOf(engine.id),
      found: sources.factsOf(engine.id),
      endpoint: engine.ranks[0]?.endpoint ?? null,
      topic: engine.topic,
      report_mode: engine.reportMode,
      curve_server_key: engine.curveServerKey,
      aliases: engine.aliases,
      adapters: engine.adapters,
      type: engine.type,
      drops_last_block: engine.dropsLastBlock,
      shared_socket: engine.sharedSocket,
      bind: engine.bind,
      http: engine.http,
      ranks: ranks.map((rank, i) => ({
        ...this.#describeRank(rank),
        endpoint: engine.ranks[i]?.endpoint ?? null,
        replay_endpoint: engine.ranks[i]?.replayEndpoint ?? null,
      })),
    };
  }

  #describeRank({ dpRank, rankSlot }: RegisteredRank): Omit<RankReport, "endpoint" | "replay_endpoint"> {
    const { counters, queueDrops, ...status } = this.#board.report(rankSlot);
    const age = status.lastEventAtMs === null ? null : Math.max(0, (epochMs() - status.lastEventAtMs) / 1000);
    return {
      dp_rank: dpRank,
      rank_slot: rankSlot,
      state: status.state,
      trust: status.trust,
      trust_reason: status.trustReason,
      trust_since: timeText(status.trustSinceMs ?? Number.NaN),
      connected: status.connected,
      last_sequence_number: status.lastSequenceNumber,
      history_from_sequence_number: status.historyFromSequenceNumber,
      last_event_age_seconds: age,
      blocks_held: this.#reader.rankBlockCount(rankSlot),
      groups: this.#reader.groups(rankSlot).map(describeGroup),
      unknown_kinds: this.#unknownKinds.of(rankSlot),
      messages_applied: counters.messagesApplied,
      events_applied: counters.eventsApplied,
      blocks_applied: counters.blocksApplied,
      gaps: counters.gaps,
      missed_messages: counters.missedMessages,
      replays: {
        requested: counters.replaysRequested,
        ...counters.replayEnds,
        probes: counters.probes,
        failures: positive(counters.replayFailures),
      },
      restarts: counters.restarts,
      history_losses: counters.historyLosses,
      duplicates: counters.messagesDropped.duplicate,
      held_messages: counters.heldMessages,
      dp_rank_mismatches: counters.dpRankMismatches,
      queue_losses: counters.queueLosses,
      index_evictions: positive(counters.indexEvictions),
      faults: positive(counters.faults),
      unknown_fields: positive(counters.unknownFields),
      dropped: positive({ ...counters.eventsDropped, ...counters.messagesDropped, ...queueDrops }),
    };
  }
}

function describeGroup({
  slot,
  index,
  isMain,
  kind,
  rule,
  windowTokens,
  blockSize,
}: HeldGroup): CacheGroupReport {
  return {
    holder_slot: slot,
    index: index === UNNUMBERED_GROUP ? null : index,
    is_main: isMain,
    kind,
    rule,
    window_tokens: windowTokens === 0 ? null : windowTokens,
    block_size: blockSize,
  };
}

function isoTime(epochMilliseconds: number): string {
  return new Date(epochMilliseconds).toISOString();
}

/** The entries above zero: most reasons never occur. */
function positive(counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
