/**
 * The schema of the chart's values, read as JSON: which of its objects take keys that it does not name.
 *
 * Not here: the chart as Helm renders it (test/helm-chart.test.ts).
 */
import { expect, test } from "vitest";

import { chartValuesSchema } from "./chart-values.ts";

interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
}

/** Maps from names that the user makes to texts. */
const MAPS: readonly RegExp[] = [
  /(?:^|\.)matchLabels$/,
  /^(?:serviceMonitor|prometheusRule|dashboards)\.labels$/,
  /^(?:ingress|serviceAccount)\.annotations$/,
  /^(?:podAnnotations|podLabels|nodeSelector)$/,
];
/** Places where anything passes: what drivers of volumes define, and what Helm hands to every chart. */
const FREE: readonly RegExp[] = [/^extraVolumes\[\]\.\w+$/, /^global$/];

const schema = JSON.parse(chartValuesSchema()) as Schema;

/** Places where keys or values pass that the schema does not name, each with whether their values are texts. */
function openPlaces(node: Schema, path: string): [path: string, isMap: boolean][] {
  const alternatives = [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])];
  const types = [node.type ?? []].flat();
  const isStated = types.length > 0 || alternatives.length > 0 || node.enum !== undefined || "const" in node;
  const isObject = types.includes("object") || node.properties !== undefined;
  const isOpen =
    !isStated ||
    (isObject && node.additionalProperties !== false) ||
    (types.includes("array") && node.items === undefined);
  const others = node.additionalProperties;
  return [
    ...(isOpen ? [[path, typeof others === "object" && others.type === "string"] as [string, boolean]] : []),
    ...Object.entries(node.properties ?? {}).flatMap(([key, child]) =>
      openPlaces(child, path === "" ? key : `${path}.${key}`),
    ),
    ...(node.items === undefined ? [] : openPlaces(node.items, `${path}[]`)),
    ...alternatives.flatMap((child) => openPlaces(child, path)),
  ];
}

test("every object of the schema is closed, or a map of texts or a place that is free on purpose (V1, KS1)", () => {
  const open = openPlaces(schema, "");
  const surprising = open.filter(
    ([path, isMap]) => !(isMap ? MAPS : FREE).some((pattern) => pattern.test(path)),
  );
  expect(surprising).toEqual([]);
  for (const pattern of [...MAPS, ...FREE]) expect(open.some(([path]) => pattern.test(path))).toBe(true);
});

test.each<[place: string, planted: Schema]>([
  ["a", { type: "object" }],
  ["a", { type: ["object", "null"], additionalProperties: {} }],
  ["a", { type: "array" }],
  ["a[]", { type: "array", items: {} }],
  ["a[]", { anyOf: [{ type: "array", items: { type: "object", properties: {} } }, { type: "null" }] }],
])("an open place at %s is found in %j", (place, planted) => {
  const whole: Schema = { type: "object", properties: { a: planted }, additionalProperties: false };
  expect(openPlaces(whole, "")).toEqual([[place, false]]);
});
