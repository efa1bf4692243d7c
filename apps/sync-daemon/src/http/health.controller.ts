/** `/livez` and `/readyz`, for whoever sends traffic or restarts processes; `/health`, for whoever wants to know more. */

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

  /**
   * Every health check.
   *
   * @param reply - 200, or 503 when unhealthy.
   * @returns the report.
   */
  @Get(["health", "api/v1/health"])
  async health(@Res({ passthrough: true }) reply: FastifyReply): Promise<object> {
    const report = await this.#daemon.health.report(this.#daemon.version);
    reply.status(report.status === "unhealthy" ? 503 : 200);
    return report;
  }

  /**
   * How well each model's engines are followed.
   *
   * @param reply - 200, or 503 when unhealthy.
   * @returns the report.
   */
  @Get("api/v1/kv-sync/health")
  syncHealth(@Res({ passthrough: true }) reply: FastifyReply): object {
    const report = this.#daemon.syncHealth.report();
    reply.status(report.status === "unhealthy" ? 503 : 200);
    return report;
  }
}
