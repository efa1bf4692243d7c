import { expect, test } from "vitest";

import { TemplateTrust } from "./template-trust.ts";

const OFF_MS = 600_000;

function trust(sample = 3): { template: TemplateTrust; at: (ms: number) => void } {
  let now = 0;
  const template = new TemplateTrust({ sample, offMs: OFF_MS }, () => now);
  return {
    template,
    at: (ms) => {
      now = ms;
    },
  };
}

/** A round of probes with this end. */
function probe(template: TemplateTrust, outcome: "agree" | "differ" | "unanswered"): void {
  const era = template.beginProbes();
  expect(era).not.toBeNull();
  template.probed(era ?? -1, outcome);
}

test("W1: nothing is believed before the probes have agreed", () => {
  const { template } = trust();
  expect(template.isTrusted).toBe(false);
  probe(template, "agree");
  expect(template.isTrusted).toBe(true);
  expect(template.beginProbes()).toBeNull();
});

test("W1: while the engine does not answer, probes are tried again after ten seconds", () => {
  const { template, at } = trust();
  probe(template, "unanswered");
  at(9999);
  expect(template.beginProbes()).toBeNull();
  at(10_000);
  probe(template, "agree");
  expect(template.isTrusted).toBe(true);
});

test("W1: after a difference nothing is believed for as long as was said, and then only after new probes", () => {
  const { template, at } = trust(1);
  probe(template, "agree");
  expect(template.compared(template.beginSample() ?? -1, "differ")).toBe(true);
  expect(template.isTrusted).toBe(false);
  at(OFF_MS - 1);
  expect(template.beginProbes()).toBeNull();
  at(OFF_MS);
  probe(template, "differ");
  at(2 * OFF_MS - 1);
  expect(template.beginProbes()).toBeNull();
  at(2 * OFF_MS);
  probe(template, "agree");
  expect(template.isTrusted).toBe(true);
});

test("W2: one round of probes at a time, and one that began before a difference does not undo it", () => {
  const { template } = trust(1);
  const era = template.beginProbes() ?? -1;
  expect(template.beginProbes()).toBeNull();
  template.probed(era, "agree");
  const [early, late] = [template.beginSample() ?? -1, template.beginSample() ?? -1];
  expect(template.compared(early, "differ")).toBe(true);
  expect(template.compared(late, "differ")).toBe(false);
});

test("one of so many requests is compared, and an engine that does not answer changes nothing", () => {
  const { template } = trust(3);
  probe(template, "agree");
  const due = Array.from({ length: 9 }, () => template.beginSample() !== null);
  expect(due).toEqual([false, false, true, false, false, true, false, false, true]);
  for (const outcome of ["agree", "unanswered"] as const) expect(template.compared(0, outcome)).toBe(false);
  expect(template.isTrusted).toBe(true);
});
