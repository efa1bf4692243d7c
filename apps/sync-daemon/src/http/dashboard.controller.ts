/** `/api/v1/dashboard`: the data of the web page; and `/api/v1/whoami`, the scope of its reader. */

import { Controller, Get, Inject, Query, Req, Res } from "@nestjs/common";
import { RouteConfig } from "@nestjs/platform-fastify";
import type { FastifyContextConfig, FastifyReply, FastifyRequest } from "fastify";

import { Dashboard } from "../dashboard/dashboard.ts";
import type { History } from "../dashboard/sampler.ts";
import { historyQuery, type WhoamiAnswer } from "../openapi/dashboard-answers.ts";
import { malformed, unknownField } from "../request/request-error.ts";
import { callerOf } from "../security/access-guard.ts";

/** Its end says nothing about the time that it took. */
const STREAM: FastifyContextConfig = { isStream: true };

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
   * @param reply - gets the headers.
   * @returns the series.
   */
  @Get("dashboard/history")
  history(@Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): History {
    const read = historyQuery.safeParse(query);
    if (!read.success) {
      const [issue] = read.error.issues;
      if (issue?.code === "unrecognized_keys") throw unknownField(issue.keys[0] ?? "");
      throw malformed("seconds", "an integer from 5 to 43200");
    }
    reply.header("cache-control", "no-store");
    return this.#dashboard.history(read.data.seconds);
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
    void reply.headers({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    if (request.method === "HEAD") {
      void reply.send();
      return;
    }
    const { raw } = reply;
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) raw.setHeader(name, value);
    reply.hijack();
    const leave = live.watch({
      get writableLength() {
        return raw.writableLength;
      },
      write: (bytes) => raw.write(bytes),
      end: () => raw.end(),
    });
    raw.once("close", leave);
  }
}
