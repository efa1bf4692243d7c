/** `POST /api/v1/match`: the lookup, JSON or binary. */

import { Body, Controller, HttpCode, Inject, Post, Query } from "@nestjs/common";

import type { MatchAnswer } from "../query/match-answer.ts";
import { Lookup } from "../query/lookup.ts";

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
   * @param body - bytes of an application/octet-stream, or parsed JSON.
   * @param parameters - belong to bytes only.
   * @returns the answer.
   */
  @Post()
  @HttpCode(200)
  match(@Body() body: unknown, @Query() parameters: unknown): MatchAnswer | Promise<MatchAnswer> {
    return Buffer.isBuffer(body)
      ? this.#lookup.binary(body, parameters)
      : this.#lookup.json(body, parameters);
  }
}
