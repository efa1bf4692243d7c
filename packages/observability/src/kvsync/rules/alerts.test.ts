/** Checks that each alert is in the file of its name. */

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { ALERT_GROUPS } from "./alerts.ts";
import { runbookFile } from "../../rules/links.ts";

/** Objectives generate their alerts in one file: four windows for each objective. */
const GENERATED = "kvsync-objectives";

test("each alert has a file in the folder of its group, named as its runbook", () => {
  const folder = join(import.meta.dirname, "alerts");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.startsWith("objectives"))
    .toSorted();
  const expected = ALERT_GROUPS.filter(({ name }) => name !== GENERATED)
    .flatMap(({ name: group, alerts }) =>
      alerts.map(({ name }) => join(group.replace("kvsync-", ""), runbookFile(name).replace(".md", ".ts"))),
    )
    .toSorted();
  expect(files).toEqual(expected);
});
