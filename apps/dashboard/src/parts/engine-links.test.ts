/** Addresses for a rank, against the files that they name. */
import { existsSync, readFileSync } from "node:fs";

import { expect, it } from "vitest";

import type { RankRow } from "../stream/fleet-store.ts";
import {
  DROPS_RUNBOOK,
  ERRORS_SECTIONS,
  errorsUrl,
  GRAFANA_ENGINES,
  grafanaUrl,
  runbookFor,
  runbookUrl,
} from "./engine-links.ts";

const ROOT = new URL("../../../../", import.meta.url);
const row = (change: Partial<RankRow>): RankRow =>
  ({ trust: "exact", state: "live", connected: true, reason: null, ...change }) as RankRow;

const GAP = row({ trust: "stale", reason: "gap" });
const CASES: readonly [string, RankRow, string | null][] = [
  ["an exact rank", row({}), null],
  ["a rank that lost messages", GAP, "kv-event-sequence-gaps.md"],
  ["a rank that is not in sync yet", row({ trust: "unknown", reason: "connecting" }), "stream-untrusted.md"],
  [
    "a rank without connection",
    row({ connected: false, state: "disconnected" }),
    "kv-sync-connection-failure.md",
  ],
];

it.each(CASES)("%s has the runbook of its state, and the file exists", (_, rank, file) => {
  expect(runbookFor(rank)).toBe(file);
  for (const name of [file ?? DROPS_RUNBOOK, DROPS_RUNBOOK])
    expect(existsSync(new URL(`docs/operations/runbooks/${name}`, ROOT))).toBe(true);
});

it("Grafana's dashboard of engines exists, and has the variable that a link sets", () => {
  const file = new URL(`infra/grafana/dashboards/${GRAFANA_ENGINES.uid}.json`, ROOT);
  const dashboard = JSON.parse(readFileSync(file, "utf8")) as {
    uid: string;
    templating: { list: { name: string }[] };
  };
  expect(dashboard.uid).toBe(GRAFANA_ENGINES.uid);
  expect(dashboard.templating.list.map(({ name }) => name)).toContain(GRAFANA_ENGINES.variable);
});

it("the page of error codes has the sections that links name", () => {
  const page = readFileSync(new URL("docs/generated/errors.md", ROOT), "utf8");
  const anchors = [...page.matchAll(/^## (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w -]/g, "")
      .replaceAll(" ", "-"),
  );
  expect(anchors).toEqual(expect.arrayContaining(Object.values(ERRORS_SECTIONS)));
});

it("L1: links are http or https, with the engine's id as text; without an address there is none", () => {
  const none = { grafana: null, runbooks: null, errors: null };
  const set = {
    grafana: "https://grafana.example.com/",
    runbooks: "http://wiki/runbooks//",
    errors: "https://wiki/errors.md",
  };
  expect(grafanaUrl(set, "a&b=c")).toBe("https://grafana.example.com/d/kvsync-engines?var-pod=a%26b%3Dc");
  expect(runbookUrl(set, runbookFor(GAP))).toBe("http://wiki/runbooks/kv-event-sequence-gaps.md");
  expect(runbookUrl(set, null)).toBeNull();
  expect(errorsUrl(set, "problems")).toBe("https://wiki/errors.md#problems-of-the-http-api");
  expect(grafanaUrl(none, "a")).toBeNull();
  expect(runbookUrl(none, DROPS_RUNBOOK)).toBeNull();
  expect(errorsUrl(none, "drops")).toBeNull();
  expect(runbookUrl({ ...none, runbooks: "javascript:alert(1)" }, DROPS_RUNBOOK)).toBeNull();
  expect(errorsUrl({ ...none, errors: "javascript:alert(1)" }, "drops")).toBeNull();
});
