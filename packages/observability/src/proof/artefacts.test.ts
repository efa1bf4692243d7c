/**
 * All rendered files pass every check.
 */
import { expect, test } from "vitest";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { withAlertPrefix, withoutGroups } from "../rules/shared-prometheus.ts";
import { checkKvsync } from "../kvsync/proof/check-kvsync.ts";
import { surroundings } from "../kvsync/proof/surroundings.ts";
import { artefactsOf } from "./artefacts.ts";
import { describeProblems } from "./problem.ts";

test("under longer names of alerts, and without the platform's group, they pass as well", () => {
  const project = withoutGroups(KVSYNC, ["kvsync-platform"]);
  const files = withAlertPrefix(render(project), project, "KVSync");
  const text = [...files.values()].join("\n");
  for (const { name } of project.alertGroups.flatMap(({ alerts }) => alerts)) {
    expect(text, name).toContain(`KVSync${name}`);
    expect(text, name).not.toMatch(new RegExp(`\\b${name}\\b`));
  }
  // Runbooks of the others send to alerts of the platform, which another team has.
  const problems = checkKvsync(artefactsOf(files, project, surroundings())).filter(
    ({ code }) => code !== "dead_runbook",
  );
  expect(describeProblems(problems)).toBe("");
});

test("rules, tests, dashboards and runbooks pass every static check", () => {
  const problems = checkKvsync(artefactsOf(render(KVSYNC), KVSYNC, surroundings()));
  expect(describeProblems(problems)).toBe("");
});

test.each(KVSYNC.alertGroups.map(({ name, alerts }) => [name, alerts] as const))(
  "without the group %s everything is rendered, and no page names its alerts as its own",
  (group, alerts) => {
    const files = render(withoutGroups(KVSYNC, [group]));
    const pages = ["alerts.md", "objectives.md"].map((name) => files.get(`docs/generated/${name}`) ?? "");
    for (const { name } of alerts)
      for (const page of pages) expect(page).not.toMatch(new RegExp(`\\| \`${name}\``));
  },
);
