/**
 * Checks that the types of `@kvsync/client` match the daemon's answers. The compiler checks it
 * here, because packages do not import apps.
 */

import type {
  AlertList,
  EngineDetails,
  FleetHistory,
  IndexReport as ClientIndex,
  LogLines,
  MatchAnswer as ClientAnswer,
  PickAnswer,
  RankHours,
  SilenceList,
  SystemReport as ClientSystem,
  WantedSilence,
} from "@kvsync/client";
import type { z } from "zod";

import type { AlertsAnswer, silenceBody, SilencesAnswer } from "../src/openapi/alert-answers.ts";
import type { historyAnswer, RankHoursAnswer } from "../src/openapi/dashboard-answers.ts";
import type { EngineDetailsAnswer } from "../src/openapi/engine-answers.ts";
import type { pickAnswer, RankedEndpoint as SentEndpoint } from "../src/openapi/picker-answers.ts";
import type { IndexReport, LogLinesAnswer, SystemReport } from "../src/openapi/system-answers.ts";
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

/** Likewise for alerts and silences. */
export const CLIENT_SEES_WHICH_ALERTS: readonly [
  Same<AlertList, AlertsAnswer>,
  Same<SilenceList, SilencesAnswer>,
] = [true, true];

type SilenceBody = z.input<typeof silenceBody>;

/** Does not compile when the daemon refuses a silence that the client's type allows. */
export const DAEMON_TAKES_SILENCES: readonly [
  Same<keyof WantedSilence, keyof SilenceBody>,
  Has<WantedSilence["matchers"][number], SilenceBody["matchers"][number]>,
] = [true, true];

/** `true` when an answer has everything that the client's type names. It may have more. */
type Has<Sent, Named> = [Sent] extends [Named] ? true : false;

/** Does not compile when an answer lacks a field that the client names, or has another type there. */
export const CLIENT_NAMES_WHAT_IS_SENT: readonly [
  Has<EngineDetailsAnswer, EngineDetails>,
  Has<IndexReport, ClientIndex>,
  Has<SystemReport, ClientSystem>,
  Has<LogLinesAnswer, LogLines>,
  Has<z.output<typeof historyAnswer>, FleetHistory>,
  Has<RankHoursAnswer, RankHours>,
] = [true, true, true, true, true, true];
