/** `/livez` and `/readyz`, for whoever sends traffic or restarts processes. */

import { Controller, Get, Inject, Query, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { Daemon } from "../daemon.ts";

/** Answers probes. */
@Controller()
export class HealthController {
  readonly #daemon: Daemon;

  constructor(@Inject(Daemon) daemon: Daemon) {
    this.#daemon = daemon;
  }

  /**
   * Whether the event loop turns.
   *
   * @returns always the same.
   */
  @Get("livez")
  live(): object {
    return { status: "alive" };
  }

  /**
   * Whether to send traffic here.
   *
   * @param parameters - `?verbose` lists the engines waited for.
   * @param reply - 200 or 503.
   * @returns the answer and its reason.
   */
  @Get("readyz")
  ready(
    @Query() parameters: Readonly<Record<string, unknown>>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): object {
    const { ready, reason, engines } = this.#daemon.readiness.report();
    reply.status(ready ? 200 : 503);
    return { status: ready ? "ready" : "not_ready", reason, ...("verbose" in parameters ? { engines } : {}) };
  }
}
