import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const SIMULATE = [at("../../apps/router-sim/dist/main.js"), "simulate", "--workload", "agents,requests=600"];
/** Node 22.14 reads TypeScript only with this; later ones without. */
const NODE = ["--experimental-strip-types", "--no-warnings"];

function simulate(file: string): {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
} {
  const args = [...NODE, ...SIMULATE, "--engines", "8", "--policy", "random", "--policy-file", file];
  return spawnSync(process.execPath, args, { encoding: "utf8" });
}

test("router-sim runs the policy next to a known one, and its hit rate is higher than at random", () => {
  const { stdout, stderr, status } = simulate(at("../src/custom-policy.ts"));
  expect([stderr, status]).toEqual(["", 0]);
  const rates = [...stdout.matchAll(/^(random|longest-match)\s+([\d.]+) %/gm)].map(([, , rate]) =>
    Number(rate),
  );
  expect(rates).toHaveLength(2);
  expect(rates[1]).toBeGreaterThan(rates[0] ?? 100);
});

test("a file without a policy is refused by name", () => {
  const { stderr, status } = simulate(at("../src/custom-dialect.ts"));
  expect(status).toBe(2);
  expect(stderr).toContain('custom-dialect.ts: no usable "policy"');
});
