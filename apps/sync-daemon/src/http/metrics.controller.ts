/** `GET /metrics`, and its alias under /api/v1: the Prometheus text. */

import { Exposition } from "@kvsync/observability/exposition";
import { Controller, Get, Inject, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

/** Serves the scrape. */
@Controller()
export class MetricsController {
  readonly #exposition: Exposition;

  constructor(@Inject(Exposition) exposition: Exposition) {
    this.#exposition = exposition;
  }

  /**
   * Renders all metrics, once for all who ask while that lasts.
   *
   * @param reply - gets the content type.
   * @returns the text, as bytes that all of them share.
   */
  @Get(["metrics", "api/v1/metrics"])
  scrape(@Res({ passthrough: true }) reply: FastifyReply): Promise<Buffer> {
    reply.header("content-type", this.#exposition.contentType);
    return this.#exposition.scrapeBytes();
  }
}
