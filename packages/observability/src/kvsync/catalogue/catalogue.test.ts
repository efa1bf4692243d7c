/** Names and texts of the catalogue as a whole. */
import { expect, test } from "vitest";

import { NAMESPACE } from "../namespace.ts";
import { CATALOGUE } from "./catalogue.ts";

test("names and help of the catalogue follow the rules of the exposition format", () => {
  const suffixes = {
    seconds: /_seconds$/,
    bytes: /_bytes$/,
    ratio: /_(ratio|rate)$/,
    percent: /_percentage$/,
    timestamp: /_timestamp_seconds$/,
    none: /(?<!_(seconds|bytes|ratio|percentage|count|sum|bucket|created|info_total))$/,
  };
  for (const { name, unit, help, why, kind } of CATALOGUE) {
    expect(name).toMatch(new RegExp(`^${NAMESPACE}_[a-z0-9_]+$`));
    expect(name.replace(/_total$/, "")).toMatch(suffixes[unit]);
    expect(name.endsWith("_total"), name).toBe(kind === "counter");
    expect(help, name).toMatch(/\.$/);
    expect(why, name).toMatch(/\.$/);
  }
  expect(new Set(CATALOGUE.map(({ name }) => name)).size).toBe(CATALOGUE.length);
});
