/**
 * The commands of runbooks for lines of the log. jq runs on the lines of two replicas, which a
 * script prints in place of kubectl. LogQL is read with Grafana's grammar.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parser } from "@grafana/lezer-logql";
import { describe, expect, onTestFinished, test } from "vitest";

import { render } from "../../render.ts";
import { KVSYNC } from "../project.ts";
import { logLines } from "./commands.ts";

const hasJq = spawnSync("jq", ["--version"]).status === 0;

/** What kubectl prints with `--prefix`: a banner that is no JSON, and lines of two replicas, one replica after the other. */
function printed(): string {
  const line = (replica: string, second: number, more: object): string =>
    `[pod/${replica}/daemon] ${JSON.stringify({ level: "warn", time: `2026-01-01T00:00:0${second}Z`, component: "ingest-0", ...more, message: "m" })}`;
  const gone = { event: "engine_disconnected", pod: "e", model: "m", dp_rank: 0, endpoint: "tcp://h:1" };
  return [
    "[pod/kvsync-daemon-0/daemon] (node:1) a warning of the runtime",
    line("kvsync-daemon-0", 1, { ...gone, reason: "refused" }),
    line("kvsync-daemon-0", 5, { ...gone, reason: "dial_timeout" }),
    line("kvsync-daemon-0", 6, { event: "stopped" }),
    line("kvsync-daemon-1", 3, { ...gone, reason: "disconnected" }),
  ].join("\n");
}

test.skipIf(!hasJq)(
  "the last lines of all replicas come in the order of time, with their replica (skipped where jq is not installed)",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-commands-"));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    writeFileSync(join(folder, "lines"), printed());
    writeFileSync(join(folder, "kubectl"), `#!/bin/sh\ncat '${join(folder, "lines")}'\n`);
    chmodSync(join(folder, "kubectl"), 0o755);
    const { command } = logLines(2, { events: ["engine_disconnected", "engine_unreachable"] });
    const { stdout, stderr } = spawnSync("sh", ["-c", command], {
      encoding: "utf8",
      env: { PATH: `${folder}:${process.env["PATH"] ?? ""}` },
    });
    expect(stderr).toBe("");
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ replica, reason }) => [replica, reason])).toEqual([
      ["kvsync-daemon-1", "disconnected"],
      ["kvsync-daemon-0", "dial_timeout"],
    ]);
    expect(Object.keys(lines[0] ?? {})).toEqual([
      "replica",
      "time",
      "event",
      "pod",
      "model",
      "dp_rank",
      "endpoint",
      "reason",
      "detail",
      "message",
    ]);
  },
);

/** Places where the grammar found no way on. */
function syntaxErrors(query: string): number {
  let errors = 0;
  parser.parse(query).iterate({
    enter: ({ type }) => {
      if (type.isError) errors += 1;
    },
  });
  return errors;
}

describe("LogQL", () => {
  const queries = [...render(KVSYNC)].flatMap(([path, text]) =>
    path.includes("/log-dashboards/")
      ? [...text.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(([, quoted = ""]) =>
          (JSON.parse(quoted) as string).replace("$stream", 'a="b"').replace("$__auto", "1m"),
        )
      : [...text.matchAll(/```logql\n\s*(.*)\n/g)].map(([, query = ""]) => query),
  );

  test("of every runbook and panel parses", () => {
    expect(queries.length).toBeGreaterThan(30);
    expect(queries.filter((query) => syntaxErrors(query) > 0)).toEqual([]);
  });

  test("that is broken does not parse", () => {
    expect(syntaxErrors('{a="b"} | json event="event" | event=')).toBeGreaterThan(0);
    expect(syntaxErrors('{a="b" | json')).toBeGreaterThan(0);
  });
});

/** Never called: it is compiled. */
export function refusedByTheCompiler(): void {
  // @ts-expect-error an event that is not declared
  logLines(1, { events: ["snapshot_fialed"] });
  // @ts-expect-error a field that the event does not have
  logLines(1, { events: ["snapshot_failed"], where: { source: "file" } });
  // @ts-expect-error a word that is not one of the field's
  logLines(1, { events: ["discovery_failed"], where: { source: "files" } });
}
