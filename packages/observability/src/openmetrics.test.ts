/** Scrapes as OpenMetrics: the same series as in the classic text, with exemplars, through the real exposition. */
import { expect, test } from "vitest";

import { definersOf, doubling, withExemplars } from "./definition.ts";
import { Exposition } from "./exposition.ts";
import { scrapeFormat } from "./scrape-format.ts";
import { MetricSlots } from "./slots.ts";

const { counter, gauge, histogram } = definersOf("app");
const EVENTS = counter({
  name: "test_events_total",
  help: 'Events, "stored" or removed.',
  unit: "none",
  labels: { type: ["stored", "removed"] },
  preset: "zero is a fact",
  why: "A test.",
});
const DEPTH = gauge({
  name: "test_depth",
  help: "Depth.",
  unit: "none",
  labels: {},
  preset: "absent until known",
  why: "A test.",
});
const WAIT = withExemplars(
  histogram({
    name: "test_wait_seconds",
    help: "Wait.",
    unit: "seconds",
    labels: { lane: { maxValues: 4 } },
    preset: "absent until known",
    buckets: doubling(1, 3),
    why: "A test.",
  }),
);
const FAMILIES = [EVENTS, DEPTH, WAIT];
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

function setUp() {
  const exposition = new Exposition(FAMILIES);
  const slots = new MetricSlots(FAMILIES, "main", (announcement) => {
    exposition.accept(announcement);
  });
  slots.gauge(DEPTH, {}).set(3);
  const wait = slots.histogram(WAIT, { lane: "live" });
  wait.observe(1.5);
  return { exposition, slots, wait };
}

/** Lines of our own families: default metrics move between two scrapes. */
function ownLines(text: string): string[] {
  return text.split("\n").filter((line) => /^(?:# \w+ )?app_/.test(line));
}

test("X1: exemplars leave the classic text as it was, byte for byte", async () => {
  const { exposition } = setUp();
  const before = await exposition.scrape();
  exposition.exemplar(WAIT, { lane: "live" }, 1.5, TRACE);
  await exposition.scrape("openmetrics");
  const after = await exposition.scrape();
  const own = (text: string): string => text.slice(0, text.indexOf("# HELP process_"));
  expect(own(after)).toBe(own(before));
  expect(own(after).length).toBeGreaterThan(300);
  const names = (text: string): string[] => text.split("\n").map((line) => line.replace(/ [^ ]+$/, ""));
  expect(names(after)).toEqual(names(before));
  expect(after).toContain("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ");
});

test("OpenMetrics has the same samples, families of counters without _total, no empty line, and an end", async () => {
  const { exposition } = setUp();
  const [classic, open] = [await exposition.scrape(), await exposition.scrape("openmetrics")];
  const samples = (text: string): string[] => ownLines(text).filter((line) => !line.startsWith("#"));
  expect(samples(open)).toEqual(samples(classic));
  expect(samples(open).length).toBe(9);
  expect(ownLines(open).slice(0, 2)).toEqual([
    '# HELP app_test_events Events, \\"stored\\" or removed.',
    "# TYPE app_test_events counter",
  ]);
  const names = (text: string): Set<string> =>
    new Set(text.split("\n").flatMap((line) => /^[a-z]\w*/.exec(line)?.[0] ?? []));
  expect(names(open)).toEqual(names(classic));
  const lines = open.split("\n");
  expect(lines.slice(-2)).toEqual(["# EOF", ""]);
  expect(lines.slice(0, -1)).not.toContain("");
  // Every sample of a counter ends in _total, and no metadata of one does.
  expect(lines.filter((line) => /^# (?:HELP|TYPE) \w+_total /.test(line))).toEqual([]);
  expect(lines).toContain("# TYPE process_cpu_seconds counter");
});

test("X2: an exemplar is in the bucket of its value, replaces the one before, and ends with its series", async () => {
  const { exposition, slots, wait } = setUp();
  const exemplars = async (): Promise<string[]> =>
    ownLines(await exposition.scrape("openmetrics")).filter((line) => line.includes(" # "));
  exposition.exemplar(WAIT, { lane: "live" }, 1.5, "a".repeat(32));
  exposition.exemplar(WAIT, { lane: "live" }, 2, TRACE);
  exposition.exemplar(WAIT, { lane: "live" }, 100, TRACE);
  exposition.exemplar(WAIT, { lane: "none of the exported" }, 1, TRACE);
  const found = await exemplars();
  expect(found).toHaveLength(2);
  expect(found[0]).toMatch(
    new RegExp(
      `^app_test_wait_seconds_bucket\\{lane="live",le="2"\\} 1 # \\{trace_id="${TRACE}"\\} 2 \\d{10}(?:\\.\\d+)?$`,
    ),
  );
  expect(found[1]).toMatch(/le="\+Inf"\} 1 # \{trace_id="4bf9\w+"\} 100 /);
  slots.release(wait);
  slots.histogram(WAIT, { lane: "live" });
  expect(await exemplars()).toEqual([]);
});

test.each([
  [undefined, "text"],
  ["*/*", "text"],
  ["text/plain", "text"],
  ["application/openmetrics-text", "openmetrics"],
  ["application/openmetrics-text; version=1.0.0; charset=utf-8", "openmetrics"],
  ["application/openmetrics-text;version=2.0.0", "text"],
  ["application/openmetrics-text;q=0", "text"],
  ["application/openmetrics-text;q=half", "text"],
  ["text/plain;q=0.5,application/openmetrics-text;q=0.4", "text"],
  // Prometheus 2.42
  [
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "openmetrics",
  ],
  // Prometheus 3
  [
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "openmetrics",
  ],
  [`application/openmetrics-text${",text/plain".repeat(200)}`, "text"],
])("Accept %s is answered with %s", (accept, format) => {
  expect(scrapeFormat(accept)).toBe(format);
});
