/**
 * The workflows in .github, read as data. The commands that they run exist, with the pinned pnpm
 * and supported Nodes, actions are pinned, and no job has more rights than it needs.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";
import { parse } from "yaml";

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<
    Record<string, { readonly "timeout-minutes": number; readonly steps: readonly Step[] }>
  >;
}

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const FOLDER = join(ROOT, ".github", "workflows");
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  readonly packageManager: string;
  readonly scripts: Readonly<Record<string, string>>;
};

describe.each(readdirSync(FOLDER))("%s", (name) => {
  const workflow = parse(readFileSync(join(FOLDER, name), "utf8")) as Workflow;
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);
  const commands = steps.map(({ run = "" }) => run).join("\n");

  test("runs the pinned pnpm, scripts of package.json, and files that exist", () => {
    const pnpms = [...commands.matchAll(/\bpnpm@\S+/g)].map(([used]) => used);
    expect(pnpms.filter((used) => used !== manifest.packageManager)).toEqual([]);
    const scripts = [...commands.matchAll(/\bnpm run (\S+)/g)].map(([, script = ""]) => script);
    expect(scripts.filter((script) => !(script in manifest.scripts))).toEqual([]);
    // Build output is as good as its source.
    const files = [...commands.matchAll(/(?:bash|node|--file) ([\w./-]+)/g)].map(([, file = ""]) =>
      file.replace("/dist/", "/src/").replace(/\.js$/, ".ts"),
    );
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  test("pins actions by commit, with the version beside it: a tag of theirs can be moved", () => {
    const lines = readFileSync(join(FOLDER, name), "utf8").match(/^.*\buses: .*$/gm) ?? [];
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line).toMatch(/uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("may only read the repository unless a job says more, and every job ends", () => {
    expect(workflow.permissions).toEqual({ contents: "read" });
    for (const job of Object.values(workflow.jobs)) expect(job["timeout-minutes"]).toBeLessThanOrEqual(90);
  });
});
