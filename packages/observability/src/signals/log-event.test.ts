/** Definitions of log events: names of fields, limits, and lines that are not as declared. */
import { expect, test } from "vitest";

import { KVSYNC } from "../kvsync/project.ts";
import { flag, integer, oneOf, orAbsent, orNull, text } from "./field.ts";
import { LINE_BOUND_NAMES, LINE_BOUNDS, lineFaults, logEvents } from "./log-event.ts";

test("every event about an engine has the limit of peers, and every limit a rate (E1)", () => {
  const aboutEngines = Object.entries(KVSYNC.logEvents).filter(([, { fields }]) => "pod" in fields);
  expect(aboutEngines.length).toBeGreaterThan(20);
  expect(aboutEngines.filter(([, { cause }]) => cause !== "peer").map(([code]) => code)).toEqual([]);
  for (const name of LINE_BOUND_NAMES) {
    expect(LINE_BOUNDS[name].perSecond).toBeGreaterThan(0);
    expect(LINE_BOUNDS[name].burst).toBeGreaterThanOrEqual(LINE_BOUNDS[name].perSecond);
  }
});

test("a field with the name of one that every line has is refused (E2)", () => {
  const event = { level: "info", message: "m", cause: "daemon", meaning: "m", response: null } as const;
  expect(() => logEvents("main", { started: { ...event, fields: { time: text("of the start") } } })).toThrow(
    "log event started: the field time is one that every line has",
  );
});

test("the faults of a line name the missing, the unknown and the wrong field", () => {
  const { started } = logEvents("main", {
    started: {
      level: "info",
      message: "m",
      fields: {
        path: text("of the file"),
        source: oneOf(["file", "http"], "of the settings"),
        engines: integer("listed"),
        isNew: flag("made now"),
        commit: orNull(text("of the build"), "it is a checkout"),
        detail: orAbsent(text("more"), "there is none"),
      },
      cause: "daemon",
      meaning: "m",
      response: null,
    },
  });
  const common = { level: "info", time: "t", component: "main", event: "started", message: "m" };
  const facts = { path: "p", source: "file", engines: 1, isNew: true, commit: null };
  expect(lineFaults(started, { ...common, ...facts })).toEqual([]);
  expect(lineFaults(started, { ...common, ...facts, detail: "d", commit: "c" })).toEqual([]);
  const { path, ...more } = { ...facts, source: "disk", engines: 1.5, isNew: null, other: 1 };
  expect(path).toBe("p");
  expect(lineFaults(started, { ...common, ...more })).toEqual([
    "other is not declared",
    "path is missing",
    'source is "disk", expected `file`, `http`',
    "engines is 1.5, expected integer",
    "isNew is null, expected flag",
  ]);
});
