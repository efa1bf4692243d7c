/**
 * A line of the log and a trace for each decision, where these are asked for.
 *
 *     begin ─── traced by its caller, or by the ratio ─▶ ids ─▶ `traceparent` for the engine
 *     decision ─┬─ level debug ─▶ line               │
 *               └─ traced ───────────────────────────┴─▶ pick ─┬─▶ tokenize        spans that have ended, for the
 *                                                              └─▶ pick.lookup     main thread (thread-spans.ts)
 *
 *  G1  A caller's `traceparent` decides whether a pick is traced; else the ratio does (pick-traces.test.ts "G1").
 *  G3  The engine gets the pick's own span as its parent, in the caller's trace, and only if that span is handed over. Without a span, the
 *      caller's header stays as it came (pick-traces.test.ts "G3").
 *  G2  No text of a request is in a line or a span, except a request id that is a UUID (pick-traces.test.ts "G2").
 */
import { randomBytes } from "node:crypto";

import type { LineGate } from "../log/line-gate.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import type { ThreadSpans } from "../telemetry/thread-spans.ts";
import type { PickReport, PickTrace } from "./picker.ts";

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;
/** Version 00 of W3C's trace context: the trace, and a last bit that says whether the caller traces. */
const TRACEPARENT = /^00-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]([\da-f])$/;
const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;

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

  /**
   * A request is about to be decided. To be asked once for each.
   *
   * @param traceparent - of the request's headers, unchecked; null without one.
   * @returns the ids of its span, for its report; null for a pick that is not traced.
   */
  begin(traceparent: string | null): PickTrace | null {
    const { spans } = this.#parts;
    if (spans === null || !isTraced(traceparent, spans) || !spans.hasRoom()) return null;
    const traceId = TRACEPARENT.exec(traceparent ?? "")?.[1] ?? idOf(TRACE_ID_BYTES);
    const spanId = idOf(SPAN_ID_BYTES);
    return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
  }

  /** A request was decided. */
  decided(report: PickReport): void {
    if (this.#parts.log.isOn("debug")) this.#write(report);
    const { trace } = report;
    if (trace !== null) this.#parts.spans?.send(spanOf(report, trace, this.#parts.epochOffsetMs()));
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
  const flags = TRACEPARENT.exec(traceparent ?? "")?.[2];
  return flags === undefined ? spans.isNext() : (Number.parseInt(flags, 16) & 1) === 1;
}

/** Random, and not all zeros, which W3C's format refuses. */
function idOf(bytes: number): string {
  const id = randomBytes(bytes);
  if (id.every((byte) => byte === 0)) id.writeUInt8(1, 0);
  return id.toString("hex");
}

function spanOf(report: PickReport, { traceId, spanId }: PickTrace, offsetMs: number): FinishedSpan {
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
    ids: { traceId, spanId },
    parts,
  };
}
