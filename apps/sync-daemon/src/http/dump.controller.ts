/** `GET /api/v1/dump`: everything the index holds of a model (format: query/dump.ts). */

import { Readable } from "node:stream";

import { Controller, Get, Inject, Query, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { Daemon } from "../daemon.ts";
import { dump } from "../query/dump.ts";
import { unknownModel } from "../query/match.ts";
import { malformed } from "../request/request-error.ts";

/** Streams the index. */
@Controller("api/v1/dump")
export class DumpController {
  readonly #daemon: Daemon;

  constructor(@Inject(Daemon) daemon: Daemon) {
    this.#daemon = daemon;
  }

  /**
   * Streams a model's part of the index.
   *
   * @param model - its name.
   * @param reply - receives the stream, and the number of messages applied before it in a header.
   */
  @Get()
  dump(@Query("model") model: unknown, @Res() reply: FastifyReply): void {
    if (typeof model !== "string" || model === "")
      throw malformed("model", "a model name as query parameter");
    const { registry, reader, board } = this.#daemon;
    if (registry.enginesOf(model) === null) throw unknownModel(model, registry);
    void reply
      .header("content-type", "application/octet-stream")
      .header("x-kvsync-applied-before", String(board.appliedMessages()))
      .send(Readable.from(dump(model, reader), { objectMode: false }));
  }
}
