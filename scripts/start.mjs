/**
 * `npm start`: install, build, and run the demonstration (apps/router-sim, command `demo`). Arguments after `--` go to it:
 * `npm start -- --once` ends after one round with exit code 0 or 1.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT, childEnvironment, forwardSignals, installAndBuild, useSupportedNode } from "./workspace.mjs";

await useSupportedNode();
console.log("kvsync: preparing");
await installAndBuild();
console.log();

const demo = spawn(
  process.execPath,
  [join(ROOT, "apps", "router-sim", "dist", "main.js"), "demo", ...process.argv.slice(2)],
  { cwd: ROOT, env: childEnvironment(), stdio: "inherit" },
);
// Ctrl-C reaches the demonstration as well (same terminal); it cleans up and decides the exit code.
forwardSignals(demo);
demo.on("close", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
