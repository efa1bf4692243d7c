#!/usr/bin/env node
/**
 * router-sim as a process: the command line, interruption, the exit code. A signal ends what runs and lets it clean up;
 * further ones change nothing (a terminal and a parent may both send one), and a clean-up that hangs is cut off. Where there is
 * nothing to clean up, a signal does what it does to any process.
 *
 * When whoever reads stdout goes (`| head`), that is an interruption, too: without a word, and with the exit code that a process has in a
 * shell when it dies of SIGPIPE.
 */
import { runCli } from "./cli.ts";

/** The daemon may take eight seconds to stop, engines one. */
const CLEAN_UP_MS_MAX = 15_000;
const EXIT_CLOSED_STDOUT = 141;

const interrupted = new AbortController();
let isListening = false;
const stdout = { isClosed: false };

function interrupt(reason: string): void {
  if (interrupted.signal.aborted) return;
  interrupted.abort(new Error(reason));
  setTimeout(() => process.exit(1), CLEAN_UP_MS_MAX).unref();
}

function listen(): void {
  if (isListening) return;
  isListening = true;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      interrupt(`stopped by ${signal}`);
    });
  }
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  if (!isListening) process.exit(EXIT_CLOSED_STDOUT);
  stdout.isClosed = true;
  interrupt("stdout was closed");
});
// Who reads neither is told by the exit code alone.
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

const exitCode = await runCli(process.argv.slice(2), interrupted.signal, listen);
process.exitCode = stdout.isClosed ? EXIT_CLOSED_STDOUT : exitCode;
