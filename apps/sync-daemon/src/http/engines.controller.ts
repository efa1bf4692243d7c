/**
 * `/api/v1/engines`: the engines that are followed, their sources, the state of each stream, and
 * the engines that are not followed, with the reason.
 */

import { type HeldGroup, PrefixReader, UNNUMBERED_GROUP } from "@kvsync/core";
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { epochMs, timeText } from "../clock.ts";
import { BoardReader } from "../board/stream-board.ts";
import { UnknownKinds } from "../board/unknown-kinds.ts";
import { Discovery } from "../discovery/discovery.ts";
import { engineEntry } from "../engine/engine-entry.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import { EngineRegistry } from "../engine/engine-registry.ts";
import type {
  CacheGroupReport,
  EngineList,
  EngineReport,
  RankReport,
  RegisteredEngineAnswer,
} from "../openapi/engine-answers.ts";
import { malformed, unknownField } from "../request/request-error.ts";
import { pageStream } from "./page-stream.ts";

/** Refusals listed at once; a fleet that is refused as a whole needs no more to be understood. */
const REFUSED_MAX = 256;
/** Length of a page of the list: about 3 ms, or one engine of many ranks. */
const PAGE_CHARACTERS = 128 * 1024;

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

/** Lists, registers and removes engines. */
@Controller("api/v1/engines")
export class EnginesController {
  readonly #registry: EngineRegistry;
  readonly #discovery: Discovery;
  readonly #board: BoardReader;
  readonly #reader: PrefixReader;
  readonly #unknownKinds: UnknownKinds;

  constructor(
    @Inject(EngineRegistry) registry: EngineRegistry,
    @Inject(Discovery) discovery: Discovery,
    @Inject(BoardReader) board: BoardReader,
    @Inject(PrefixReader) reader: PrefixReader,
    @Inject(UnknownKinds) unknownKinds: UnknownKinds,
  ) {
    this.#registry = registry;
    this.#discovery = discovery;
    this.#board = board;
    this.#reader = reader;
    this.#unknownKinds = unknownKinds;
  }

  /**
   * Lists the engines: every engine with the status of its streams, how each source does, and what is refused.
   *
   * @param reply - receives the list in pages: a thousand engines are two megabytes.
   */
  @Get()
  list(@Res() reply: FastifyReply): void {
    void reply.header("content-type", "application/json; charset=utf-8").send(pageStream(this.#listText()));
  }

  *#listText(): Generator<string> {
    let text = '{"engines":[';
    let comma = "";
    for (const engine of [...this.#registry.engines()]) {
      // Removed since the first page: its slots may be another one's.
      if (this.#registry.engine(engine.engine.id) !== engine) continue;
      text += comma + JSON.stringify(this.#describe(engine));
      comma = ",";
      if (text.length < PAGE_CHARACTERS) continue;
      yield text;
      text = "";
    }
    yield `${text}],${JSON.stringify(this.#surroundings()).slice(1)}`;
  }

  /** What the list has beside the engines. */
  #surroundings(): Omit<EngineList, "engines"> {
    const { sources, status } = this.#discovery;
    const refused = [...sources.refusals()];
    return {
      sources: status.inUse().map(({ source, state, lastSuccessMs, failure }) => ({
        source,
        state,
        engines: sources.wantedCount(source),
        last_success: lastSuccessMs === null ? null : isoTime(lastSuccessMs),
        failure:
          failure === null
            ? null
            : { reason: failure.reason, message: failure.message, at: isoTime(failure.atMs) },
      })),
      refused_total: refused.length,
      refused: refused.slice(0, REFUSED_MAX),
      replicas: this.#discovery.registrations.replicas(),
    };
  }

  /**
   * Registers an engine.
   *
   * @param body - one entry as in the configuration file.
   * @param reply - 201 when it is new, 200 when the same was there.
   * @returns the engine, with addresses in place of names, when its registration is kept, and the replicas that follow it.
   */
  @Post()
  async register(
    @Body() body: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RegisteredEngineAnswer> {
    const entry = engineEntry.safeParse(body);
    if (!entry.success) {
      const issue = entry.error.issues[0];
      const unknownKey = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
      if (unknownKey !== undefined) throw unknownField(unknownKey);
      throw malformed(
        (issue?.path ?? []).map(String).join(".") || "body",
        issue?.message ?? "an engine entry",
      );
    }
    const { registrations } = this.#discovery;
    const { registered, created } = await registrations.register(entry.data, null);
    await registrations.saved();
    reply.status(created ? 201 : 200);
    return { engine: this.#describe(registered), replicas: registrations.replicas() };
  }

  /**
   * Removes an engine that was registered here: at once from lookups, soon from the index.
   *
   * @param id - the engine's.
   */
  @Delete(":id")
  @HttpCode(204)
  async remove(@Param("id") id: string): Promise<void> {
    await this.#discovery.registrations.remove(id);
    await this.#discovery.registrations.saved();
  }

  #describe({ engine, ranks }: RegisteredEngine): EngineReport {
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

function isoTime(epochMilliseconds: number): string {
  return new Date(epochMilliseconds).toISOString();
}

/** The entries above zero: most reasons never occur. */
function positive(counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
