/** `/api/v1/picker` and `/api/v1/pick`: the endpoint picker for routers that ask over HTTP. */

import { Body, Controller, Get, HttpCode, Inject, Param, Post } from "@nestjs/common";
import type { z } from "zod";

import {
  type outcomesAnswer,
  type pickAnswer,
  type pickerReport,
  pickerReportOf,
  type pickExplanation,
  rankedEndpoints,
} from "../openapi/picker-answers.ts";
import { endBody, outcomesBody, readPick } from "../picker/pick-request.ts";
import { PickerError, PickerQuestions, type PickerAnswers } from "../picker/picker-questions.ts";
import { checkFields } from "../request/check-fields.ts";

/** Asks the picker's thread. */
@Controller("api/v1")
export class PickerController {
  readonly #questions: PickerQuestions;

  constructor(@Inject(PickerQuestions) questions: PickerQuestions) {
    this.#questions = questions;
  }

  /**
   * The picker's state.
   *
   * @returns endpoints with their loads, and counts.
   */
  @Get("picker")
  async status(): Promise<z.output<typeof pickerReport>> {
    return pickerReportOf(await this.#questions.ask({ kind: "status" }));
  }

  /**
   * Ranks endpoints, and books nothing.
   *
   * @param body - a request's model and prompt.
   * @returns the ranking with all terms.
   */
  @Post("picker/explain")
  @HttpCode(200)
  async explain(@Body() body: unknown): Promise<z.output<typeof pickExplanation>> {
    const reply = await this.#questions.ask({ kind: "explain", asked: readPick(body) });
    if (reply.kind !== "explained") throw refusalOf(reply);
    const { promptTokens, reason, missingShards } = reply.explanation;
    return {
      prompt_tokens: promptTokens,
      reason,
      missing_shards: [...missingShards],
      endpoints: rankedEndpoints(reply.explanation),
    };
  }

  /**
   * Picks, and books the request until its end is told.
   *
   * @param body - a request's model and prompt.
   * @returns endpoints, best first.
   */
  @Post("pick")
  @HttpCode(200)
  async pick(@Body() body: unknown): Promise<z.output<typeof pickAnswer>> {
    const reply = await this.#questions.ask({ kind: "pick", asked: readPick(body) });
    if (reply.kind !== "picked") throw refusalOf(reply);
    const { id, facts, explanation, endpoints } = reply;
    const { reason, missingShards } = explanation;
    const rest = {
      id,
      reason,
      missing_shards: [...missingShards],
      endpoints: rankedEndpoints(explanation, endpoints),
    };
    return { ...(facts as unknown as Omit<z.output<typeof pickAnswer>, keyof typeof rest>), ...rest };
  }

  /**
   * Ends a pick.
   *
   * @param id - from the pick's answer.
   * @param body - what is known of the request; none is nothing.
   */
  @Post("pick/:id/end")
  @HttpCode(204)
  async end(@Param("id") id: string, @Body() body: unknown): Promise<void> {
    const news = checkFields(endBody, body ?? {});
    if (!(await this.#questions.ask({ kind: "end", pick: id, news })))
      throw new PickerError({ code: "unknown_pick", id }, "no pick of this id is open; it may have expired");
  }

  /**
   * Takes what became of predictions.
   *
   * @param body - a list of them.
   * @returns how many were taken.
   */
  @Post("outcomes")
  @HttpCode(200)
  async outcomes(@Body() body: unknown): Promise<z.output<typeof outcomesAnswer>> {
    const { outcomes } = checkFields(outcomesBody, body);
    const taken = await this.#questions.ask({ kind: "outcomes", outcomes });
    return { taken, unknown: outcomes.length - taken };
  }
}

function refusalOf({ kind }: PickerAnswers["pick"]): PickerError {
  if (kind === "subset_empty")
    return new PickerError({ code: "subset_empty" }, "none of the endpoints that were given can be picked");
  if (kind === "picks_full")
    return new PickerError(
      { code: "picks_full" },
      "too many picks are open (picker.limits.streams): end those that are over",
    );
  if (kind === "no_endpoint")
    return new PickerError({ code: "no_endpoint" }, "no engine with an HTTP address serves this model");
  return new PickerError({ code: "pick_failed" }, "the decision failed; the log has the reason");
}
