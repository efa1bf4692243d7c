/** `/api/v1/alerts`: the alerts of the web page, and the silences of Alertmanager. */

import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Req, Res } from "@nestjs/common";
import type { FastifyReply, FastifyRequest } from "fastify";

import { SILENCE_ID } from "../dashboard/alert-upstream.ts";
import { Dashboard } from "../dashboard/dashboard.ts";
import {
  type AlertsAnswer,
  silenceBody,
  type SilenceMadeAnswer,
  type SilencesAnswer,
} from "../openapi/alert-answers.ts";
import { checkFields } from "../request/check-fields.ts";
import { malformed } from "../request/request-error.ts";
import { callerOf } from "../security/access-guard.ts";

/** Who makes a silence while no tokens are in use. */
const WITHOUT_TOKEN = "kvsync (no token)";

/** Answers about alerts. */
@Controller("api/v1/alerts")
export class AlertsController {
  readonly #dashboard: Dashboard;

  constructor(@Inject(Dashboard) dashboard: Dashboard) {
    this.#dashboard = dashboard;
  }

  /**
   * The alerts.
   *
   * @param reply - gets the headers.
   * @returns the list.
   */
  @Get()
  async alerts(@Res({ passthrough: true }) reply: FastifyReply): Promise<AlertsAnswer> {
    void reply.header("cache-control", "no-store");
    return this.#dashboard.alerts.list();
  }

  /**
   * The silences.
   *
   * @param reply - gets the headers.
   * @returns those that have not ended.
   */
  @Get("silences")
  async silences(@Res({ passthrough: true }) reply: FastifyReply): Promise<SilencesAnswer> {
    void reply.header("cache-control", "no-store");
    return this.#dashboard.alerts.silences();
  }

  /**
   * Silences.
   *
   * @param body - matchers, end and comment.
   * @param request - its token's name becomes the author.
   * @returns the silence's id.
   */
  @Post("silences")
  @HttpCode(201)
  async silence(@Body() body: unknown, @Req() request: FastifyRequest): Promise<SilenceMadeAnswer> {
    const { alerts } = this.#dashboard;
    const wanted = checkFields(silenceBody, body);
    return alerts.silence(wanted, callerOf(request)?.name ?? WITHOUT_TOKEN);
  }

  /**
   * Ends a silence.
   *
   * @param id - Alertmanager's.
   */
  @Delete("silences/:id")
  @HttpCode(204)
  async expire(@Param("id") id: string): Promise<void> {
    const { alerts } = this.#dashboard;
    if (!SILENCE_ID.test(id)) throw malformed("id", "the id of a silence, a UUID");
    await alerts.expire(id);
  }
}
