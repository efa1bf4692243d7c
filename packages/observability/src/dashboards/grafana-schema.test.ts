/**
 * Dashboards against Grafana's own JSON Schema (draft-07, of the Foundation SDK's repository). The
 * schema is in a folder next to this repository.
 *
 * Those schemas have four traps. Most have no root `$ref`, so the file compiled as it is accepts
 * everything. Options and custom field settings of panels are open in the dashboard's schema, so
 * the test checks them against the panel's own schema. A mismatch of panel or row reports both, so
 * the test reports the kind first. A field matcher's options and an overridden value are declared
 * objects there. Grafana and the SDK write names and numbers, so the test accepts any value for
 * these two.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { Ajv, type ValidateFunction } from "ajv";
import { describe, expect, test } from "vitest";

import { KVSYNC } from "../kvsync/project.ts";
import { grafanaDashboard } from "./grafana.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "..", "..", "..", "shared", "data", "grafana-schema");

/** Definition and property whose value may be anything. */
const ANYTHING = [
  ["MatcherConfig", "options"],
  ["DynamicConfigValue", "value"],
] as const;

interface Schema {
  definitions: Record<string, { properties?: Record<string, object> }>;
}

interface PanelJson {
  type: string;
  options?: unknown;
  fieldConfig?: { defaults: { custom?: unknown } };
  targets?: unknown[];
}

describe.skipIf(!existsSync(FOLDER))("Grafana's JSON Schema (../shared/data/grafana-schema)", () => {
  function validator(file: string, definition: string): ValidateFunction {
    const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
    const schema = JSON.parse(readFileSync(join(FOLDER, `${file}.jsonschema.json`), "utf8")) as Schema;
    for (const [name, property] of ANYTHING) {
      const properties = schema.definitions[name]?.properties;
      if (properties !== undefined) properties[property] = {};
    }
    return ajv.compile({ ...schema, $ref: `#/definitions/${definition}` });
  }

  function problems(validate: ValidateFunction, value: unknown): string[] {
    validate(value);
    return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ""}`);
  }

  const boards = KVSYNC.dashboards.map(
    (board) =>
      [
        board.uid,
        grafanaDashboard(KVSYNC, board, () => [{ title: "Runbook", url: "https://runbooks.example/x.md" }]),
      ] as const,
  );

  test.each(boards)("%s is a dashboard of schema v1, panel by panel", (_, json) => {
    const { panels, ...board } = json as unknown as { panels: PanelJson[] };
    expect(problems(validator("dashboard", "Dashboard"), { ...board, panels: [] })).toEqual([]);
    const panel = validator("dashboard", "Panel");
    const row = validator("dashboard", "RowPanel");
    for (const item of panels) expect(problems(item.type === "row" ? row : panel, item)).toEqual([]);
  });

  test.each(boards)("%s: options, field settings and queries fit their plugins", (_, json) => {
    const { panels } = json as unknown as { panels: PanelJson[] };
    const query = validator("prometheus", "Dataquery");
    for (const panel of panels.filter(({ type }) => type !== "row")) {
      const plugin = panel.type.replace("-", "");
      expect(problems(validator(plugin, "Options"), panel.options ?? {}), panel.type).toEqual([]);
      const custom = panel.fieldConfig?.defaults.custom;
      if (custom !== undefined)
        expect(problems(validator(plugin, "FieldConfig"), custom), panel.type).toEqual([]);
      for (const target of panel.targets ?? []) expect(problems(query, target)).toEqual([]);
    }
  });

  test("the schema refuses a misspelt key and a wrong type, so it does look", () => {
    const validate = validator("dashboard", "Panel");
    const [, json] = boards[0]!;
    const [, panel] = (json as unknown as { panels: PanelJson[] }).panels;
    expect(problems(validate, { ...panel, tittle: "x" })).not.toEqual([]);
    expect(problems(validate, { ...panel, title: 7 })).not.toEqual([]);
    expect(problems(validator("timeseries", "Options"), { legend: { showLegend: "yes" } })).not.toEqual([]);
  });
});
