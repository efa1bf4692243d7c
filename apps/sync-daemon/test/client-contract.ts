/**
 * Checks that the types of `@kvsync/client` match the daemon's answers. The compiler checks it
 * here, because packages do not import apps.
 */

import type { MatchAnswer as ClientAnswer, PickAnswer } from "@kvsync/client";
import type { z } from "zod";

import type { pickAnswer, RankedEndpoint as SentEndpoint } from "../src/openapi/picker-answers.ts";
import type { MatchAnswer } from "../src/query/match-answer.ts";

/** `true` when each of two types can stand for the other: neither has optional fields, so none can have more. */
type Same<A, B> = [A, B] extends [B, A] ? true : false;

/** Does not compile when the two differ in any field. */
export const CLIENT_SEES_WHAT_IS_SENT: Same<ClientAnswer, MatchAnswer> = true;

/** A pick's answer as it is sent. The client knows besides that there is at least one endpoint. */
type SentPick = Omit<z.output<typeof pickAnswer>, "endpoints"> & {
  endpoints: [SentEndpoint, ...SentEndpoint[]];
};

/** Likewise for a pick. */
export const CLIENT_SEES_WHAT_IS_PICKED: Same<PickAnswer, SentPick> = true;
