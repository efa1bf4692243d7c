import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { TELEMETRY_METRICS } from "@kvsync/observability/kvsync/telemetry";
import { MetricSlots } from "@kvsync/observability/slots";
import { describe, expect, it } from "vitest";

import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import { recordedLines } from "../log/testing/recorded-log.ts";
import { droppedCounters } from "../telemetry/dropped-lines.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import { THREAD_SPANS_PER_SECOND, ThreadSpans } from "../telemetry/thread-spans.ts";
import { PickTraces } from "./pick-traces.ts";
import type { PickReport } from "./picker.ts";

const UUID = "0f8fad5b-d9cb-469f-a165-70867728950e";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SAMPLED = `00-${TRACE}-b7ad6b7169203331-01`;
const NOT_SAMPLED = `00-${TRACE}-b7ad6b7169203331-00`;
const REPORT: PickReport = {
  basis: "index",
  reason: "none",
  endpoint: { address: "10.0.0.1:80", worker: "a", model: "m", dpRank: null, position: 0 },
  trust: "exact",
  seconds: 0.004,
  bodyBytes: 1000,
  promptTokens: 250,
  heldTokens: 191.6,
  costs: [310.5, 502, 700],
  times: { askedMs: 10, tokensMs: 12, lookedMs: 13, decidedMs: 14 },
  model: "m",
  requestId: UUID,
  traceparent: null,
  trace: null,
};

function tell(ratio: number | null, level: number, ...reports: readonly PickReport[]) {
  const slots = new MetricSlots(CATALOGUE, "picker", () => undefined);
  const { write, lines } = recordedLines();
  const spans: FinishedSpan[] = [];
  const log = new LineGate({
    thread: "picker",
    level: LogLevel.create(level),
    write,
    dropped: droppedCounters(slots, "picker"),
    now: () => 0,
  });
  const dropped = slots.counter(TELEMETRY_METRICS.spans, { outcome: "thread_budget" });
  const send = (span: FinishedSpan): void => void spans.push(span);
  const taken =
    ratio === null ? null : new ThreadSpans(ratio, { send, dropped, now: () => 0, random: Math.random });
  const traces = new PickTraces({ log, spans: taken, epochOffsetMs: () => 1000 });
  const told: (string | null)[] = [];
  for (const report of reports) {
    const trace = traces.begin(report.traceparent);
    told.push(trace?.traceparent ?? null);
    traces.decided({ ...report, trace });
  }
  return { lines, spans, told };
}

describe("a decision", () => {
  it("has a line at the level debug, and none below it", () => {
    const { lines } = tell(null, 5, REPORT);
    expect(lines).toMatchObject([
      {
        event: "request_decided",
        facts: {
          request_id: UUID,
          endpoint: "10.0.0.1:80",
          pod: "a",
          model: "m",
          decision: "index",
          reason: "none",
          matched_tokens: 192,
          prompt_tokens: 250,
          trust: "exact",
          cost: 310.5,
          next_cost: 502,
          duration_ms: 4,
        },
      },
    ]);
    expect(tell(null, 4, REPORT).lines).toEqual([]);
  });

  it("has a span with its tokenization and its lookup", () => {
    const { spans } = tell(0, 1, { ...REPORT, traceparent: SAMPLED });
    expect(spans).toMatchObject([
      {
        name: "pick",
        startMs: 1010,
        endMs: 1014,
        traceparent: SAMPLED,
        error: null,
        parts: [
          { name: "tokenize", startMs: 1010, endMs: 1012 },
          { name: "pick.lookup", startMs: 1012, endMs: 1013 },
        ],
      },
    ]);
  });

  it("has the reason as its span's error, when it is no pick, and no part that did not happen", () => {
    const times = { askedMs: 10, tokensMs: null, lookedMs: null, decidedMs: 11 };
    const refused = { ...REPORT, times, basis: "immediate", reason: "no_endpoint", endpoint: null } as const;
    expect(tell(1, 1, refused).spans).toMatchObject([{ error: "no_endpoint", parts: [] }]);
  });

  it.each([
    ["traced", SAMPLED, 0, 1],
    ["not traced", NOT_SAMPLED, 1, 0],
    ["untold, with a ratio of 1", null, 1, 1],
    ["untold, with a ratio of 0", null, 0, 0],
    ["in a form that is none, with a ratio of 1", "00-nonsense", 1, 1],
    ["traced, while tracing is off", SAMPLED, null, 0],
  ])("G1: whose caller is %s", (_caller, traceparent, ratio, count) => {
    const { spans } = tell(ratio, 1, { ...REPORT, traceparent });
    expect(spans).toHaveLength(count);
    expect(spans.every((span) => span.traceparent === undefined || span.traceparent === SAMPLED)).toBe(true);
  });

  it("G3: the engine is told of the pick's span, in the caller's trace", () => {
    const { spans, told } = tell(1, 1, { ...REPORT, traceparent: SAMPLED }, REPORT);
    expect(told).toEqual(spans.map(({ ids }) => `00-${ids?.traceId ?? ""}-${ids?.spanId ?? ""}-01`));
    expect(told[0]).toMatch(new RegExp(`^00-${TRACE}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`));
    expect(told[1]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(told[1]).not.toContain(TRACE);
  });

  it("G3: the engine is told nothing of a pick without a span: not traced, or beyond the budget", () => {
    const picks = Array.from({ length: THREAD_SPANS_PER_SECOND + 5 }, () => ({
      ...REPORT,
      traceparent: SAMPLED,
    }));
    const { spans, told } = tell(0, 1, { ...REPORT, traceparent: NOT_SAMPLED }, ...picks);
    expect(spans).toHaveLength(THREAD_SPANS_PER_SECOND);
    expect(told.filter((one) => one === null)).toHaveLength(1 + 5);
  });

  it("G2: tells no text of its request", () => {
    const secret = { ...REPORT, requestId: "the secret", traceparent: "the secret" };
    expect(JSON.stringify(tell(1, 5, secret))).not.toContain("secret");
  });
});
