/**
 * All rendered files pass every check.
 */
import { expect, test } from "vitest";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { checkKvsync } from "../kvsync/proof/check-kvsync.ts";
import { surroundings } from "../kvsync/proof/surroundings.ts";
import { artefactsOf } from "./artefacts.ts";
import { describeProblems } from "./problem.ts";

test("rules, tests, dashboards and runbooks pass every static check", () => {
  const problems = checkKvsync(artefactsOf(render(KVSYNC), KVSYNC, surroundings()));
  expect(describeProblems(problems)).toBe("");
});
