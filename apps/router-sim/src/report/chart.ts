/**
 * Charts as inline SVG, for pages that load nothing else. Three forms, one frame:
 *
 *     lines      y against x, one line per policy           distribution, course over time, sweep
 *     intervals  one row per policy: mean and interval      a figure side by side
 *     strips     one row per policy: a mark per engine      load by engine
 *
 *     ┌ label of the y axis
 *     │            MARGIN.top
 *     ├──┬─────────────────────┐   Everything is in units of the view box; text grows on small screens by the page's
 *     │  │        plot         │   style (classes axis, tick, row), so margins leave room for it.
 *     ├──┴─────────────────────┤
 *     └ ticks, label of x ─────┘
 *
 *  C1  A chart has a title and a description of its lines in words (role img).
 *  C2  Colors are classes (`p-<policy>`); the page's style gives them light and dark ones.
 *  C3  Equal arguments give equal text.
 *
 * Scales are d3-scale's, paths d3-shape's; neither needs a document. No legend: the page has one for all charts.
 */
import { scaleLinear, scaleLog, scalePoint } from "d3-scale";
import { line } from "d3-shape";

const WIDTH = 560;
const HEIGHT = 330;
const MARGIN = { top: 34, right: 22, bottom: 52, left: 64 };
/** Room for names of policies, in rows. */
const ROW_MARGIN_LEFT = 162;
const ROW_HEIGHT = 27;
const TICKS = 5;

/** One axis of numbers. */
export interface Axis {
  /** With its unit. */
  readonly label: string;
  readonly scale: "linear" | "log" | "steps";
  /** From and to; of `steps` every value, which lie evenly spaced however far apart they are. */
  readonly domain: readonly number[];
  readonly format: (value: number) => string;
}

/** What every chart has. */
interface ChartWords {
  readonly title: string;
  /** The text alternative: what one would see. */
  readonly description: string;
}

/** One line. */
export interface ChartLine {
  readonly policy: string;
  /** [x, y]; null for a gap. */
  readonly points: readonly (readonly [number, number | null])[];
}

/** One row of intervals. */
export interface IntervalRow {
  readonly policy: string;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** One row of marks. */
export interface StripRow {
  readonly policy: string;
  readonly values: readonly number[];
}

type Scale = (value: number) => number;

/**
 * Draws lines.
 *
 * @param words - title and text alternative.
 * @param x - the horizontal axis.
 * @param y - the vertical axis; its label stands above the plot.
 * @param lines - in the order of drawing: later ones lie above.
 * @param marks - whether each point gets a dot: for sweeps of few values.
 * @returns an svg element.
 */
export function lineChart(
  words: ChartWords,
  x: Axis,
  y: Axis,
  lines: readonly ChartLine[],
  marks = false,
): string {
  const right = WIDTH - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const toX = scaleOf(x, MARGIN.left, right);
  const toY = scaleOf(y, bottom, MARGIN.top);
  const path = line<readonly [number, number | null]>()
    .defined(([, value]) => value !== null)
    .x(([value]) => toX.at(value))
    .y(([, value]) => toY.at(value ?? 0))
    .digits(1);
  const drawn = lines.map(({ policy, points }) => {
    const dots = marks
      ? points
          .filter(([, value]) => value !== null)
          .map(
            ([at, value]) => `<circle cx="${fixed(toX.at(at))}" cy="${fixed(toY.at(value ?? 0))}" r="3.5"/>`,
          )
          .join("")
      : "";
    return `<g class="line p-${policy}"><path d="${path(points) ?? ""}"/>${dots}</g>`;
  });
  const grid = toY.ticks.map((tick) => {
    const at = fixed(toY.at(tick));
    return (
      `<line class="grid" x1="${MARGIN.left}" x2="${right}" y1="${at}" y2="${at}"/>` +
      `<text class="tick" x="${MARGIN.left - 8}" y="${at}" dy="0.35em" text-anchor="end">${escaped(y.format(tick))}</text>`
    );
  });
  return svg(words, HEIGHT, [
    ...grid,
    `<text class="axis" x="0" y="16">${escaped(y.label)}</text>`,
    ...horizontalAxis(x, toX, MARGIN.left, right, bottom),
    ...drawn,
  ]);
}

/**
 * Draws means with their intervals, one row each.
 *
 * @param words - title and text alternative.
 * @param x - the axis.
 * @param rows - from the top.
 * @returns an svg element, as high as its rows need.
 */
export function intervalChart(words: ChartWords, x: Axis, rows: readonly IntervalRow[]): string {
  return rowChart(words, x, rows, (toX, { mean, low, high }, y) => {
    const [from, to, at] = [low, high, mean].map((value) => fixed(toX(value)));
    return (
      `<path d="M${from} ${y}H${to}M${from} ${y - 5}v10M${to} ${y - 5}v10"/>` +
      `<circle cx="${at}" cy="${y}" r="4.5"/>`
    );
  });
}

/**
 * Draws a mark for each value, one row of them each.
 *
 * @param words - title and text alternative.
 * @param x - the axis.
 * @param rows - from the top.
 * @returns an svg element, as high as its rows need.
 */
export function stripChart(words: ChartWords, x: Axis, rows: readonly StripRow[]): string {
  return rowChart(words, x, rows, (toX, { values }, y) => {
    const ticks = values.map((value) => `M${fixed(toX(value))} ${y - 8}v16`).join("");
    return `<path class="marks" d="${ticks}"/>`;
  });
}

function rowChart<Row extends { readonly policy: string }>(
  words: ChartWords,
  x: Axis,
  rows: readonly Row[],
  draw: (toX: Scale, row: Row, y: number) => string,
): string {
  const bottom = 8 + rows.length * ROW_HEIGHT;
  const right = WIDTH - MARGIN.right;
  const toX = scaleOf(x, ROW_MARGIN_LEFT, right);
  const drawn = rows.map((row, position) => {
    const y = 8 + (position + 0.5) * ROW_HEIGHT;
    return (
      `<text class="row" x="${ROW_MARGIN_LEFT - 10}" y="${y}" dy="0.35em" text-anchor="end">${escaped(row.policy)}</text>` +
      `<g class="mark p-${row.policy}">${draw(toX.at, row, y)}</g>`
    );
  });
  const grid = toX.ticks.map((tick) => {
    const at = fixed(toX.at(tick));
    return `<line class="grid" x1="${at}" x2="${at}" y1="8" y2="${bottom}"/>`;
  });
  return svg(words, bottom + MARGIN.bottom, [
    ...grid,
    ...horizontalAxis(x, toX, ROW_MARGIN_LEFT, right, bottom),
    ...drawn,
  ]);
}

function horizontalAxis(
  axis: Axis,
  scale: { readonly at: Scale; readonly ticks: readonly number[] },
  left: number,
  right: number,
  y: number,
): string[] {
  const ticks = scale.ticks.map((tick) => {
    const at = fixed(scale.at(tick));
    return (
      `<line class="base" x1="${at}" x2="${at}" y1="${y}" y2="${y + 5}"/>` +
      `<text class="tick" x="${at}" y="${y + 10}" dy="0.8em" text-anchor="middle">${escaped(axis.format(tick))}</text>`
    );
  });
  return [
    `<line class="base" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>`,
    ...ticks,
    `<text class="axis" x="${right}" y="${y + 47}" text-anchor="end">${escaped(axis.label)}</text>`,
  ];
}

/** Positions and ticks of an axis; values beyond the domain lie at its ends. */
function scaleOf(axis: Axis, from: number, to: number): { readonly at: Scale; readonly ticks: number[] } {
  const { domain } = axis;
  if (axis.scale === "steps") {
    const scale = scalePoint(domain, [from, to]).padding(0.3);
    return { at: (value) => scale(value) ?? from, ticks: [...domain] };
  }
  const [low = 0, high = 1] = domain;
  const clamped = (value: number): number => Math.min(high, Math.max(low, value));
  if (axis.scale === "linear") {
    const scale = scaleLinear([low, high], [from, to]);
    return { at: (value) => scale(clamped(value)), ticks: scale.ticks(TICKS) };
  }
  const scale = scaleLog([low, high], [from, to]);
  return { at: (value) => scale(clamped(value)), ticks: logTicks(low, high) };
}

/** 1, 2, 5 of each decade while there is room, else the decades. */
function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const steps = decades > 2.5 ? [1] : decades > 1.6 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const step of steps) {
      const tick = step * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

function svg({ title, description }: ChartWords, height: number, parts: readonly string[]): string {
  return (
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(`${title}. ${description}`)}">` +
    `${parts.join("")}</svg>`
  );
}

function fixed(value: number): string {
  return value.toFixed(1);
}

/**
 * Makes a text safe within HTML, as content and within double quotes.
 *
 * @param text - anything.
 * @returns the text with its special characters as references.
 */
export function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
