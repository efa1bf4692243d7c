/**
 * Every log event there is. The log takes no other: LineGate.write of the daemon compiles with these codes only.
 */

import type { LogEvent } from "../../signals/log-event.ts";
import { DISCOVERY_EVENTS } from "./log-events/discovery.ts";
import { LOOKUP_EVENTS, REQUEST_EVENTS, SECURITY_EVENTS, TOKENIZER_EVENTS } from "./log-events/http.ts";
import { POOL_EVENTS, STREAM_EVENTS } from "./log-events/ingest.ts";
import {
  FRAMEWORK_EVENTS,
  HEALTH_EVENTS,
  LEVEL_EVENTS,
  LIMIT_EVENTS,
  MAIN_EVENTS,
  TRACE_EVENTS,
} from "./log-events/process.ts";
import { PICKER_EVENTS } from "./log-events/picker.ts";
import { RUN_EVENTS, SNAPSHOT_EVENTS } from "./log-events/snapshots.ts";

/** By code, in the order of the reference. */
export const LOG_EVENTS = {
  ...MAIN_EVENTS,
  ...POOL_EVENTS,
  ...STREAM_EVENTS,
  ...DISCOVERY_EVENTS,
  ...SNAPSHOT_EVENTS,
  ...RUN_EVENTS,
  ...REQUEST_EVENTS,
  ...LOOKUP_EVENTS,
  ...TOKENIZER_EVENTS,
  ...SECURITY_EVENTS,
  ...PICKER_EVENTS,
  ...HEALTH_EVENTS,
  ...TRACE_EVENTS,
  ...LEVEL_EVENTS,
  ...LIMIT_EVENTS,
  ...FRAMEWORK_EVENTS,
} as const;

/** A code of an event. */
export type EventCode = keyof typeof LOG_EVENTS;

/** The definition behind a code, without its literal types. */
export function eventOf(code: EventCode): LogEvent {
  return LOG_EVENTS[code];
}
