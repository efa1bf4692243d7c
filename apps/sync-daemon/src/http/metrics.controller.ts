/** `GET /metrics`, and its alias under /api/v1: the text of a scrape, of Prometheus or as OpenMetrics. */

import { Exposition } from "@kvsync/observability/exposition";
import { SCRAPE_CONTENT_TYPES, scrapeFormat } from "@kvsync/observability/scrape-format";
import { Controller, Get, Headers, Inject, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

/** Serves the scrape. */
@Controller()
export class MetricsController {
  readonly #exposition: Exposition;

  constructor(@Inject(Exposition) exposition: Exposition) {
    this.#exposition = exposition;
  }

  /**
   * Renders all metrics, once for all who ask for one format while that lasts.
   *
   * @param accept - says which format.
   * @param reply - gets the content type.
   * @returns the text, as bytes that all of them share.
   */
  @Get(["metrics", "api/v1/metrics"])
  scrape(
    @Headers("accept") accept: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Buffer> {
    const format = scrapeFormat(accept);
    reply.header("content-type", SCRAPE_CONTENT_TYPES[format]).header("vary", "accept");
    return this.#exposition.scrapeBytes(format);
  }
}
