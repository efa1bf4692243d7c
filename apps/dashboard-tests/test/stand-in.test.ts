/** The stand-in itself: tests of the page are worth as much as its format and its headers. */
import { afterEach, describe, expect, it } from "vitest";

import { FleetScript } from "./fleet-script.ts";
import { PAGE_HEADERS, StandIn } from "./stand-in-server.ts";

interface Snapshot {
  readonly n: number;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

const AT = Date.UTC(2025, 10, 28, 23);

describe("the stand-in", () => {
  let server: StandIn | null = null;
  afterEach(async () => {
    await server?.stop();
    server = null;
  });

  it("has the same fleet for the same seed, and another for another", () => {
    const rows = (seed: number): unknown => new FleetScript(20, AT, seed).snapshot();
    expect(rows(3)).toEqual(rows(3));
    expect(rows(3)).not.toEqual(rows(4));
  });

  it("numbers its messages without a gap, and moves in a delta as far as its next snapshot is", () => {
    const fleet = new FleetScript(20, AT);
    const before = fleet.snapshot() as Snapshot;
    const delta = fleet.next() as {
      readonly n: number;
      readonly seq: readonly (readonly [number, number])[];
    };
    const after = fleet.snapshot() as Snapshot;
    const seq = before.columns.indexOf("seq");
    expect([delta.n, after.n]).toEqual([before.n + 1, before.n + 1]);
    expect(delta.seq).toHaveLength(20);
    for (const [slot, step] of delta.seq)
      expect(after.rows[slot]?.[seq]).toBe(Number(before.rows[slot]?.[seq]) + step);
    for (const row of after.rows) expect(row).toHaveLength(after.columns.length);
  });

  it("serves files with the policy, and nothing outside of them", async () => {
    server = await new StandIn({ fleet: new FleetScript(1, AT), tokens: { good: "read" } }).start();
    const api = server.page.replace("dashboard/", "api/v1/whoami");
    expect((await fetch(api)).status).toBe(401);
    expect((await fetch(api, { headers: { authorization: "Bearer good" } })).status).toBe(200);
    const outside = await fetch(`${server.page}..%2f..%2fpackage.json`);
    expect(outside.status).toBe(404);
    expect(PAGE_HEADERS["content-security-policy"]).toContain("require-trusted-types-for 'script'");
  });
});
