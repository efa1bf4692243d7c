#!/usr/bin/env node
/**
 * router-sim as a process: the command line, interruption, the exit code. A signal ends the run and
 * starts its clean-up. Further signals change nothing (a terminal and a parent may both send one).
 * A clean-up that hangs is cut off. Without a clean-up, a signal has its default effect.
 *
 * When the reader of stdout goes (`| head`), that is an interruption, too. It prints nothing, and
 * ends with the exit code that a shell reports for SIGPIPE.
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
