/** The label sets of the catalogue against the closed sets of the code that emits them. */
import {
  EVENT_DROP_REASONS,
  EVENT_TYPES as CORE_EVENT_TYPES,
  FRAME_ERROR_CODES,
  MESSAGE_DROP_REASONS,
  PAYLOAD_ERROR_CODES,
  REPLAY_STATUSES,
  STREAM_STATES,
  TRUST_LEVELS,
  TRUST_REASON_NAMES,
  TRUST_RULE,
  ZMTP_ERROR_CODES,
} from "@kvsync/core";
import { HARMLESS_DROP_REASONS } from "@kvsync/observability/kvsync/drop-reasons";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import { DROP_REASONS, EVENT_TYPES } from "@kvsync/observability/kvsync/label-domains";
import { SECURITY_METRICS } from "@kvsync/observability/kvsync/security";
import { expect, test } from "vitest";

import { QUEUE_DROP_REASONS } from "../board/drop-reasons.ts";

test("every drop reason of core and the queue is a label value, and there is no other", () => {
  expect(new Set(DROP_REASONS)).toEqual(
    new Set([
      ...EVENT_DROP_REASONS,
      ...MESSAGE_DROP_REASONS,
      ...PAYLOAD_ERROR_CODES,
      ...FRAME_ERROR_CODES,
      ...QUEUE_DROP_REASONS,
    ]),
  );
});

test("the alert on drops leaves out what lowers no trust, and what an engine with shared tiers drops for good", () => {
  const harmless = TRUST_RULE.filter(({ id, reason }) => reason === null && /^(event|message)\./.test(id));
  const names = harmless.map(({ id }) => id.split(".")[1]);
  expect(new Set<string | undefined>(HARMLESS_DROP_REASONS)).toEqual(new Set([...names, "remote_locality"]));
});

test("event types, stream states, trust levels and replay statuses are core's", () => {
  expect(EVENT_TYPES).toEqual(CORE_EVENT_TYPES);
  expect(INGEST_METRICS.streamState.labels.state).toEqual(STREAM_STATES);
  expect(INGEST_METRICS.streamTrust.labels.trust).toEqual(TRUST_LEVELS);
  expect(INGEST_METRICS.streamTrustReason.labels.reason).toEqual(TRUST_REASON_NAMES);
  expect(INGEST_METRICS.replayRequests.labels.status).toEqual(["requested", ...REPLAY_STATUSES]);
});

test("the reasons of protocol violations are the codes of core's ZMTP reader", () => {
  expect(SECURITY_METRICS.protocolViolations.labels.reason).toEqual(ZMTP_ERROR_CODES);
});
