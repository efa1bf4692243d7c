/** `/api/v1/dashboard`: the data of the web page; and `/api/v1/whoami`, the scope of its reader. */

import { Controller, Get, Inject, Query, Req, Res } from "@nestjs/common";
import { RouteConfig } from "@nestjs/platform-fastify";
import type { FastifyReply, FastifyRequest } from "fastify";

import { Dashboard } from "../dashboard/dashboard.ts";
import {
  historyQuery,
  type RankHoursAnswer,
  rankHoursQuery,
  type WhoamiAnswer,
} from "../openapi/dashboard-answers.ts";
import { checkFields } from "../request/check-fields.ts";
import { callerOf } from "../security/access-guard.ts";
import { openStream, STREAM } from "./event-stream.ts";
import { sendJson } from "./json-answer.ts";

/** Answers the web page. */
@Controller("api/v1")
export class DashboardController {
  readonly #dashboard: Dashboard;

  constructor(@Inject(Dashboard) dashboard: Dashboard) {
    this.#dashboard = dashboard;
  }

  /**
   * Who asks, and what they may do.
   *
   * @param request - with or without a token.
   * @returns the token's name and scope.
   */
  @Get("whoami")
  whoami(@Req() request: FastifyRequest): WhoamiAnswer {
    const caller = callerOf(request);
    return caller === null
      ? { name: null, scope: "admin", tokens_in_use: false }
      : { name: caller.name, scope: caller.scope, tokens_in_use: true };
  }

  /**
   * The last hour in steps of five seconds.
   *
   * @param query - how much of it.
   * @param request - with what its caller takes.
   * @param reply - gets the series.
   */
  @Get("dashboard/history")
  async history(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { seconds } = checkFields(historyQuery, query, "query");
    await sendJson(request, reply, this.#dashboard.history(seconds));
  }

  /**
   * The last hour of some ranks.
   *
   * @param query - which ranks.
   * @param request - with what its caller takes.
   * @param reply - gets their states and rates.
   */
  @Get("dashboard/ranks")
  async ranks(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { slots } = checkFields(rankHoursQuery, query, "query");
    const answer: RankHoursAnswer = {
      ranks: this.#dashboard.hours(slots.split(",").map(Number)).map((rank) => ({
        rank_slot: rank.rankSlot,
        engine: rank.engine,
        dp_rank: rank.dpRank,
        timeline: rank.turns.map(({ atMs, state, trust }) => ({
          at: new Date(atMs).toISOString(),
          state,
          trust,
        })),
        events_per_second: [...rank.eventsPerSecond],
      })),
    };
    await sendJson(request, reply, answer);
  }

  /**
   * The live stream.
   *
   * @param request - its end is the viewer's.
   * @param reply - is written to until then.
   */
  @Get("dashboard/stream")
  @RouteConfig(STREAM)
  stream(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    const { live } = this.#dashboard;
    live.check();
    openStream(request, reply, (viewer) => live.watch(viewer));
  }
}
