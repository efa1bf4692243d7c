#!/usr/bin/env node
/** router-sim as a process: the command line, interruption, the exit code. */
import { runCli } from "./cli.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    interrupted.abort(new Error(`stopped by ${signal}`));
  });
}
process.exitCode = await runCli(process.argv.slice(2), interrupted.signal);
