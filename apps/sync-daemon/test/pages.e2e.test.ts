/**
 * The operator's pages. Each of their commands is run, in order, against a daemon that follows an
 * engine of `demo/model`, has a tokenizer and keeps snapshots. Pages that want another daemon have
 * tests of their own, named here.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine } from "./fleet.ts";
import { PAGES, PageShell, pageCommands } from "./operator-page.ts";

/** Pages whose commands run here, with the programs that they need. */
const PAGES_HERE: Readonly<Record<string, readonly string[]>> = {
  "capacity.md": ["curl"],
  "health.md": ["curl"],
  "logs-and-traces.md": ["curl"],
  "settings.md": ["curl"],
  "snapshots.md": ["curl"],
  "tokenizers.md": ["curl"],
  "tools.md": ["curl"],
  "troubleshooting.md": ["curl"],
};
/** Pages that have no command. */
const PAGES_WITHOUT_COMMANDS: readonly string[] = ["cost.md", "dashboard.md", "scale.md"];
/** Pages whose commands run elsewhere, by the test that does it. */
const PAGES_ELSEWHERE: Readonly<Record<string, string>> = {
  "discovery.md": "discovery-page.e2e.test.ts",
  "endpoint-picker.md": "endpoint-picker-page.e2e.test.ts",
  "kubernetes.md": "kubernetes-page.test.ts",
  "monitoring.md": "monitoring-pages.e2e.test.ts",
  "monitoring-stack.md": "monitoring-pages.e2e.test.ts",
  "queries.md": "queries-page.e2e.test.ts",
  "security.md": "security-page.e2e.test.ts",
};

test("every page is run by a test, and every block of commands says whether it is run or why not", () => {
  const pages = readdirSync(PAGES).filter((name) => name.endsWith(".md"));
  const listed = [...Object.keys(PAGES_HERE), ...Object.keys(PAGES_ELSEWHERE), ...PAGES_WITHOUT_COMMANDS];
  expect(listed.sort()).toEqual(pages.sort());
  expect(PAGES_WITHOUT_COMMANDS.filter((page) => pageCommands(page).length > 0)).toEqual([]);
  for (const [page, file] of Object.entries(PAGES_ELSEWHERE))
    expect(readFileSync(new URL(file, import.meta.url), "utf8")).toContain(`pageCommands("${page}")`);
  const silent = pages.flatMap((page) =>
    pageCommands(page)
      .filter(({ mode }) => mode === null)
      .map(({ line }) => `docs/operations/${page}:${line}: write "sh run" or "sh not run: why"`),
  );
  expect(silent).toEqual([]);
});

const has = (program: string): boolean => spawnSync(program, ["--version"]).status === 0;
describe("commands", () => {
  let engine: TestEngine;
  let daemon: DaemonProcess;
  const snapshots = mkdtempSync(join(tmpdir(), "kvsync-page-snapshots-"));

  beforeAll(async () => {
    engine = await TestEngine.start({ id: "engine-0", model: "demo/model" }, 1, { httpPort: 0 });
    daemon = await DaemonProcess.start({
      engines: [engine.entry],
      sync: { tokenizer_endpoint: engine.server.httpUrl },
      snapshot: { directory: snapshots },
    });
    await engine.serve(5);
    await caughtUp(daemon, [engine]);
  });

  afterAll(async () => {
    await daemon.end();
    await engine.stop();
    rmSync(snapshots, { recursive: true, force: true });
  });

  for (const [page, programs] of Object.entries(PAGES_HERE)) {
    test.skipIf(!programs.every(has))(
      `${page}: every command works as it stands (needs ${programs.join(", ")})`,
      async () => {
        const shell = new PageShell();
        try {
          const commands = pageCommands(page).filter(({ mode }) => mode?.run === true);
          expect(commands.length).toBeGreaterThan(0);
          for (const { text } of commands) await shell.run(text, daemon.url);
        } finally {
          shell.close();
        }
      },
      // Each command has a minute of its own (operator-page.ts).
      600_000,
    );
  }
});
