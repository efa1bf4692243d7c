/**
 * Checks that the types of `@kvsync/client` match the daemon's answers. The compiler checks it
 * here, because packages do not import apps.
 */

import type { MatchAnswer as ClientAnswer, PickAnswer, RankedEndpoint } from "@kvsync/client";
import type { z } from "zod";

import type { pickAnswer, RankedEndpoint as SentEndpoint } from "../src/openapi/picker-answers.ts";
import type { MatchAnswer } from "../src/query/match-answer.ts";

/** `true` when each of two types can stand for the other: neither has optional fields, so none can have more. */
type Same<A, B> = [A, B] extends [B, A] ? true : false;

/** Does not compile when the two differ in any field. */
export const CLIENT_SEES_WHAT_IS_SENT: Same<ClientAnswer, MatchAnswer> = true;

/** Likewise for a pick. The client knows besides that there is at least one endpoint. */
export const CLIENT_SEES_WHAT_IS_PICKED: Same<
  Omit<PickAnswer, "endpoints">,
  Omit<z.output<typeof pickAnswer>, "endpoints">
> &
  Same<RankedEndpoint, SentEndpoint> = true;
