/** `GET /metrics`, and its alias under /api/v1: the Prometheus text. */

import { Controller, Get, Inject, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { Daemon } from "../daemon.ts";

/** Serves the scrape. */
@Controller()
export class MetricsController {
  readonly #daemon: Daemon;

  constructor(@Inject(Daemon) daemon: Daemon) {
    this.#daemon = daemon;
  }

  /**
   * Renders all metrics.
   *
   * @param reply - gets the content type.
   * @returns the text.
   */
  @Get(["metrics", "api/v1/metrics"])
  async scrape(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { exposition } = this.#daemon;
    reply.header("content-type", exposition.contentType);
    return exposition.scrape();
  }
}
