/** The label sets of the catalogue against the closed sets of the code that emits them. */
import {
  EVENT_DROP_EFFECTS,
  EVENT_TYPES as CORE_EVENT_TYPES,
  FRAME_ERROR_CODES,
  MESSAGE_DROP_REASONS,
  PAYLOAD_ERROR_CODES,
  REPLAY_STATUSES,
  STREAM_STATES,
  TRUST_LEVELS,
} from "@kvsync/core";
import { DROP_REASONS, EVENT_TYPES, HARMLESS_DROP_REASONS, INGEST_METRICS } from "@kvsync/observability";
import { expect, test } from "vitest";

import { QUEUE_DROP_REASONS } from "../board/drop-reasons.ts";

test("every drop reason of core and the queue is a label value, and there is no other", () => {
  expect(new Set(DROP_REASONS)).toEqual(
    new Set([
      ...Object.keys(EVENT_DROP_EFFECTS),
      ...MESSAGE_DROP_REASONS,
      ...PAYLOAD_ERROR_CODES,
      ...FRAME_ERROR_CODES,
      ...QUEUE_DROP_REASONS,
    ]),
  );
});

test("the alert on drops leaves out what core calls harmless, and messages that a replay covers unless a limit was hit", () => {
  const harmless = Object.entries(EVENT_DROP_EFFECTS).flatMap(([reason, effect]) =>
    effect === "harmless" ? [reason] : [],
  );
  const covered = MESSAGE_DROP_REASONS.filter((reason) => reason !== "hold_full");
  expect(new Set<string>(HARMLESS_DROP_REASONS)).toEqual(new Set([...harmless, ...covered]));
});

test("event types, stream states, trust levels and replay statuses are core's", () => {
  expect(EVENT_TYPES).toEqual(CORE_EVENT_TYPES);
  expect(INGEST_METRICS.streamState.labels.state).toEqual(STREAM_STATES);
  expect(INGEST_METRICS.streamTrust.labels.trust).toEqual(TRUST_LEVELS);
  expect(INGEST_METRICS.replayRequests.labels.status).toEqual(["requested", ...REPLAY_STATUSES]);
});
