/**
 * Checks that the types of `@kvsync/client` match the daemon's answers. The compiler checks it
 * here, because packages do not import apps.
 */

import type { MatchAnswer as ClientAnswer } from "@kvsync/client";

import type { MatchAnswer } from "../src/query/match-answer.ts";

/** `true` when each of two types can stand for the other: neither has optional fields, so none can have more. */
type Same<A, B> = [A, B] extends [B, A] ? true : false;

/** Does not compile when the two differ in any field. */
export const CLIENT_SEES_WHAT_IS_SENT: Same<ClientAnswer, MatchAnswer> = true;
