/** Pictures of dashboards with made-up data: every panel shows some, but those that are empty when all is well. */
import { expect, test } from "vitest";

import { KVSYNC } from "../kvsync/project.ts";
import { type Panel, queriesOf } from "./panel.ts";
import { PreviewData } from "./preview-data.ts";
import { previewSvg } from "./preview.ts";

/** Empty when all is well: alerts that fire, streams that are not exact, sizes of gaps. Or read from Loki. */
const EMPTY = [
  "kvsync-overview#30",
  "kvsync-overview#38",
  "kvsync-service#70",
  "kvsync-service#71",
  "kvsync-service#52",
  "kvsync-service#53",
  "kvsync-engines#2",
  "kvsync-engines#10",
  "kvsync-overview#13",
];
const DATA = new PreviewData(KVSYNC);

test("every other panel has a value at the last instant", () => {
  const empty = KVSYNC.dashboards.flatMap(({ uid, panels }) =>
    Object.values<Panel>(panels)
      .filter(
        (panel) =>
          !DATA.of(panel)
            .flat()
            .some(({ values }) => !Number.isNaN(values.at(-1) ?? Number.NaN)),
      )
      .map(({ id }) => `${uid}#${id}`),
  );
  expect(empty.toSorted()).toEqual(EMPTY.toSorted());
});

test("the picture has an element of data for each of these panels, and names every panel", () => {
  for (const board of KVSYNC.dashboards) {
    const svg = previewSvg(board, DATA, "a test");
    const panels = Object.values<Panel>(board.panels);
    for (const { title, id } of panels) {
      expect(svg).toContain(`>#${id}</text>`);
      expect(svg).toContain(title.slice(0, 8).replace("&", "&amp;"));
    }
    const shown = svg
      .split('<rect class="panel"')
      .slice(1)
      .filter((part) => /class="(?:\w+ )?data"|fill="#ff9830"/.test(part));
    const expected = panels.filter(({ id }) => !EMPTY.includes(`${board.uid}#${id}`));
    expect(shown).toHaveLength(expected.length);
    expect(svg).not.toMatch(/NaN|undefined/);
  }
});

test("the same catalogue gives the same picture", () => {
  const [board] = KVSYNC.dashboards;
  if (board === undefined) throw new Error("kvsync has dashboards");
  expect(previewSvg(board, new PreviewData(KVSYNC), "a test")).toBe(previewSvg(board, DATA, "a test"));
});

/** Panels with a line for each replica, pod of ours, state or reason: none grows with the fleet. */
const LINES_MAX = 50;

test("with a thousand engines no panel over time has more than 50 lines", () => {
  const named = (label: string): string[] => Array.from({ length: 1000 }, (_, i) => `${label}-${i}`);
  const { knowledge } = KVSYNC;
  const namedValues = {
    ...knowledge.namedValues,
    pod: named("engine"),
    endpoint: named("endpoint"),
    model: ["model"],
    dp_rank: ["0"],
    worker: ["0", "1"],
    namespace: ["kvsync"],
    container: ["daemon"],
  };
  const fleet = { ...KVSYNC, knowledge: { ...knowledge, namedValues } };
  const data = new PreviewData(fleet, { instants: 1, seriesPerFamily: 10_000 });
  const linesOf = (panel: Panel): number =>
    queriesOf(panel).reduce((sum, { text }, i) => {
      const most = Number(/^topk\((\d+),/.exec(text)?.[1] ?? Infinity);
      return sum + Math.min(most, data.of(panel)[i]?.length ?? 0);
    }, 0);
  const table = KVSYNC.dashboards
    .flatMap(({ panels }) => Object.values<Panel>(panels))
    .filter(({ title }) => title === "Engines");
  expect(data.of(table[0]!)[0]).toHaveLength(1000);
  const crowded = KVSYNC.dashboards.flatMap(({ uid, panels }) =>
    Object.values<Panel>(panels)
      .filter(({ id, kind }) => kind !== "table" && !knowledge.uncrowded.has(`${uid}#${id}`))
      .map((panel) => [`${uid}#${panel.id}`, linesOf(panel)] as const)
      .filter(([, lines]) => lines > LINES_MAX),
  );
  expect(crowded).toEqual([]);
});
