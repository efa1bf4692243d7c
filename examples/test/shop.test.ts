/** The shop's metrics over HTTP, and its generated monitoring under its own checks and Prometheus's tool. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { panelTestFile } from "@kvsync/observability/proof/panel-tests";
import { render } from "@kvsync/observability/render";
import { afterAll, expect, test } from "vitest";

import { PROJECT } from "../src/shop/monitoring.ts";

/** Node 22.14 reads TypeScript only with this; later ones without. */
const NODE = ["--experimental-strip-types", "--no-warnings"];
const HAS_PROMTOOL = spawnSync("promtool", ["--version"]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "kvsync-example-shop-"));

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => fileURLToPath(new URL(`../src/shop/${name}`, import.meta.url));

function command(...args: string[]): { readonly status: number | null; readonly output: string } {
  const env = { ...process.env, CI: "false" };
  const options = { cwd: folder, encoding: "utf8", env } as const;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...NODE, at("command.ts"), ...args],
    options,
  );
  return { status, output: stdout + stderr };
}

test("generate writes every file, generate --check names a changed one, and check accepts all", () => {
  expect(command("generate").status).toBe(0);
  expect(command("generate", "--check")).toEqual({
    status: 0,
    output: "24 generated files are up to date\n",
  });
  appendFileSync(join(folder, "infra/prometheus/shop.rules.yaml"), "#\n");
  const stale = "stale: infra/prometheus/shop.rules.yaml (different)\n";
  expect(command("generate", "--check")).toEqual({ status: 1, output: stale });
  expect(command("generate").status).toBe(0);
  expect(command("check")).toEqual({ status: 0, output: "24 files pass every check\n" });
});

test("other figures of the objective change rule, runbook and page alike, and a wrong one is named", () => {
  const file = join(folder, "objectives.json");
  const rates = [{ long: "2h", short: "10m", factor: 4, for: "5m", severity: "warning" }];
  writeFileSync(
    file,
    JSON.stringify({ budgets: { checkout: 0.1 }, slowSeconds: { checkout: 0.8 }, burns: rates }),
  );
  expect(command("generate", "--objectives", file).status).toBe(0);
  const read = (path: string): string => readFileSync(join(folder, path), "utf8");
  const rules = read("infra/prometheus/shop.rules.yaml");
  expect(rules).toContain('le="0.8"');
  expect(rules).toContain("alert: CheckoutBudgetBurn2h");
  expect(rules).toContain("ratio_rate10m > 0.4");
  expect(rules).not.toContain("ratio_rate1h");
  expect(read("docs/generated/objectives.md")).toContain(
    "| `CheckoutBudgetBurn2h` | 2h and 10m | 4 | 40 % | 5m |",
  );
  expect(read("docs/operations/runbooks/checkout-budget-burn2h.md")).toContain("CheckoutBudgetBurn2h");
  writeFileSync(file, JSON.stringify({ budgets: { payment: 0.1 } }));
  expect(command("generate", "--objectives", file).output).toContain(
    'budgets has "payment"; expected checkout',
  );
  writeFileSync(file, JSON.stringify({ slowSeconds: { checkout: 0.9 } }));
  expect(command("generate", "--objectives", file)).toMatchObject({ status: 2 });
  expect(command("generate").status).toBe(0);
});

test("no generated file has a name of kvsync's own", () => {
  for (const [path, text] of render(PROJECT))
    expect(text.replaceAll("@kvsync/observability", ""), path).not.toMatch(/kvsync|aibrix|daemon/i);
});

test.skipIf(!HAS_PROMTOOL)(
  "promtool: both alerts fire past their threshold, and every panel has a result",
  () => {
    command("generate");
    const prometheus = join(folder, "infra", "prometheus");
    writeFileSync(join(prometheus, "shop.panels.yaml"), panelTestFile(PROJECT));
    for (const file of ["shop.alerts.test.yaml", "shop.panels.yaml"]) {
      const options = { cwd: prometheus, encoding: "utf8" } as const;
      const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", file], options);
      expect(status, stdout + stderr).toBe(0);
    }
  },
);

test("the shop counts an order, and exports zero for outcomes that have not happened", async () => {
  const child = spawn(process.execPath, [...NODE, at("main.ts"), "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const url = line.replace("shop: ", "");
    const { status } = await fetch(`${url}/orders`, { method: "POST" });
    const [is, isNot] = status === 201 ? ["paid", "declined"] : ["declined", "paid"];
    const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n");
    expect(lines).toContain(`shop_orders_total{outcome="${is}"} 1`);
    expect(lines).toContain(`shop_orders_total{outcome="${isNot}"} 0`);
    expect(lines).toContain("shop_open_carts 0");
    expect(lines).toContain("shop_checkout_duration_seconds_count 1");
  } finally {
    child.kill();
  }
});
