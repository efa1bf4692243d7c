/** A span as another thread hands it over: it has no OpenTelemetry of its own. Structured-cloneable. */

import type { SPANS } from "@kvsync/observability/kvsync/spans";
import type { Attributes } from "@kvsync/observability/signals/span";

/** What ingest threads and the picker's have spans of. */
type ThreadSpanName = "ingest.apply" | "ingest.replay" | "pick" | "pick.lookup" | "tokenize";

/** The ids of a span, in hex. */
export interface SpanIds {
  readonly traceId: string;
  readonly spanId: string;
}

/** Something that has happened, of one name. */
interface Finished<Name extends ThreadSpanName> {
  readonly name: Name;
  /** Milliseconds since the Unix epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  /** Never tokens, prompts, hashes, or text that a caller sent. */
  readonly facts: Attributes<(typeof SPANS)[Name]>;
  /** Code of what went wrong; null when nothing did. */
  readonly error: string | null;
  /** The caller's span, as its header has it; without one, the span begins a trace. */
  readonly traceparent?: string;
  /** Given by a thread that told another process of the span before it ended; otherwise drawn when it is recorded. */
  readonly ids?: SpanIds;
  /** What happened within it. */
  readonly parts?: readonly FinishedSpan[];
}

/** Something that has happened. */
export type FinishedSpan = { [Name in ThreadSpanName]: Finished<Name> }[ThreadSpanName];
