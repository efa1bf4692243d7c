/**
 * From finished spans to the collector, with a bound and a count for each span's fate.
 *
 *     onEnd ─▶ room? ─▶ SDK's batches ─▶ OTLP/HTTP ─┬─▶ exported
 *               │ no                                └─▶ export_failed
 *               ▼
 *            queue_full
 *
 * The SDK bounds its queue too, but does not report its drops. So the bound is here, and the SDK's
 * is as large. A collector that is away costs the spans of that time and one line in the log.
 */

import type { SpanOutcome } from "@kvsync/observability/kvsync/telemetry";
import type { Context } from "@opentelemetry/api";
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import type { ReadableSpan, Span, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace";

import type { WriteEvent } from "../log/log-line.ts";

/** Spans waiting for a batch at once: some megabytes. */
export const SPANS_WAITING_MAX = 2048;

/** Who hears of spans' fates. */
export interface ExportDependencies {
  readonly count: (outcome: SpanOutcome, spans: number) => void;
  readonly log: WriteEvent;
  /** Where spans go, for the log. */
  readonly origin: string;
}

/** Counts what is exported, and tells of failures once. */
export class CountedExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #dependencies: ExportDependencies;
  readonly #left: (spans: number) => void;
  #isFailing = false;

  /**
   * @param exporter - that sends.
   * @param dependencies - who hears.
   * @param left - hears how many spans do not wait any more.
   */
  constructor(exporter: SpanExporter, dependencies: ExportDependencies, left: (spans: number) => void) {
    this.#exporter = exporter;
    this.#dependencies = dependencies;
    this.#left = left;
  }

  /** Sends a batch. */
  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.#left(spans.length);
    this.#exporter.export(spans, (result) => {
      const isFailed = result.code !== ExportResultCode.SUCCESS;
      this.#dependencies.count(isFailed ? "export_failed" : "exported", spans.length);
      if (isFailed !== this.#isFailing) this.#tell(isFailed, result.error);
      this.#isFailing = isFailed;
      done(result);
    });
  }

  /** Ends it. */
  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  #tell(isFailed: boolean, error: Error | undefined): void {
    const { log, origin } = this.#dependencies;
    if (!isFailed) {
      log("traces_delivered", { collector: origin });
      return;
    }
    // The message of the error may have what the collector answered.
    const code: unknown = error !== undefined && "code" in error ? error.code : undefined;
    const reason =
      typeof code === "string" || typeof code === "number" ? String(code) : (error?.name ?? "unknown");
    log("traces_not_delivered", { collector: origin, reason });
  }
}

/** Lets so many spans wait at once. */
export class BoundedProcessor implements SpanProcessor {
  readonly #processor: SpanProcessor;
  readonly #count: ExportDependencies["count"];
  #waiting = 0;

  /**
   * @param make - makes the processor that batches, whose exporter says how many spans have left it.
   * @param count - hears of spans that find no room.
   */
  constructor(make: (left: (spans: number) => void) => SpanProcessor, count: ExportDependencies["count"]) {
    this.#count = count;
    this.#processor = make((spans) => {
      this.#waiting -= spans;
    });
  }

  /** A span has begun. */
  onStart(span: Span, context: Context): void {
    this.#processor.onStart(span, context);
  }

  /** A span that is to be exported has ended; others are not recorded and do not get here. */
  onEnd(span: ReadableSpan): void {
    if (this.#waiting >= SPANS_WAITING_MAX) {
      this.#count("queue_full", 1);
      return;
    }
    this.#waiting += 1;
    this.#processor.onEnd(span);
  }

  /** Sends what waits. */
  forceFlush(): Promise<void> {
    return this.#processor.forceFlush();
  }

  /** Sends what waits, and ends. */
  shutdown(): Promise<void> {
    return this.#processor.shutdown();
  }
}
