/** `POST /api/v1/match`: the lookup, JSON or binary. */

import { Body, Controller, Header, HttpCode, Inject, Post, Query } from "@nestjs/common";
import { RouteConfig } from "@nestjs/platform-fastify";

import type { MatchAnswer } from "../query/match-answer.ts";
import { Lookup } from "../query/lookup.ts";
import { BodyAnswer } from "./request-reading.ts";

/** Answers lookups. */
@Controller("api/v1/match")
export class MatchController {
  readonly #lookup: Lookup;

  constructor(@Inject(Lookup) lookup: Lookup) {
    this.#lookup = lookup;
  }

  /**
   * Answers one lookup.
   *
   * @param body - bytes of an application/octet-stream, parsed JSON, or the answer of another thread.
   * @param parameters - belong to bytes only.
   * @returns the answer.
   */
  @Post()
  @HttpCode(200)
  @Header("content-type", "application/json; charset=utf-8")
  @RouteConfig({ threadsAnswer: true })
  match(@Body() body: unknown, @Query() parameters: unknown): MatchAnswer | Promise<MatchAnswer> | string {
    if (body instanceof BodyAnswer) return this.#lookup.answered(body.answered, body.startedMs);
    return Buffer.isBuffer(body)
      ? this.#lookup.binary(body, parameters)
      : this.#lookup.json(body, parameters);
  }
}
