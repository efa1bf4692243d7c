/**
 * Whether a tag may be released: each file that has the version has this one, and the changelog has its section.
 *
 *     node scripts/release-check.mjs v0.2.0
 *
 * Exit codes: 0 yes, 1 no, with a line for each fault; 2 the tag is not `v` and a version.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./workspace.mjs";

const [tag = ""] = process.argv.slice(2);
const [, version] = /^v(\d+\.\d+\.\d+)$/.exec(tag) ?? [];
if (version === undefined || process.argv.length > 3) {
  console.error("usage: node scripts/release-check.mjs v0.2.0");
  process.exit(2);
}

const read = (path) => readFileSync(join(ROOT, path), "utf8");
const faults = [];

/** Notes a fault unless the file has the version where the pattern captures it. */
function expectVersion(path, pattern) {
  const found = pattern.exec(read(path))?.[1];
  if (found !== version) faults.push(`${path} has ${found ?? "no version"}; expected ${version}`);
}

for (const group of ["packages", "apps"])
  for (const name of readdirSync(join(ROOT, group)))
    expectVersion(join(group, name, "package.json"), /"version": "([^"]+)"/);
expectVersion("infra/helm/kvsync/Chart.yaml", /^version: "?([^"\s]+)/m);
expectVersion("infra/helm/kvsync/Chart.yaml", /^appVersion: "?([^"\s]+)/m);
expectVersion("infra/kubernetes/kustomization.yaml", /newTag: "?([^"\s}]+)/);
expectVersion("CHANGELOG.md", /^## \[(\d[^\]]*)\] - \d{4}-\d{2}-\d{2}$/m);

const [, unreleased = ""] = /^## \[Unreleased\]\n([^]*?)^## \[/m.exec(read("CHANGELOG.md")) ?? [];
if (unreleased.trim() !== "")
  faults.push(`CHANGELOG.md has changes under [Unreleased]; expected them under [${version}]`);

for (const fault of faults) console.error(fault);
if (faults.length === 0) console.log(`${tag} can be released`);
process.exitCode = faults.length === 0 ? 0 : 1;
