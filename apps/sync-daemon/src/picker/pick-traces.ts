/**
 * A line of the log and a trace for each decision, where these are asked for.
 *
 *     decision ─┬─ level debug ─▶ line
 *               └─ traced by its caller, or by the ratio ─▶ pick ─┬─▶ tokenize        spans that have ended, for the
 *                                                                └─▶ pick.lookup     main thread (thread-spans.ts)
 *
 *  G1  A caller's `traceparent` decides whether a pick is traced; else the ratio does (pick-traces.test.ts "G1").
 *  G2  No text of a request is in a line or a span, except a request id that is a UUID (pick-traces.test.ts "G2").
 */
import type { LineGate } from "../log/line-gate.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import type { ThreadSpans } from "../telemetry/thread-spans.ts";
import type { PickReport } from "./picker.ts";

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;
/** Version 00 of W3C's trace context; the last bit says whether the caller traces. */
const TRACEPARENT = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]([\da-f])$/;

/** What telling works with. */
export interface PickTracesParts {
  readonly log: LineGate;
  /** Null when tracing is off. */
  readonly spans: ThreadSpans | null;
  /** Milliseconds to add to a report's times, for those since the Unix epoch. */
  readonly epochOffsetMs: () => number;
}

/** See the header. */
export class PickTraces {
  readonly #parts: PickTracesParts;

  constructor(parts: PickTracesParts) {
    this.#parts = parts;
  }

  /** A request was decided. */
  decided(report: PickReport): void {
    if (this.#parts.log.isOn("debug")) this.#write(report);
    if (this.#parts.spans !== null && isTraced(report.traceparent, this.#parts.spans))
      this.#parts.spans.finished(spanOf(report, this.#parts.epochOffsetMs()));
  }

  #write({ requestId, endpoint, model, basis, reason, trust, ...report }: PickReport): void {
    this.#parts.log.write("request_decided", {
      request_id: requestId !== null && UUID.test(requestId) ? requestId : null,
      endpoint: endpoint?.address ?? null,
      pod: endpoint?.worker ?? null,
      model,
      decision: basis,
      reason,
      matched_tokens: Math.round(report.heldTokens),
      prompt_tokens: report.promptTokens,
      trust,
      cost: report.costs[0] ?? null,
      next_cost: report.costs[1] ?? null,
      duration_ms: report.seconds * 1000,
    });
  }
}

function isTraced(traceparent: string | null, spans: ThreadSpans): boolean {
  const flags = TRACEPARENT.exec(traceparent ?? "")?.[1];
  return flags === undefined ? spans.isNext() : (Number.parseInt(flags, 16) & 1) === 1;
}

function spanOf(report: PickReport, offsetMs: number): FinishedSpan {
  const { basis, reason, model, endpoint, trust, traceparent, promptTokens } = report;
  const { askedMs, tokensMs, lookedMs, decidedMs } = report.times;
  const matchedTokens = Math.round(report.heldTokens);
  const parts: FinishedSpan[] = [];
  if (tokensMs !== null)
    parts.push({
      name: "tokenize",
      startMs: askedMs + offsetMs,
      endMs: tokensMs + offsetMs,
      facts: { "kvsync.input_count": promptTokens },
      error: null,
    });
  if (lookedMs !== null && model !== null)
    parts.push({
      name: "pick.lookup",
      startMs: (tokensMs ?? askedMs) + offsetMs,
      endMs: lookedMs + offsetMs,
      facts: {
        "kvsync.model": model,
        "kvsync.input_count": promptTokens,
        "kvsync.matched_tokens": matchedTokens,
      },
      error: null,
    });
  return {
    name: "pick",
    startMs: askedMs + offsetMs,
    endMs: decidedMs + offsetMs,
    facts: {
      ...(endpoint !== null && { "kvsync.pod": endpoint.worker }),
      ...(model !== null && { "kvsync.model": model }),
      "kvsync.decision": basis,
      "kvsync.reason": reason,
      "kvsync.input_count": promptTokens,
      "kvsync.matched_tokens": matchedTokens,
      "kvsync.trust": trust,
    },
    error: basis === "immediate" ? reason : null,
    ...(TRACEPARENT.test(traceparent ?? "") && traceparent !== null && { traceparent }),
    parts,
  };
}
