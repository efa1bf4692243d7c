/** `GET /metrics`, and its alias under /api/v1: the Prometheus text. */

import { Exposition } from "@kvsync/observability/exposition";
import { Controller, Get, Inject, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

/** Serves the scrape. */
@Controller()
export class MetricsController {
  readonly #exposition: Exposition;
  /** Being rendered. */
  #scrape: Promise<Buffer> | null = null;

  constructor(@Inject(Exposition) exposition: Exposition) {
    this.#exposition = exposition;
  }

  /**
   * Renders all metrics, once for all who ask while that lasts: where monitoring is open, anybody may ask, and a scrape of a large fleet costs tens of
   * milliseconds and megabytes.
   *
   * @param reply - gets the content type.
   * @returns the text, as bytes that all of them share.
   */
  @Get(["metrics", "api/v1/metrics"])
  scrape(@Res({ passthrough: true }) reply: FastifyReply): Promise<Buffer> {
    const exposition = this.#exposition;
    reply.header("content-type", exposition.contentType);
    this.#scrape ??= exposition
      .scrape()
      .then((text) => Buffer.from(text))
      .finally(() => {
        this.#scrape = null;
      });
    return this.#scrape;
  }
}
