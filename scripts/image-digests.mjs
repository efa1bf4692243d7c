/**
 * The digest of each image that the files of this repository name by tag, asked of its registry. The output is a part of a
 * kustomization, which pins the images of the monitoring stack:
 *
 *     node scripts/image-digests.mjs > images.yaml
 *
 * It needs Docker with buildx, and a network. A tag that its registry does not have ends it: such a file cannot be deployed.
 * Exit codes: 0 all have one, 1 otherwise, with a line for each image.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./workspace.mjs";

const MONITORING = join("infra", "kubernetes", "monitoring");
const FILES = [
  ...readdirSync(join(ROOT, MONITORING)).map((name) => join(MONITORING, name)),
  join("infra", "compose", "compose.yaml"),
  join("infra", "container", "Containerfile"),
];

/** Images with a registry and a tag; those of this repository have none, since they are built. */
const NAMED = /^\s*(?:image: |FROM )(\S+\/\S+:[\w.-]+)(?:\s|$)/gm;

const images = new Set(
  FILES.flatMap((path) =>
    [...readFileSync(join(ROOT, path), "utf8").matchAll(NAMED)].map(([, image]) => image),
  ),
);

let failed = false;
console.log("images:");
for (const image of [...images].sort()) {
  const args = ["buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"];
  const { status, stdout, stderr, error } = spawnSync("docker", args, { encoding: "utf8" });
  const digest = stdout?.trim() ?? "";
  if (status !== 0 || !/^sha256:[0-9a-f]{64}$/.test(digest)) {
    console.error(`${image} has no digest: ${error?.message ?? (stderr.trim() || digest)}`);
    failed = true;
    continue;
  }
  console.log(`  # ${image}\n  - { name: ${image.slice(0, image.lastIndexOf(":"))}, digest: "${digest}" }`);
}
process.exitCode = failed ? 1 : 0;
