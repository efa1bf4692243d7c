/**
 * Makes the folder that a container image is made of: the built daemon and its tools with everything they need at run time, and nothing else.
 *
 *     node scripts/package.mjs FOLDER      FOLDER is made anew
 *     FOLDER/dist/main.js                  kvsync-daemon
 *     FOLDER/dist/tools/main.js            kvsync
 *
 * It is checked by starting both from there, away from this workspace.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { installAndBuild, pnpm, requireNode, step } from "./workspace.mjs";

const [folder] = process.argv.slice(2);
if (folder === undefined || process.argv.length > 3) {
  console.error("usage: node scripts/package.mjs FOLDER");
  process.exit(2);
}
const target = resolve(folder);

requireNode();
await installAndBuild();
rmSync(target, { recursive: true, force: true });
const deployed = await step(
  "gather the daemon and what it needs",
  pnpm("--filter", "@kvsync/sync-daemon", "deploy", "--prod", "--legacy", target),
);
if (!deployed.ok) process.exit(1);
for (const [program, argument] of [
  ["dist/main.js", "--check-config"],
  ["dist/tools/main.js", "--help"],
]) {
  chmodSync(join(target, program), 0o755);
  // From elsewhere, so that nothing of this workspace is found.
  const { status, stderr } = spawnSync(process.execPath, [join(target, program), argument], {
    cwd: tmpdir(),
    encoding: "utf8",
    env: { PATH: process.env.PATH },
  });
  if (status === 0) continue;
  console.error(`${program} ${argument} ended with ${status}: ${stderr}`);
  process.exit(1);
}
console.log(`${target} is complete`);
