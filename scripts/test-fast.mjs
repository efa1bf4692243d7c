/**
 * `npm run test:fast`: the inner loop. Builds, then runs the tests next to the code without the slow kinds
 * (vitest.fast.config.ts), two packages at a time. Packages that did not change are not run again.
 */
import { spawnSync } from "node:child_process";

import { childEnvironment, installAndBuild, ROOT, turbo, useSupportedNode } from "./workspace.mjs";

await useSupportedNode();
await installAndBuild();
const [program, ...args] = turbo("test:fast", "--concurrency=2", "--continue");
const { status } = spawnSync(program, args, { cwd: ROOT, env: childEnvironment(), stdio: "inherit" });
process.exitCode = status ?? 1;
