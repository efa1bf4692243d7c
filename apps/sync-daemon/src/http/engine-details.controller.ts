/** `/api/v1/engines/{id}`: one engine with the history of its streams, and its events as they come. */

import { TIERS } from "@kvsync/core";
import { Controller, Get, Inject, Param, Query, Req, Res } from "@nestjs/common";
import { RouteConfig } from "@nestjs/platform-fastify";
import type { FastifyReply, FastifyRequest } from "fastify";

import { epochMs } from "../clock.ts";
import { BoardReader } from "../board/stream-board.ts";
import { Dashboard } from "../dashboard/dashboard.ts";
import type { TierCounts } from "../dashboard/index-scan.ts";
import type { RegisteredEngine } from "../engine/engine-directory.ts";
import { EngineRegistry, RegistryError } from "../engine/engine-registry.ts";
import { type EngineDetailsAnswer, engineEventsQuery } from "../openapi/engine-answers.ts";
import { checkFields } from "../request/check-fields.ts";
import { malformed } from "../request/request-error.ts";
import { callerOf } from "../security/access-guard.ts";
import { EngineReports } from "./engine-reports.ts";
import { openStream, STREAM } from "./event-stream.ts";
import { sendJson } from "./json-answer.ts";

type RankDetails = EngineDetailsAnswer["ranks"][number];

/** Answers about one engine. */
@Controller("api/v1/engines/:id")
export class EngineDetailsController {
  readonly #registry: EngineRegistry;
  readonly #board: BoardReader;
  readonly #reports: EngineReports;
  readonly #dashboard: Dashboard;

  constructor(
    @Inject(EngineRegistry) registry: EngineRegistry,
    @Inject(BoardReader) board: BoardReader,
    @Inject(EngineReports) reports: EngineReports,
    @Inject(Dashboard) dashboard: Dashboard,
  ) {
    this.#registry = registry;
    this.#board = board;
    this.#reports = reports;
    this.#dashboard = dashboard;
  }

  /**
   * One engine.
   *
   * @param id - of the engine.
   * @param request - with what its caller takes.
   * @param reply - gets the engine, the history of each rank, and its blocks by tier.
   */
  @Get()
  async details(
    @Param("id") id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.#engine(id);
    const look = await this.#dashboard.scan.first();
    const engine = this.#engine(id);
    const report = this.#reports.engine(engine);
    const answer: EngineDetailsAnswer = {
      ...report,
      ranks: report.ranks.map((rank) => ({
        ...rank,
        ...this.#historyOf(rank.rank_slot),
        ...this.#hourOf(engine, rank.rank_slot),
        tiers: byTier(look.tiersOf(engine, rank.rank_slot)),
      })),
      tiers_counted_at: new Date(look.atMs).toISOString(),
    };
    await sendJson(request, reply, answer);
  }

  /**
   * The events of a rank from now on.
   *
   * @param id - of the engine.
   * @param query - which rank.
   * @param request - its end is the viewer's.
   * @param reply - is written to until then.
   */
  @Get("events")
  @RouteConfig(STREAM)
  events(
    @Param("id") id: string,
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): void {
    const { rank: wanted } = checkFields(engineEventsQuery, query, "query");
    const engine = this.#engine(id);
    const rank = engine.ranks.find(({ dpRank }) => wanted === undefined || dpRank === wanted);
    if (rank === undefined) throw malformed("rank", "a DP rank of the engine");
    const { events } = this.#dashboard;
    events.check();
    // Without tokens every caller has admin scope.
    const seesHashes = (callerOf(request)?.scope ?? "admin") === "admin";
    openStream(request, reply, (viewer) => events.watch(viewer, engine, rank, seesHashes));
  }

  #engine(id: string): RegisteredEngine {
    const engine = this.#registry.engine(id);
    if (engine === null)
      throw new RegistryError(
        { code: "unknown_engine", id },
        `no engine ${JSON.stringify(id)} is registered`,
      );
    return engine;
  }

  #hourOf(
    engine: RegisteredEngine,
    rankSlot: number,
  ): Pick<RankDetails, "events_per_second" | "dropped_last_hour"> {
    const hour = this.#dashboard.minutes.hour(engine, rankSlot, epochMs());
    return {
      events_per_second: [...(hour?.eventsPerSecond ?? [])],
      dropped_last_hour: hour?.dropped ?? null,
    };
  }

  #historyOf(rankSlot: number): Pick<RankDetails, "timeline" | "recent_gaps" | "recent_restarts"> {
    const { history } = this.#board;
    const incidents = history.incidents(rankSlot);
    return {
      timeline: history
        .turns(rankSlot)
        .map(({ atMs, state, trust }) => ({ at: isoTime(atMs), state, trust })),
      recent_gaps: incidents.flatMap((one) => {
        if (one.kind !== "gap") return [];
        const { atMs, from, messages, outcome, seconds } = one;
        return [{ at: isoTime(atMs), from, messages, outcome, seconds }];
      }),
      recent_restarts: incidents.flatMap(({ kind, atMs }) => (kind === "restart" ? [isoTime(atMs)] : [])),
    };
  }
}

function byTier(counts: TierCounts | null): RankDetails["tiers"] {
  if (counts === null) return null;
  return Object.fromEntries(TIERS.map((tier, i) => [tier, counts[i] ?? 0])) as RankDetails["tiers"];
}

function isoTime(epochMilliseconds: number): string {
  return new Date(epochMilliseconds).toISOString();
}
