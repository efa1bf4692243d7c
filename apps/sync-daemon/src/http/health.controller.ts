/** `/livez` and `/readyz`, for load balancers and supervisors; `/health`, for details. */

import { Controller, Get, Headers, Inject, Query, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { HealthChecks } from "../health/health-checks.ts";
import { Readiness } from "../health/readiness.ts";
import { SyncHealth } from "../health/sync-health.ts";
import type { HealthAnswer, Liveness, ReadinessAnswer, SyncHealthAnswer } from "../openapi/health-answers.ts";

/** Answers probes. */
@Controller()
export class HealthController {
  readonly #readiness: Readiness;
  readonly #health: HealthChecks;
  readonly #syncHealth: SyncHealth;

  constructor(
    @Inject(Readiness) readiness: Readiness,
    @Inject(HealthChecks) health: HealthChecks,
    @Inject(SyncHealth) syncHealth: SyncHealth,
  ) {
    this.#readiness = readiness;
    this.#health = health;
    this.#syncHealth = syncHealth;
  }

  /**
   * Whether the event loop turns.
   *
   * @returns always the same.
   */
  @Get("livez")
  live(): Liveness {
    return { status: "alive" };
  }

  /**
   * Whether to send traffic here.
   *
   * @param parameters - `?verbose` lists every condition with its reason, the engines waited for, and what runs.
   * @param accept - with text/plain the list is one of lines, as Kubernetes' own probes give it.
   * @param reply - 200 or 503.
   * @returns the answer and its reason.
   */
  @Get("readyz")
  ready(
    @Query() parameters: Readonly<Record<string, unknown>>,
    @Headers("accept") accept: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): ReadinessAnswer | string {
    const report = this.#readiness.report();
    const { ready, reason, engines } = report;
    reply.status(ready ? 200 : 503);
    const answer: ReadinessAnswer = { status: ready ? "ready" : "not_ready", reason };
    if (!("verbose" in parameters)) return answer;
    const conditions = this.#readiness.conditions(report);
    if (accept?.includes("text/plain") !== true)
      return { ...answer, conditions, engines, process: this.#readiness.start };
    reply.type("text/plain");
    const lines = conditions.map(
      (one) => `[${one.ok ? "+" : "-"}]${one.name} ${one.ok ? "ok" : "failed"}: ${one.reason}`,
    );
    return `${[...lines, `readyz check ${ready ? "passed" : "failed"}: ${reason}`].join("\n")}\n`;
  }

  /**
   * Every health check.
   *
   * @param reply - 200, or 503 when unhealthy.
   * @returns the report.
   */
  @Get(["health", "api/v1/health"])
  async health(@Res({ passthrough: true }) reply: FastifyReply): Promise<HealthAnswer> {
    const report = await this.#health.report();
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
  async syncHealth(@Res({ passthrough: true }) reply: FastifyReply): Promise<SyncHealthAnswer> {
    const report = await this.#syncHealth.report();
    reply.status(report.status === "unhealthy" ? 503 : 200);
    return report;
  }
}
