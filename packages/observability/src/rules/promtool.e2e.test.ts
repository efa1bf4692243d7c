/**
 * Prometheus's own tool on everything that Prometheus will read: it parses the rules, runs the alerts' tests, and evaluates every panel.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { panelTestFile } from "../proof/panel-tests.ts";

const HAS_PROMTOOL = spawnSync("promtool", ["--version"]).status === 0;

/** Two shared cores: the tests of forty alerts take seconds of CPU. */
const TIMEOUT_MS = 120_000;

describe.skipIf(!HAS_PROMTOOL)("promtool (Debian package prometheus)", () => {
  let folder = "";

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "kvsync-promtool-"));
    for (const [path, text] of render(KVSYNC)) {
      if (path.startsWith("infra/prometheus/"))
        writeFileSync(join(folder, path.slice("infra/prometheus/".length)), text);
    }
    writeFileSync(join(folder, "kvsync.panels.test.yaml"), panelTestFile(KVSYNC));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  function promtool(...args: string[]): { status: number | null; output: string } {
    const { status, stdout, stderr } = spawnSync("promtool", args, {
      cwd: folder,
      encoding: "utf8",
      timeout: TIMEOUT_MS,
    });
    return { status, output: stdout + stderr };
  }

  test("the rule file and the configuration are valid", () => {
    const rules = promtool("check", "rules", "--lint=all", "--lint-fatal", "kvsync.rules.yaml");
    expect(rules.status, rules.output).toBe(0);
    // Debian builds its Prometheus without Kubernetes discovery: everything else is checked, with targets in its place.
    const committed = readFileSync(join(folder, "prometheus.yaml"), "utf8");
    const { scrape_configs, ...rest } = parse(committed) as { scrape_configs: object[] };
    const jobs = scrape_configs.map((job) =>
      "kubernetes_sd_configs" in job
        ? { ...job, kubernetes_sd_configs: undefined, static_configs: [{ targets: ["10.0.0.1:7070"] }] }
        : job,
    );
    writeFileSync(join(folder, "targets.yaml"), stringify({ ...rest, scrape_configs: jobs }));
    const configuration = promtool("check", "config", "targets.yaml");
    expect(configuration.status, configuration.output).toBe(0);
  });

  test.each(["kvsync.alerts.test.yaml", "kvsync.objectives.test.yaml"])(
    "%s: each alert fires past its threshold once its time is over, and stays calm before it",
    (file) => {
      const { status, output } = promtool("test", "rules", file);
      expect(status, output).toBe(0);
    },
    TIMEOUT_MS,
  );

  test(
    "every panel's expression has a result when every family has series",
    () => {
      const { status, output } = promtool("test", "rules", "kvsync.panels.test.yaml");
      expect(status, output).toBe(0);
    },
    TIMEOUT_MS,
  );

  test("a threshold that was moved makes its alert's test fail", () => {
    const rules = render(KVSYNC).get("infra/prometheus/kvsync.rules.yaml") ?? "";
    const moved = rules.replace("p99_rate5m > 0.05", "p99_rate5m > 0.06");
    expect(moved).not.toBe(rules);
    const tests = (render(KVSYNC).get("infra/prometheus/kvsync.alerts.test.yaml") ?? "").split(
      /^ {2}- name: /m,
    );
    const [head, lookup] = [tests[0], tests.find((text) => text.startsWith("HighLookupLatency fires"))];
    writeFileSync(join(folder, "moved.rules.yaml"), moved);
    writeFileSync(
      join(folder, "moved.test.yaml"),
      `${head?.replace("kvsync.rules.yaml", "moved.rules.yaml") ?? ""}  - name: ${lookup ?? ""}`,
    );
    const { status, output } = promtool("test", "rules", "moved.test.yaml");
    expect(status).not.toBe(0);
    expect(output).toContain("alertname: HighLookupLatency");
  });
});
