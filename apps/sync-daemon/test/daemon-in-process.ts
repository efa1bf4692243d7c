/**
 * A daemon with its HTTP rim in the test's own process, asked by `app.inject` and inspected. Its
 * threads are real and run the built files; every answer is checked against its schema. Tests that
 * kill, freeze or watch a daemon from outside use daemon-process.ts.
 */
import type { NestFastifyApplication } from "@nestjs/platform-fastify";

import { createApp } from "../src/app.module.ts";
import { Daemon, type DaemonDependencies } from "../src/daemon.ts";
import type { LogLine } from "../src/log/log-line.ts";
import { recordedLines } from "../src/log/testing/recorded-log.ts";
import { readSettings } from "../src/settings/read-settings.ts";
import { withCheckedAnswers } from "./answer-check.ts";

/** A daemon that runs. */
export interface DaemonInProcess {
  readonly daemon: Daemon;
  readonly app: NestFastifyApplication;
  /** Everything that it has logged so far. */
  readonly log: readonly LogLine[];
  /** Ends both. */
  readonly stop: () => Promise<void>;
}

/** Flags of all daemons that start from now on, before their own. */
const common: string[] = [];

/** Has the daemons of this file's suites answer lookups in so many threads, whatever the length of a body. */
export function answerInThreads(threads: number): void {
  common.splice(0, common.length, "--http-threads", String(threads));
}

/** Starts one with these flags, without environment and file; with public prefix hashes unless the flags say otherwise. `more` replaces what it is made of. */
export async function startInProcess(
  argv: readonly string[] = [],
  more: Partial<DaemonDependencies> = {},
): Promise<DaemonInProcess> {
  const hashes = argv.includes("--index-prefix-hashes") ? [] : ["--index-prefix-hashes", "public"];
  const { settings, given } = readSettings([...common, ...hashes, ...argv], {});
  const { lines: log, write } = recordedLines();
  const daemon = await Daemon.start(settings, {
    whyFolderLost: () => null,
    ingestScript: new URL("../dist/ingest/ingest-thread.js", import.meta.url),
    snapshotScript: new URL("../dist/snapshot/snapshot-thread.js", import.meta.url),
    tokenizerScript: new URL("../dist/tokenizer/tokenizer-thread.js", import.meta.url),
    start: {
      version: "0.0.0-test",
      commit: null,
      node: process.version,
      configFile: null,
      sources: new Map(),
      given,
    },
    log: write,
    lookupThreads: {
      script: new URL("../dist/lookup-threads/lookup-thread.js", import.meta.url),
      died: (error) => {
        throw error;
      },
      stalled: (thread) => {
        throw new Error(`lookup thread ${thread} stopped`);
      },
      bodyBytesMin: 1,
    },
    picker: {
      script: new URL("../dist/picker/picker-thread.js", import.meta.url),
      died: (error) => {
        throw error;
      },
      stalled: () => {
        throw new Error("the picker stopped");
      },
    },
    died: (error) => {
      throw error;
    },
    stalled: (worker) => {
      throw new Error(`${worker} stopped`);
    },
    ...more,
  });
  const app = withCheckedAnswers(await createApp(daemon));
  const stop = async (): Promise<void> => {
    await app.close();
    await daemon.stop(5000);
  };
  return { daemon, app, log, stop };
}
