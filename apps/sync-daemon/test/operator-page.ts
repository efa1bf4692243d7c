/**
 * Runs the commands of an operator's page (docs/operations/*.md, or a path from there), so that the
 * commands on a page work.
 *
 *   ```sh run                      run by a test, in the page's order, in one folder
 *   ```sh not run: <why>           shown only, for the reason given: it needs a cluster, or it starts what the test has started
 *
 * A page speaks of a daemon on 127.0.0.1:7070; the address of the test's own takes that place. `kvsync` and `kvsync-daemon` are on the
 * path, as they are after an installation. A command fails with what it printed when it, or a line of it, ends with another code than 0.
 *
 * CHECKOUT is the folder of this repository.
 *
 * A page whose commands go with the usual daemon (pages.e2e.test.ts) is listed there; one that wants another has a test of its own, which is
 * listed there too.
 */
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { CHILD_ENVIRONMENT } from "./daemon-process.ts";

/** Not the synchronous one: what a command asks may live in the test's own process. */
const execute = promisify(execFile);
const TIMEOUT_MS = 60_000;
const DAEMON_ADDRESS = "127.0.0.1:7070";
const PROGRAMS = { kvsync: "../dist/tools/main.js", "kvsync-daemon": "../dist/main.js" };

/** This repository. */
const CHECKOUT = fileURLToPath(new URL("../../../", import.meta.url)).replace(/\/$/, "");

/** Where the pages lie. */
export const PAGES = fileURLToPath(new URL("../../../docs/operations/", import.meta.url));

/** One block of a page. */
export interface PageCommand {
  /** `run`, or why not; null when the page does not say. */
  readonly mode: { readonly run: true } | { readonly run: false; readonly why: string } | null;
  readonly text: string;
  /** Of its first line in the page, from 1. */
  readonly line: number;
}

/** Every block of shell commands of a page, in order. */
export function pageCommands(page: string): readonly PageCommand[] {
  const text = readFileSync(join(PAGES, page), "utf8");
  return [...text.matchAll(/^( *)```sh\b([^\n]*)\n([\s\S]*?)^ *```/gm)].map((block) => {
    const [, indent = "", mark = "", lines = ""] = block;
    const said = mark.trim();
    const why = /^not run: (.+)$/.exec(said)?.[1];
    const mode =
      said === "run" ? ({ run: true } as const) : why === undefined ? null : { run: false as const, why };
    // A block of a list is indented as its item.
    const command = lines.replaceAll(new RegExp(`^${indent}`, "gm"), "");
    return { mode, text: command, line: text.slice(0, block.index).split("\n").length + 1 };
  });
}

/** What a command printed. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with the programs on the path, where a page's commands run. Close it. */
export class PageShell {
  readonly folder: string = mkdtempSync(join(tmpdir(), "kvsync-page-"));

  constructor() {
    const bin = join(this.folder, ".bin");
    mkdirSync(bin);
    for (const [name, script] of Object.entries(PROGRAMS)) {
      const path = fileURLToPath(new URL(script, import.meta.url));
      writeFileSync(join(bin, name), `#!/bin/sh\nexec '${process.execPath}' '${path}' "$@"\n`);
      chmodSync(join(bin, name), 0o755);
    }
  }

  /** Runs one block against the daemon at this URL. Rejects, with what was printed, when a line of it fails. */
  async run(text: string, daemonUrl: string, timeoutMs = TIMEOUT_MS): Promise<Printed> {
    const path = `${join(this.folder, ".bin")}${delimiter}${process.env["PATH"] ?? ""}`;
    return execute("sh", ["-e", "-u", "-c", text.replaceAll(DAEMON_ADDRESS, new URL(daemonUrl).host)], {
      cwd: this.folder,
      timeout: timeoutMs,
      env: { ...CHILD_ENVIRONMENT, PATH: path, HOME: this.folder, CHECKOUT },
    });
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
