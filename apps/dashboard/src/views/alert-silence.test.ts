/** Silences: from labels and a form to what Alertmanager gets. */
import { expect, it } from "vitest";

import type { Silence } from "@kvsync/client";
import { again, choicesOf, fieldOf, nameOf, silenceRequest, textOfMatcher } from "./alert-silence.ts";

const NOW = Date.UTC(2026, 0, 31, 12);
const CHOICES = choicesOf({ name: "WorkerDown", labels: { worker: "0", instance: "a:1" } });
const equal = (name: string, value: string) => ({ name, value, is_regex: false, is_equal: true });

it("a form begins with all labels of the alert, its name first", () => {
  expect(CHOICES.map(({ name }) => name)).toEqual(["alertname", "instance", "worker"]);
  expect(CHOICES.every(({ isChosen }) => isChosen)).toBe(true);
});

it("chosen labels become matchers, and hours an end", () => {
  const chosen = CHOICES.map((one) => ({ ...one, isChosen: one.name !== "instance" }));
  expect(silenceRequest(chosen, { hours: 4 }, " known ", NOW)).toEqual({
    matchers: [equal("alertname", "WorkerDown"), equal("worker", "0")],
    ends_at: "2026-01-31T16:00:00.000Z",
    comment: "known",
  });
});

it.each([
  ["needLabel", CHOICES.map((one) => ({ ...one, isChosen: false })), { hours: 1 }, "why"],
  ["needComment", CHOICES, { hours: 1 }, "  "],
  ["needEnd", CHOICES, { moment: "" }, "why"],
  ["needEnd", CHOICES, { moment: fieldOf(NOW - 60_000) }, "why"],
] as const)("L1: %s is said before anything is sent", (fault, choices, end, comment) => {
  expect(silenceRequest(choices, end, comment, NOW)).toBe(fault);
});

it("a moment goes to the field and back to the minute, in local time", () => {
  const request = silenceRequest(CHOICES, { moment: fieldOf(NOW + 3_600_000) }, "why", NOW);
  expect(request).toMatchObject({ ends_at: "2026-01-31T13:00:00.000Z" });
});

it("matchers are written as Alertmanager writes them", () => {
  expect(textOfMatcher(equal("pod", "a"))).toBe('pod="a"');
  expect(textOfMatcher({ name: "pod", value: "a", is_regex: false, is_equal: false })).toBe('pod!="a"');
  expect(textOfMatcher({ name: "pod", value: "a.*", is_regex: true, is_equal: true })).toBe('pod=~"a.*"');
  expect(textOfMatcher({ name: "pod", value: "a.*", is_regex: true, is_equal: false })).toBe('pod!~"a.*"');
});

it("a silence is named by its alert, or by all of its matchers", () => {
  expect(nameOf([equal("job", "x"), equal("alertname", "WorkerDown")])).toBe("WorkerDown");
  expect(nameOf([equal("job", "x"), equal("pod", "y")])).toBe('job="x", pod="y"');
});

it("a silence that was ended by mistake is made again with the same end", () => {
  const silence: Silence = {
    id: "1",
    state: "active",
    starts_at: "2026-01-31T11:00:00Z",
    ends_at: "2026-01-31T13:00:00Z",
    created_by: "operator",
    comment: "known",
    matchers: [equal("alertname", "WorkerDown")],
  };
  expect(again(silence)).toEqual({
    matchers: silence.matchers,
    ends_at: silence.ends_at,
    comment: "known",
  });
});
