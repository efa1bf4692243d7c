/**
 * The inside of a panel of a preview: lines, bars, bands, cells or a table, drawn from made-up data as SVG.
 *
 *     ┌ title ──────────┐
 *     │ kind, unit      │
 *     │  plot           │  the area that is given
 *     │  ─ name ─ name  │  names of lines
 *     └─────────────────┘
 *
 * Not here: where panels are (preview.ts), what they show (preview-data.ts).
 */

import type { Measure } from "../promql/vector.ts";
import type { MeasuredPanel, Levels, Panel, StateName } from "./panel.ts";
import { INSTANTS, type PreviewLine, type PreviewLines } from "./preview-data.ts";

/** Where to draw. */
export interface Area {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Lines that a picture has of one panel; a reader tells no more apart. */
const LINES_MAX = 8;
const LINE_HEIGHT = 14;
/** Width of a character of the small font. */
const CHARACTER = 6.2;
/** Room for the numbers beside a plot. */
const AXIS_WIDTH = 46;
const COLORS = [
  "#73bf69",
  "#f2cc0c",
  "#8ab8ff",
  "#ff780a",
  "#f2495c",
  "#b877d9",
  "#37872d",
  "#5794f2",
] as const;
const STATE_COLORS = {
  green: "#73bf69",
  yellow: "#f2cc0c",
  orange: "#ff9830",
  red: "#f2495c",
  blue: "#5794f2",
};
const NOTHING = "none";

/** Text that may stand in SVG. */
export function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

/** Text that ends before it leaves a number of pixels. */
export function cut(text: string, pixels: number): string {
  const most = Math.floor(pixels / CHARACTER);
  return text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1))}…`;
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function scaled(value: number, units: readonly (readonly [factor: number, name: string])[]): string {
  const [factor, name] = units.find(([least]) => Math.abs(value) >= least) ?? units.at(-1) ?? [1, ""];
  return `${short(value / factor)} ${name}`;
}

const TIMES = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
] as const;
const SIZES = [
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
  [1, "B"],
] as const;

/** A value as its measure reads. */
function written(value: number, measure: Measure): string {
  if (Number.isNaN(value)) return NOTHING;
  switch (measure) {
    case "ratio":
      return `${short(value * 100)} %`;
    case "percent":
      return `${short(value)} %`;
    case "seconds":
      return value === 0 ? "0 s" : scaled(value, TIMES);
    case "bytes":
      return scaled(value, SIZES);
    case "bytes_per_second":
      return `${scaled(value, SIZES)}/s`;
    case "per_second":
      return `${short(value)}/s`;
    case "timestamp":
      return new Date(value * 1000).toISOString().slice(0, 16);
    case "none":
      return short(value);
  }
}

function colorAt(value: number, levels: Levels | undefined): string {
  if (levels === undefined) return STATE_COLORS.green;
  const { warning, critical = warning, bad } = levels;
  const isBad = (limit: number): boolean => (bad === "above" ? value >= limit : value < limit);
  if (isBad(critical)) return STATE_COLORS.red;
  return isBad(warning) ? STATE_COLORS.orange : STATE_COLORS.green;
}

function text(content: string, x: number, y: number, kind = "shows", more = ""): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}"${more}>${escaped(content)}</text>`;
}

function rectangle({ x, y, width, height }: Area, fill: string, opacity = 1): string {
  return `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${width.toFixed(1)}" height="${height.toFixed(1)}" fill="${fill}" fill-opacity="${opacity.toFixed(2)}"/>`;
}

function lastOf({ values }: PreviewLine): number {
  return values.findLast((value) => !Number.isNaN(value)) ?? Number.NaN;
}

/** The largest lines, in the order of their queries. */
function shown(lines: PreviewLines): readonly PreviewLine[] {
  const all = lines.flat().filter((line) => !Number.isNaN(lastOf(line)));
  const largest = new Set(all.toSorted((one, other) => lastOf(other) - lastOf(one)).slice(0, LINES_MAX));
  return all.filter((line) => largest.has(line));
}

/** Points of a line in a plot whose upper end is `top`. */
function points(values: readonly number[], top: number, { x, y, width, height }: Area): string {
  return values
    .flatMap((value, i) => {
      if (Number.isNaN(value)) return [];
      const across = x + (i / (INSTANTS - 1)) * width;
      return [`${across.toFixed(1)},${(y + height * (1 - Math.min(1, value / top))).toFixed(1)}`];
    })
    .join(" ");
}

function legend(lines: readonly PreviewLine[], { x, y, width }: Area): string[] {
  let at = x;
  return lines.flatMap(({ name }, i) => {
    const room = x + width - at;
    if (room < 5 * CHARACTER) return [];
    const label = cut(`― ${name}`, room);
    const drawn = text(label, at, y, "kind", ` style="fill:${COLORS[i % COLORS.length] ?? ""}"`);
    at += (label.length + 2) * CHARACTER;
    return [drawn];
  });
}

function timeseries(
  panel: MeasuredPanel & { kind: "timeseries" },
  lines: readonly PreviewLine[],
  area: Area,
): string[] {
  const plot: Area = {
    x: area.x + AXIS_WIDTH,
    y: area.y + 6,
    width: area.width - AXIS_WIDTH,
    height: area.height - LINE_HEIGHT - 10,
  };
  const sums = new Array<number>(INSTANTS).fill(0);
  const drawn = lines.map(({ values }) =>
    panel.stacked === true
      ? values.map((value, i) => (sums[i] = (sums[i] ?? 0) + (Number.isNaN(value) ? 0 : value)))
      : values,
  );
  const top = Math.max(...drawn.flat().filter((value) => !Number.isNaN(value)), 0) * 1.15 || 1;
  const { levels, measure } = panel;
  const limit = levels !== undefined && levels.warning > 0 && levels.warning <= top ? levels.warning : null;
  const axis = [0, 0.5, 1].flatMap((part) => {
    const y = plot.y + plot.height * (1 - part);
    return [
      `<path class="grid" d="M${plot.x} ${y.toFixed(1)}h${plot.width}"/>`,
      text(written((top / 1.15) * part, measure), area.x, y + 4, "kind"),
    ];
  });
  const curves = drawn.map(
    (values, i) =>
      `<polyline class="data" stroke="${COLORS[i % COLORS.length] ?? ""}" points="${points(values, top, plot)}"/>`,
  );
  const dashed =
    limit === null
      ? []
      : [
          `<path class="limit" d="M${plot.x} ${(plot.y + plot.height * (1 - limit / top)).toFixed(1)}h${plot.width}"/>`,
        ];
  return [...axis, ...curves, ...dashed, ...legend(lines, { ...area, y: area.y + area.height })];
}

function stateOf(value: number, states: readonly StateName[]): StateName | undefined {
  return states.find((state) => state.value === Math.round(value));
}

function stat(panel: MeasuredPanel & { kind: "stat" }, lines: readonly PreviewLine[], area: Area): string[] {
  const each = area.width / Math.max(1, lines.length);
  return lines.flatMap((line, i) => {
    const value = lastOf(line);
    const state = stateOf(value, panel.states ?? []);
    const color = state === undefined ? colorAt(value, panel.levels) : STATE_COLORS[state.color];
    const x = area.x + i * each;
    const top = Math.max(...line.values.filter((one) => !Number.isNaN(one)), 0) * 1.6 || 1;
    const sparkline = { x, y: area.y + area.height * 0.55, width: each - 6, height: area.height * 0.45 };
    return [
      ...(panel.states === undefined
        ? [`<polyline class="data" stroke="${color}" points="${points(line.values, top, sparkline)}"/>`]
        : []),
      text(
        state?.text ?? written(value, panel.measure),
        x,
        area.y + 22,
        "big data",
        ` style="fill:${color}"`,
      ),
    ];
  });
}

function bars(
  panel: MeasuredPanel & { kind: "bar_gauge" },
  lines: readonly PreviewLine[],
  area: Area,
): string[] {
  return lines.flatMap((line, i) => {
    const value = lastOf(line);
    const y = area.y + i * (LINE_HEIGHT + 4);
    const room = area.width - 2 * AXIS_WIDTH - 20;
    const bar = {
      x: area.x + AXIS_WIDTH,
      y,
      width: Math.max(1, room * Math.min(1, value / panel.full)),
      height: LINE_HEIGHT,
    };
    return [
      text(cut(line.name, AXIS_WIDTH), area.x, y + 11, "kind"),
      rectangle({ ...bar, width: room }, "#2c3235"),
      rectangle(bar, colorAt(value, panel.levels)),
      text(written(value, panel.measure), bar.x + room + 8, y + 11, "kind data"),
    ];
  });
}

function bands(
  panel: MeasuredPanel & { kind: "state_timeline" },
  lines: readonly PreviewLine[],
  area: Area,
): string[] {
  const label = Math.min(150, area.width / 3);
  const height = Math.min(22, area.height / Math.max(1, lines.length));
  return lines.flatMap((line, i) => {
    const y = area.y + i * height;
    const state = stateOf(lastOf(line), panel.states);
    const place = { x: area.x + label, y, width: area.width - label, height: height - 3 };
    return [
      text(cut(line.name, label), area.x, y + height - 8, "kind"),
      rectangle(place, STATE_COLORS[state?.color ?? "green"], 0.8),
      text(state?.text ?? "", place.x + 6, y + height - 8, "dark data"),
    ];
  });
}

function cells(lines: PreviewLines, area: Area): string[] {
  const all = lines
    .flat()
    .toSorted((one, other) => Number(one.labels["le"] ?? 0) - Number(other.labels["le"] ?? 0));
  // Buckets are cumulated: a row has what is above the row below.
  const rows = all.map(({ name, labels, values }, i) => ({
    name,
    values: values.map((value, at) =>
      "le" in labels && i > 0 ? value - (all[i - 1]?.values[at] ?? 0) : value,
    ),
  }));
  const top =
    Math.max(...rows.flatMap(({ values }) => values).filter((value) => !Number.isNaN(value)), 0) || 1;
  const height = area.height / Math.max(1, rows.length);
  const label = 60;
  const width = (area.width - label) / INSTANTS;
  return rows.flatMap(({ name, values }, i) => {
    const y = area.y + area.height - (i + 1) * height;
    return [
      ...(i % Math.ceil(rows.length / 6) === 0 ? [text(cut(name, label), area.x, y + height, "kind")] : []),
      ...values.flatMap((value, at) =>
        value > 0
          ? [
              rectangle(
                { x: area.x + label + at * width, y, width, height },
                "#ff9830",
                0.1 + (0.9 * value) / top,
              ),
            ]
          : [],
      ),
    ];
  });
}

function rows(panel: Panel & { kind: "table" }, lines: PreviewLines, area: Area): string[] {
  const first = lines.find((column) => column.length > 0) ?? [];
  const keys = Object.keys(first[0]?.labels ?? {}).filter((label) => label !== "job");
  const heads = [...keys, ...panel.columns.map(({ title }) => title)];
  const width = area.width / heads.length;
  const most = Math.max(0, Math.floor(area.height / LINE_HEIGHT) - 1);
  const cell = (content: string, column: number, row: number, kind: string): string =>
    text(cut(content, width - 4), area.x + column * width, area.y + (row + 1) * LINE_HEIGHT - 3, kind);
  const joined = (labels: PreviewLine["labels"], column: readonly PreviewLine[]): number => {
    const found = column.find((line) =>
      Object.entries(line.labels).every(([label, value]) => !(label in labels) || labels[label] === value),
    );
    return found === undefined ? Number.NaN : lastOf(found);
  };
  return [
    ...heads.map((head, i) => cell(head, i, 0, "kind")),
    ...first
      .slice(0, most)
      .flatMap(({ labels }, row) => [
        ...keys.map((key, i) => cell(labels[key] ?? "", i, row + 1, "shows data")),
        ...panel.columns.map(({ query }, i) =>
          cell(
            written(joined(labels, lines[i] ?? []), query.measure),
            keys.length + i,
            row + 1,
            "shows data",
          ),
        ),
      ]),
  ];
}

/**
 * The inside of a panel.
 *
 * @param panel - which.
 * @param lines - its made-up data.
 * @param area - where to draw.
 * @returns elements of SVG; those that show data have the class `data`.
 */
export function panelContent(panel: Panel, lines: PreviewLines, area: Area): readonly string[] {
  if (panel.kind === "logs")
    return [text("lines of the log, from Loki", area.x, area.y + LINE_HEIGHT, "kind")];
  const some = shown(lines);
  if (some.length === 0)
    return [text(NOTHING, area.x, area.y + 20, "big", ` style="fill:${STATE_COLORS.green}"`)];
  switch (panel.kind) {
    case "timeseries":
      return timeseries(panel, some, area);
    case "stat":
      return stat(panel, some, area);
    case "bar_gauge":
      return bars(panel, some, area);
    case "state_timeline":
      return bands(panel, some, area);
    case "heatmap":
      return cells(lines, area);
    case "table":
      return rows(panel, lines, area);
  }
}
