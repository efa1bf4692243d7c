/**
 * The commands of runbooks and the assumptions of rules, against the daemon. A renamed route,
 * subcommand or health check must not remain in a runbook, where only an alert at night
 * would show it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { isCheckName } from "@kvsync/observability/kvsync/health-checks";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const RUNBOOKS = join(ROOT, "docs", "operations", "runbooks");
const TOOLS = join(import.meta.dirname, "..", "dist", "tools", "main.js");

/** Programs of the image (Node's slim one) that a command may run in it. */
const IN_THE_IMAGE = ["sh", "date", "kvsync", "kvsync-daemon", "node"];

const read = (...parts: string[]): string => readFileSync(join(ROOT, ...parts), "utf8");
const runbooks = readdirSync(RUNBOOKS).map(
  (name) => [name, readFileSync(join(RUNBOOKS, name), "utf8")] as const,
);
const commands = runbooks.flatMap(([name, text]) =>
  [...text.matchAll(/```sh\n\s*(.*)\n/g)].map(([, command = ""]) => `${name}: ${command}`),
);
const routes = Object.keys(
  (JSON.parse(read("docs", "generated", "openapi.json")) as { paths: object }).paths,
);
const rules = read("infra", "prometheus", "kvsync.rules.yaml");

/** The first group of each match, once. */
function all(pattern: RegExp, text: string): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, found = ""]) => found))];
}

describe("a command of a runbook", () => {
  const text = commands.join("\n");

  test("asks the daemon on routes that it has", () => {
    const asked = all(/http:\/\/DAEMON([^'"? ]*)/g, text);
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.filter((path) => !routes.includes(path))).toEqual([]);
  });

  test("runs in the image only what the image has, and only subcommands and options that exist", () => {
    expect(all(/kubectl exec POD -- (\S+)/g, text).filter((name) => !IN_THE_IMAGE.includes(name))).toEqual(
      [],
    );
    expect(existsSync(TOOLS), "build first").toBe(true);
    for (const subcommand of all(/kvsync ([a-z-]+)/g, text)) {
      const { status, stdout } = spawnSync(process.execPath, [TOOLS, subcommand, "--help"], {
        encoding: "utf8",
      });
      expect([subcommand, status]).toEqual([subcommand, 0]);
      for (const option of all(new RegExp(`kvsync ${subcommand} .*?(--[a-z-]+)`, "g"), text))
        expect(stdout).toContain(option);
    }
  });

  test("finds the daemon's pods by the label that the manifests give them", () => {
    const labels = all(/kubectl \w+ (?:\w+ )?-l (app\.\S+)/g, text);
    expect(labels).toEqual(["app.kubernetes.io/name=kvsync-daemon"]);
    const [name = "", value = ""] = labels[0]?.split("=") ?? [];
    expect(read("infra", "kubernetes", "daemon.yaml")).toContain(`${name}: ${value}`);
  });
});

test("rules name routes and health checks that the daemon has", () => {
  expect(all(/route="([^"]+)"/g, rules).filter((route) => !routes.includes(route))).toEqual([]);
  const checks = all(/check="([^"]+)"/g, rules);
  expect(checks.length).toBeGreaterThan(0);
  expect(checks.filter((check) => !isCheckName(check))).toEqual([]);
});
