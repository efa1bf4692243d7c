/** A span as an ingest thread hands it over: it has no OpenTelemetry of its own. Structured-cloneable. */

/** What ingest threads have spans of. */
type ThreadSpanName = "ingest.apply" | "ingest.replay";

/** Values of a span's attributes. Never tokens, prompts, hashes, or text that a caller sent. */
export type SpanFacts = Readonly<Record<string, string | number | boolean>>;

/** Something that has happened. */
export interface FinishedSpan {
  readonly name: ThreadSpanName;
  /** Milliseconds since the Unix epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly facts: SpanFacts;
  /** Code of what went wrong; null when nothing did. */
  readonly error: string | null;
}
