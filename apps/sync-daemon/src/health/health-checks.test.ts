/**
 * The round of checks: they run in parallel, each within its time, and changes of status are
 * reported. The clock is a number.
 */
import { openLabel } from "@kvsync/observability/definition";
import { expect, test } from "vitest";

import { type CheckFinding, type HealthCheck, HealthChecks } from "./health-checks.ts";

function check(name: string, run: HealthCheck["run"], critical = false, timeoutMs = 1000): HealthCheck {
  return { name: openLabel("dependency", name), critical, timeoutMs, run };
}

/** Never called: it is compiled. */
export function refusedByTheCompiler(run: HealthCheck["run"]): HealthCheck[] {
  // @ts-expect-error a check that is not declared
  const undeclared: HealthCheck = { name: "disk", critical: false, timeoutMs: 1, run };
  return [undeclared, { name: "memory", critical: false, timeoutMs: 1, run }];
}

function checksOf(...checks: HealthCheck[]) {
  const clock = { nowMs: 1_000_000 };
  const changes: string[] = [];
  const health = new HealthChecks(
    checks,
    "1",
    () => clock.nowMs,
    ({ name, status }, previous) => changes.push(`${name}: ${previous} -> ${status}`),
  );
  return { health, clock, changes };
}

const healthy: CheckFinding = { status: "healthy", message: "well" };
const unhealthy: CheckFinding = { status: "unhealthy", message: "ill" };

test("the report is unhealthy when a critical check is, degraded when another is", async () => {
  const statusOf = async (...checks: HealthCheck[]): Promise<string> =>
    (await checksOf(...checks).health.report()).status;
  expect(await statusOf(check("a", () => healthy))).toBe("healthy");
  expect(
    await statusOf(
      check("a", () => healthy),
      check("b", () => unhealthy),
    ),
  ).toBe("degraded");
  expect(
    await statusOf(
      check("a", () => healthy),
      check("b", () => unhealthy, true),
    ),
  ).toBe("unhealthy");
});

test("a check that throws or takes too long is unhealthy, with what happened, and holds up nobody", async () => {
  const { health } = checksOf(
    check("throws", () => {
      throw new Error("no such disk");
    }),
    check("hangs", () => new Promise<CheckFinding>(() => undefined), false, 10),
    check("is well", () => healthy),
  );
  const { checks } = await health.report();
  expect(checks["throws"]).toMatchObject({ status: "unhealthy", message: "no such disk" });
  expect(checks["hangs"]).toMatchObject({ status: "unhealthy", message: "no answer within 10 ms" });
  expect(checks["is well"]).toMatchObject({ status: "healthy" });
});

test("a crowd of askers runs each check once, and again only when a moment has passed", async () => {
  let runs = 0;
  const { health, clock } = checksOf(
    check("counted", () => {
      runs += 1;
      return healthy;
    }),
  );
  await Promise.all(Array.from({ length: 50 }, () => health.report()));
  await health.report();
  expect(runs).toBe(1);
  clock.nowMs += 1000;
  await health.report();
  expect(runs).toBe(2);
});

test("a change of status is told once, whoever asked", async () => {
  let finding = healthy;
  const { health, clock, changes } = checksOf(check("a", () => finding));
  const ask = async (next: CheckFinding): Promise<void> => {
    finding = next;
    clock.nowMs += 1000;
    await Promise.all([health.run(), health.run(), health.report()]);
  };
  for (const next of [healthy, unhealthy, unhealthy, healthy]) await ask(next);
  expect(changes).toEqual(["a: healthy -> unhealthy", "a: unhealthy -> healthy"]);
});
