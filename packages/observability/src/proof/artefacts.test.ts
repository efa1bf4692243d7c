/**
 * All rendered files pass every check.
 */
import { expect, test } from "vitest";

import { CATALOGUE } from "../kvsync/catalogue/catalogue.ts";
import { EXTERNAL_CATALOGUE } from "../kvsync/catalogue/platform.ts";
import { render } from "../render.ts";
import { DEFAULT_LINK_BASES } from "../rules/links.ts";
import { checkAll } from "./check-all.ts";
import { describeProblems } from "./problem.ts";
import { surroundings } from "./surroundings.ts";

test("rules, tests, dashboards and runbooks pass every static check", () => {
  const problems = checkAll({
    files: render(DEFAULT_LINK_BASES),
    surroundings: surroundings(),
    ownFamilies: CATALOGUE,
    externalFamilies: EXTERNAL_CATALOGUE,
  });
  expect(describeProblems(problems)).toBe("");
});
