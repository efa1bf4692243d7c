/** Which spans are traced, and two daemons in one process. tracing.e2e.test.ts tests the spans that a collector receives. */
import { propagation, trace } from "@opentelemetry/api";
import { afterEach, expect, test } from "vitest";

import { Tracing } from "./tracing.ts";

const running: Tracing[] = [];
afterEach(async () => {
  for (const tracing of running.splice(0)) await tracing.stop();
});

function tracingAt(ratio: number): Tracing {
  const dependencies = { version: "0", count: () => undefined, log: () => undefined };
  const endpoint = "http://127.0.0.1:9";
  const tracing = new Tracing(endpoint, { endpoint, ratio, batch_ratio: 0 }, dependencies);
  running.push(tracing);
  return tracing;
}

const isTraced = (tracing: Tracing, name: "lookup" | "snapshot.write" = "lookup"): boolean =>
  tracing.within(name, (span) => span.isRecording);

test("the caller decides whether its request is traced, without a caller the ratio does, and what is rare is traced (S1)", () => {
  const [all, none] = [tracingAt(1), tracingAt(0)];
  const request = (tracing: Tracing, flags: string | null): boolean => {
    const traceparent = `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${flags ?? ""}`;
    return tracing.openRequest("GET", "/", flags === null ? {} : { traceparent }).span.isRecording();
  };
  expect([request(all, "00"), request(none, "01"), request(all, null), request(none, null)]).toEqual([
    false,
    true,
    true,
    false,
  ]);
  expect([isTraced(all), isTraced(none), isTraced(none, "snapshot.write")]).toEqual([true, false, true]);
  const half = tracingAt(0.5);
  const traced = Array.from({ length: 1000 }, () => isTraced(half)).filter(Boolean).length;
  expect(traced).toBeGreaterThan(350);
  expect(traced).toBeLessThan(650);
});

test("nothing is registered for the process: each daemon has its own spans, and no other has an active one (S3)", async () => {
  const [one, other] = [tracingAt(1), tracingAt(1)];
  await one.within("lookup", async () => {
    const ids = one.activeIds();
    await Promise.resolve();
    expect([one.activeIds(), other.activeIds()]).toEqual([ids, null]);
    expect(trace.getActiveSpan()).toBeUndefined();
    expect(propagation.fields()).toEqual([]);
    other.within("lookup", () => {
      expect(other.activeIds()?.trace_id).not.toBe(ids?.trace_id);
      expect(one.activeIds()).toEqual(ids);
    });
  });
  expect(trace.getTracer("any").startSpan("any").isRecording()).toBe(false);
});
