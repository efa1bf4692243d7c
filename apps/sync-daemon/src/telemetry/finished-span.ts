/** A span as an ingest thread hands it over: it has no OpenTelemetry of its own. Structured-cloneable. */

import type { SPANS } from "@kvsync/observability/kvsync/spans";
import type { Attributes } from "@kvsync/observability/signals/span";

/** What ingest threads have spans of. */
type ThreadSpanName = "ingest.apply" | "ingest.replay";

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
}

/** Something that has happened. */
export type FinishedSpan = { [Name in ThreadSpanName]: Finished<Name> }[ThreadSpanName];
