#!/usr/bin/env node
/**
 * router-sim as a process: the command line, interruption, the exit code. A signal ends what runs and lets it clean up;
 * further ones change nothing (a terminal and a parent may both send one), and a clean-up that hangs is cut off.
 */
import { runCli } from "./cli.ts";

/** The daemon may take eight seconds to stop, engines one. */
const CLEAN_UP_MS_MAX = 15_000;

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interrupted.signal.aborted) return;
    interrupted.abort(new Error(`stopped by ${signal}`));
    setTimeout(() => process.exit(1), CLEAN_UP_MS_MAX).unref();
  });
}
process.exitCode = await runCli(process.argv.slice(2), interrupted.signal);
