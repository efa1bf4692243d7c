/** `GET /api/v1/dump`: everything the index holds of a model (format: query/dump.ts). */

import { PrefixReader } from "@kvsync/core";
import { Controller, Get, Inject, Query, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { BoardReader } from "../board/stream-board.ts";
import { EngineRegistry } from "../engine/engine-registry.ts";
import { dump } from "../query/dump.ts";
import { unknownModel } from "../query/model-name.ts";
import { malformed } from "../request/request-error.ts";
import { pageStream } from "./page-stream.ts";

/** Streams the index. */
@Controller("api/v1/dump")
export class DumpController {
  readonly #registry: EngineRegistry;
  readonly #reader: PrefixReader;
  readonly #board: BoardReader;

  constructor(
    @Inject(EngineRegistry) registry: EngineRegistry,
    @Inject(PrefixReader) reader: PrefixReader,
    @Inject(BoardReader) board: BoardReader,
  ) {
    this.#registry = registry;
    this.#reader = reader;
    this.#board = board;
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
    if (this.#registry.enginesOf(model) === null) throw unknownModel(model, this.#registry);
    void reply
      .header("content-type", "application/octet-stream")
      .header("x-kvsync-applied-before", String(this.#board.appliedMessages()))
      .send(pageStream(dump(model, this.#reader)));
  }
}
