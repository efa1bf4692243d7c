/** Prometheus's verdict on figures that a test has seen: promtool evaluates the shipped rules over them, as if one came each minute. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const RULES = new URL("../../../infra/prometheus/kvsync.rules.yaml", import.meta.url);

/** Debian's package `prometheus` has it. */
export const HAS_PROMTOOL = spawnSync("promtool", ["--version"]).status === 0;

/** A series of /metrics, as its name and labels stand there, with a value for each minute. */
export type SeenSeries = ReadonlyMap<string, readonly number[]>;

/**
 * Asks for the series of an alert that fire at the end.
 *
 * @param alert - its name.
 * @param seen - the figures; `instance` is added.
 * @returns how many.
 */
export function firingAtTheEnd(alert: string, seen: SeenSeries): number {
  for (const count of [0, 1]) if (isFiring(alert, seen, count)) return count;
  throw new Error(`neither none nor one of ${alert} fires`);
}

function isFiring(alert: string, seen: SeenSeries, count: number): boolean {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-alert-trial-"));
  try {
    copyFileSync(RULES, join(folder, "rules.yaml"));
    const minutes = Math.max(...[...seen.values()].map((values) => values.length)) - 1;
    const expected = count === 0 ? [] : [{ labels: "{}", value: count }];
    const test = {
      interval: "1m",
      input_series: [...seen].map(([series, values]) => ({
        series: series.replace("{", '{instance="10.0.0.1:7070",'),
        values: values.join(" "),
      })),
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
          eval_time: `${minutes}m`,
          exp_samples: expected,
        },
      ],
    };
    // JSON is YAML, too.
    writeFileSync(
      join(folder, "trial.yaml"),
      JSON.stringify({ rule_files: ["rules.yaml"], evaluation_interval: "1m", tests: [test] }),
    );
    return spawnSync("promtool", ["test", "rules", "trial.yaml"], { cwd: folder }).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
