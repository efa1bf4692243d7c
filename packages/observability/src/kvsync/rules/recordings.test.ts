/**
 * The recorded series have names in the contract's form, and each name agrees with its expression.
 */
import { expect, test } from "vitest";

import { ALL_FAMILIES } from "../catalogue/families.ts";
import { exposedNames } from "../../documents/exposed-names.ts";
import { shapeOf } from "../../proof/expression-shape.ts";
import { KVSYNC } from "../project.ts";
import { RECORDING_GROUPS } from "./recordings.ts";

const NAMES = exposedNames(ALL_FAMILIES, KVSYNC.knowledge.namedValues);

test("each recorded expression means what its types say, by the other parser", () => {
  for (const rule of RECORDING_GROUPS.flatMap(({ rules }) => rules)) {
    const { shape, problems } = shapeOf(rule.expression, NAMES);
    expect(problems, rule.name).toEqual([]);
    expect([...(shape?.labels ?? [])].sort(), rule.name).toEqual([...rule.labels].sort());
    expect(shape?.measure, rule.name).toBe(rule.measure);
  }
});

test("names have the form level:metric:operations, once each", () => {
  const names = RECORDING_GROUPS.flatMap(({ rules }) => rules.map(({ name }) => name));
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z_]+:[a-z_]+:[a-z0-9_]+$/);
});
