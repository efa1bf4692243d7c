/** The store against a plain fleet: deltas that an encoder makes of it lead to the rows of its snapshot. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { FleetStore, HAPPENINGS_MAX } from "./fleet-store.ts";
import type { Cell, Delta, Snapshot } from "./stream-messages.ts";

const COLUMNS = [
  "slot",
  "id",
  "model",
  "source",
  "state",
  "trust",
  "connected",
  "seq",
  "age_ms",
  "blocks",
  "tiers",
  "gaps",
  "rank",
  "reason",
  "rate",
  "exact_hour",
];
const TRUSTS = ["exact", "partial", "stale", "unknown"];
const STATES = ["connecting", "replaying", "live", "disconnected"];
const START = 1_764_371_000_000;

type Rows = Map<number, Cell[]>;

const snapshotOf = (rows: Rows, n: number): Snapshot => ({
  n,
  at: START + n * 1000,
  columns: COLUMNS,
  models: ["llama", "qwen"],
  states: STATES,
  trusts: TRUSTS,
  rows: [...rows.values()],
});

const storeOf = (snapshot: Snapshot): FleetStore => {
  const store = new FleetStore();
  store.applySnapshot(snapshot);
  return store;
};

const slot = fc.nat(7);
const row = fc.tuple(
  fc.constantFrom("vllm-0", "vllm-1", "sglang-0"),
  fc.nat(1),
  fc.constantFrom("file", "kubernetes"),
  fc.nat(3),
  fc.nat(3),
  fc.boolean(),
  fc.option(fc.nat(1_000_000)),
  fc.constant(null),
  fc.nat(60_000),
  fc.option(fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9), fc.nat(9))),
  fc.nat(5),
  fc.nat(3),
  fc.option(fc.constantFrom("gap", "verifying")),
  fc.option(fc.nat(90)),
  fc.option(fc.constantFrom(0, 0.5, 1)),
);
const settable = COLUMNS.map((name, i) => ({ name, i })).filter(
  ({ name }) => !["slot", "seq", "age_ms"].includes(name),
);
const change = fc.oneof(
  fc.record({ kind: fc.constant("put" as const), slot, row }),
  fc.record({ kind: fc.constant("drop" as const), slot }),
  fc.record({
    kind: fc.constant("set" as const),
    slot,
    row,
    column: fc.constantFrom(...settable),
    byName: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("step" as const), slot, step: fc.integer({ min: 1, max: 500 }) }),
);

/** Applies one change to the plain fleet and returns the delta that says so. */
function encode(rows: Rows, one: typeof change extends fc.Arbitrary<infer T> ? T : never, n: number): Delta {
  const base = { n, at: START + n * 1000 };
  if (one.kind === "put") {
    const cells: Cell[] = [one.slot, ...one.row];
    const isThere = rows.delete(one.slot);
    rows.set(one.slot, cells);
    return { ...base, gone: isThere ? [one.slot] : [], new: [[...cells]] };
  }
  if (one.kind === "drop") {
    rows.delete(one.slot);
    return { ...base, gone: [one.slot] };
  }
  const cells = rows.get(one.slot);
  if (one.kind === "set") {
    const { i, name } = one.column;
    const value = one.row[i - 1] ?? null;
    if (cells !== undefined) cells[i] = value;
    return { ...base, set: [[one.slot, one.byName ? name : i, value]] };
  }
  if (cells === undefined) return base;
  cells[7] = ((cells[7] as number | null) ?? 0) + one.step;
  return { ...base, seq: [[one.slot, one.step]] };
}

/** Without the time of the last event, which the plain fleet does not keep. */
const rowsOf = (store: FleetStore) =>
  [...store.rows.values()].map((one) => ({ ...one, eventAt: null })).sort((a, b) => a.slot - b.slot);

describe("the store of the fleet", () => {
  it("has after a snapshot and deltas what a fresh snapshot has (F1, F3)", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const rows: Rows = new Map();
        const store = storeOf(snapshotOf(rows, 0));
        changes.forEach((one, i) => {
          expect(store.applyDelta(encode(rows, one, i + 1))).toBe(true);
        });
        expect(rowsOf(store)).toEqual(rowsOf(storeOf(snapshotOf(rows, changes.length))));
      }),
    );
  });

  it("changes nothing by a delta that does not follow, and says so (F2)", () => {
    const rows: Rows = new Map([[3, [3, "vllm-0", 0, "file", 2, 0, true, 10, 5, 7, null, 0, 0, null]]]);
    const store = storeOf(snapshotOf(rows, 5));
    for (const n of [5, 7, 4]) {
      expect(store.applyDelta({ n, at: START, gone: [3], totals: { p50: 1 } })).toBe(false);
      expect([...store.rows.keys()]).toEqual([3]);
      expect(store.totals).toEqual({});
    }
    expect(new FleetStore().applyDelta({ n: 1, at: START })).toBe(false);
  });

  it("reads names by their index, unknown ones as unknown, and the time of the last event from its age", () => {
    const rows: Rows = new Map([
      [0, [0, "vllm-0", 1, "file", 3, 9, 1, 10, 250, 7, [1, 2, 3, 1], 0, 1, "gap"]],
    ]);
    const store = storeOf(snapshotOf(rows, 1));
    expect(store.rows.get(0)).toMatchObject({
      id: "vllm-0",
      model: "qwen",
      state: "disconnected",
      trust: "unknown",
      connected: true,
      eventAt: START + 1000 - 250,
      tiers: [1, 2, 3, 1],
      rank: 1,
      reason: "gap",
    });
    store.applyDelta({ n: 2, at: START + 2000, seq: [[0, 5]] });
    expect(store.rows.get(0)).toMatchObject({ seq: 15, eventAt: START + 2000 });
  });

  it("keeps the newest happenings, up to a limit", () => {
    const store = new FleetStore();
    for (let i = 0; i < HAPPENINGS_MAX + 5; i += 1)
      store.applyHappening({ at: i, kind: "gap", text: `${i}` });
    expect(store.happenings).toHaveLength(HAPPENINGS_MAX);
    expect(store.happenings[0]?.at).toBe(HAPPENINGS_MAX + 4);
  });
});
