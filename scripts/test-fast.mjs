/**
 * `npm run test:fast`: the inner loop. Builds, then runs the tests that stand next to the code, without real processes and
 * long random searches (vitest.fast.config.ts). Packages that did not change are not run again.
 */
import { spawnSync } from "node:child_process";

import { childEnvironment, installAndBuild, ROOT, turbo, useSupportedNode } from "./workspace.mjs";

await useSupportedNode();
await installAndBuild();
const [program, ...args] = turbo("test:fast", "--concurrency=1", "--continue");
const { status } = spawnSync(program, args, { cwd: ROOT, env: childEnvironment(), stdio: "inherit" });
process.exitCode = status ?? 1;
