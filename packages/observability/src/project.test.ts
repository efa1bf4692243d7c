/** A project from its specification: refused names and components, and the values that follow from the name. */
import { expect, test } from "vitest";

import { KVSYNC } from "./kvsync/project.ts";
import { type ProjectSpec, projectOf } from "./project.ts";
import { receiverOf } from "./rules/alertmanager.ts";

const EMPTY = { title: "Shop", job: "shop", families: [], dashboards: [] };

test("a component without a team does not compile, and is refused by name where it is forced (P1)", () => {
  const alert = { ...KVSYNC.alertGroups[0]!.alerts[0]!, component: "payment" as const };
  const spec = { ...EMPTY, name: "shop", alertGroups: [{ name: "shop", alerts: [alert] }] };
  // @ts-expect-error payment has no team
  const forced = projectOf({ ...spec, teamOf: { checkout: "shop" } });
  expect(() => receiverOf(forced, "critical", "payment")).toThrow(
    "payment has no team; expected one of checkout",
  );
  expect(receiverOf(projectOf({ ...spec, teamOf: { payment: "billing" } }), "critical", "payment")).toBe(
    "billing-critical",
  );
});

test.each(["", "Shop", "my shop", "a/b", "x".repeat(21)])("the name %j is refused (P2)", (name) => {
  const spec: ProjectSpec<never> = { ...EMPTY, name, alertGroups: [], teamOf: {} };
  expect(() => projectOf(spec)).toThrow(`the name of the project is "${name}"; expected at most 20`);
});

test("addresses, contacts and places follow from the name", () => {
  const project = projectOf({ ...EMPTY, name: "shop", alertGroups: [], teamOf: { payment: "billing" } });
  expect(project.links.runbooks).toBe("https://runbooks.shop.example");
  expect(project.contacts.channels).toEqual({ billing: "#billing-alerts" });
  expect(project.places.prometheus).toBe("infra/prometheus");
});
