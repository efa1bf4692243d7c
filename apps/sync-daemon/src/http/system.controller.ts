/** `/api/v1/system`, `/api/v1/index`, `/api/v1/logs`: the daemon itself, what its index holds, and its log. */

import { Controller, Get, Inject, Query, Req, Res } from "@nestjs/common";
import { RouteConfig } from "@nestjs/platform-fastify";
import type { FastifyReply, FastifyRequest } from "fastify";

import { Dashboard } from "../dashboard/dashboard.ts";
import {
  type IndexReport,
  type LogLinesAnswer,
  logsQuery,
  type SystemReport,
} from "../openapi/system-answers.ts";
import { checkFields } from "../request/check-fields.ts";
import { HttpSecurity } from "../security/http-security.ts";
import { EngineReports } from "./engine-reports.ts";
import { openStream, STREAM } from "./event-stream.ts";
import { sendJson } from "./json-answer.ts";

/** Answers about the daemon. */
@Controller("api/v1")
export class SystemController {
  readonly #dashboard: Dashboard;
  readonly #reports: EngineReports;
  readonly #security: HttpSecurity;

  constructor(
    @Inject(Dashboard) dashboard: Dashboard,
    @Inject(EngineReports) reports: EngineReports,
    @Inject(HttpSecurity) security: HttpSecurity,
  ) {
    this.#dashboard = dashboard;
    this.#reports = reports;
    this.#security = security;
  }

  /**
   * What runs, where, and with which settings.
   *
   * @param request - with what its caller takes.
   * @param reply - gets the facts.
   */
  @Get("system")
  async system(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { certificateEndMs } = this.#security;
    const answer: SystemReport = {
      ...this.#dashboard.facts.process(),
      certificate: certificateEndMs === null ? null : { not_after: new Date(certificateEndMs).toISOString() },
      sources: this.#reports.sources(),
    };
    await sendJson(request, reply, answer);
  }

  /**
   * What the index holds.
   *
   * @param request - with what its caller takes.
   * @param reply - gets contexts, memory and evictions.
   */
  @Get("index")
  async index(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { facts, scan } = this.#dashboard;
    const answer: IndexReport = facts.index(await scan.first());
    await sendJson(request, reply, answer);
  }

  /**
   * The latest lines of the log.
   *
   * @param query - which of them.
   * @param request - with what its caller takes.
   * @param reply - gets the lines.
   */
  @Get("logs")
  async logs(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const filter = checkFields(logsQuery, query, "query");
    const { logRing } = this.#dashboard;
    const answer: LogLinesAnswer = { last: logRing.last, lines: logRing.lines(filter) };
    await sendJson(request, reply, answer);
  }

  /**
   * Lines of the log as they are written.
   *
   * @param query - which of them.
   * @param request - its end is the viewer's.
   * @param reply - is written to until then.
   */
  @Get("logs/stream")
  @RouteConfig(STREAM)
  logStream(@Query() query: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    const filter = checkFields(logsQuery, query, "query");
    const { logs } = this.#dashboard;
    logs.check();
    openStream(request, reply, (viewer) => logs.watch(viewer, filter));
  }
}
