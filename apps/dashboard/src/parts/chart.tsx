/**
 * A chart over time, drawn by uPlot: lines or stacked areas, with the cursor of all charts in step.
 *
 *     series (one value for each time) ──▶ stacked sums, if stacked ──▶ uPlot ──▶ legend with the values at the cursor
 *
 * Colors are read from the style sheet when a chart is made, so another theme makes it again. Happenings stand as dashed lines.
 * The table has the same: values, happenings, and times without data.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import { theme } from "../page/theme.ts";
import { PANELS } from "../texts/frame.ts";
import { timeOfDay, UNKNOWN, utc } from "../words.ts";
import { type Break, type Mark, rowsOf } from "./chart-rows.ts";
import { useWidth } from "./width.ts";

/** One line or area. */
export interface Series {
  readonly label: string;
  /** Custom property of the color, such as `--c1`. */
  readonly color: string;
  readonly values: readonly (number | null)[];
  /** Dashed, so that color is not the only difference. */
  readonly isDashed?: boolean;
}

/** What a chart shows. */
export interface ChartProps {
  readonly label: string;
  /** Seconds since 1970, ascending. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  /** Seconds between the left and the right edge. */
  readonly seconds: number;
  readonly isStacked?: boolean;
  readonly isLog?: boolean;
  /** Fixed upper end of the axis. */
  readonly top?: number;
  readonly format: (value: number) => string;
  readonly objective?: { readonly value: number; readonly label: string };
  readonly marks?: readonly Mark[];
  /** Whether the latest mark has its label: in one of several charts. */
  readonly isLabelled?: boolean;
  /** Times without data. */
  readonly breaks?: readonly Break[];
}

const HEIGHT = 160;
const LABEL_CHARACTERS_MAX = 48;
const FONT = "10.5px system-ui, sans-serif";
/** uPlot's number: its enumeration exists in declarations alone. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- a module cannot read an ambient const enum.
const LOGARITHMIC = 3 as uPlot.Scale.Distr;

/** A chart with its legend, or the same as a table. */
export function Chart(props: ChartProps & { readonly isTable: boolean }): ComponentChildren {
  const [cursor, setCursor] = useState<number | null>(null);
  const { times, series, format, isTable } = props;
  const shown = cursor ?? lastKnown(series);
  return (
    <div class="chart">
      {isTable ? <ChartTable {...props} /> : <Plot {...props} onCursor={setCursor} />}
      <div class="legend">
        {series.map(({ label, color, values, isDashed = false }) => {
          const value = values[shown];
          return (
            <span key={label}>
              <i class={isDashed ? "dashed" : ""} style={{ color: `var(${color})` }} />
              {label} <b>{value === null || value === undefined ? UNKNOWN : format(value)}</b>
            </span>
          );
        })}
        <span class="faint" title={utc((times[shown] ?? Number.NaN) * 1000)}>
          {cursor === null ? "" : timeOfDay((times[cursor] ?? Number.NaN) * 1000)}
        </span>
      </div>
    </div>
  );
}

function lastKnown(series: readonly Series[]): number {
  return Math.max(0, ...series.map(({ values }) => values.findLastIndex((value) => value !== null)));
}

/** The same as rows, the newest first. */
function ChartTable({
  times,
  series,
  format,
  label,
  marks = [],
  breaks = [],
}: ChartProps): ComponentChildren {
  return (
    <div class="chart-table" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            <th>{PANELS.time}</th>
            {series.map(({ label: name }) => (
              <th key={name} class="num">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rowsOf(times, marks, breaks).map((row, i) => (
            <tr key={`${row.time} ${row.kind} ${i}`}>
              <td title={utc(row.time * 1000)}>{timeOfDay(row.time * 1000)}</td>
              {row.kind === "values" ? (
                series.map(({ label: name, values }) => {
                  const value = values[row.index];
                  return (
                    <td key={name} class="num">
                      {value === null || value === undefined ? UNKNOWN : format(value)}
                    </td>
                  );
                })
              ) : (
                <td colSpan={series.length} class={row.kind}>
                  {row.kind === "mark" ? row.label : PANELS.noDataUntil(timeOfDay(row.to * 1000))}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Plot(props: ChartProps & { readonly onCursor: (index: number | null) => void }): ComponentChildren {
  const [ref, width] = useWidth<HTMLDivElement>();
  const latest = useRef(props);
  latest.current = props;
  const plot = useRef<uPlot | null>(null);
  const shape = JSON.stringify([
    theme.value,
    props.isLog,
    props.series.map(({ label, color }) => [label, color]),
  ]);
  useEffect(() => {
    if (width === 0 || ref.current === null) return undefined;
    const made = new uPlot(optionsOf(latest, width), dataOf(latest.current), ref.current);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = null;
    };
  }, [shape, width === 0]);
  useEffect(() => {
    plot.current?.setSize({ width, height: HEIGHT });
  }, [width]);
  useEffect(() => {
    plot.current?.setData(dataOf(latest.current));
  }, [props.series, props.times, props.seconds]);
  return <div class="plot" ref={ref} role="img" aria-label={props.label} />;
}

/** uPlot's data: times, then the series; stacked ones as sums, the whole first. */
function dataOf({ times, series, isStacked = false }: ChartProps): uPlot.AlignedData {
  if (!isStacked) return [times as number[], ...series.map(({ values }) => values as (number | null)[])];
  const sums: (number | null)[][] = [];
  let below: readonly (number | null)[] = times.map(() => null);
  for (const { values } of series) {
    const sum = times.map((_, i) => {
      const value = values[i] ?? null;
      const base = below[i] ?? null;
      return value === null && base === null ? null : (value ?? 0) + (base ?? 0);
    });
    sums.unshift(sum);
    below = sum;
  }
  return [times as number[], ...sums];
}

function colorOf(property: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(property).trim();
}

function clock(seconds: number): string {
  return timeOfDay(seconds * 1000).slice(0, 5);
}

type Latest = { readonly current: ChartProps & { readonly onCursor: (index: number | null) => void } };

function optionsOf(latest: Latest, width: number): uPlot.Options {
  const { series, isStacked = false, isLog = false } = latest.current;
  const drawn = isStacked ? [...series].reverse() : series;
  const faint = colorOf("--faint");
  const grid = { stroke: colorOf("--grid"), width: 1 };
  return {
    width,
    height: HEIGHT,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "charts", setSeries: false }, drag: { x: false, y: false }, points: { size: 5 } },
    scales: {
      x: { time: true, range: () => xRange(latest.current) },
      y: isLog ? { distr: LOGARITHMIC } : { range: (_u, _min, max) => [0, yTop(latest.current, max)] },
    },
    axes: [
      {
        stroke: faint,
        font: FONT,
        grid: { show: false },
        ticks: { show: false },
        size: 26,
        gap: 8,
        space: 72,
        values: (_u, splits) => splits.map(clock),
      },
      {
        stroke: faint,
        font: FONT,
        grid,
        ticks: { show: false },
        size: 46,
        gap: 6,
        space: 30,
        values: (_u, splits) =>
          // A log axis has empty splits between its labels.
          splits.map((value: number | null) => (value === null ? "" : latest.current.format(value))),
      },
    ],
    series: [
      {},
      ...drawn.map(({ color, isDashed = false }, i): uPlot.Series => {
        const stroke = colorOf(color);
        return {
          stroke,
          width: 1.5,
          points: { show: false },
          ...(isDashed ? { dash: [5, 3] } : {}),
          ...(isStacked && i === drawn.length - 1 ? { fill: `${stroke}55` } : {}),
        };
      }),
    ],
    bands: isStacked
      ? drawn.slice(0, -1).map(({ color }, i) => ({ series: [i + 1, i + 2], fill: `${colorOf(color)}55` }))
      : [],
    hooks: {
      draw: [
        (plot) => {
          drawMarks(plot, latest.current);
          drawObjective(plot, latest.current);
        },
      ],
      setCursor: [
        (plot) => {
          latest.current.onCursor(plot.cursor.idx ?? null);
        },
      ],
    },
  };
}

function xRange({ times, seconds }: ChartProps): [number, number] {
  const end = times.at(-1) ?? Date.now() / 1000;
  return [end - seconds, end];
}

function yTop({ top, objective }: ChartProps, max: number | null): number {
  if (top !== undefined) return top;
  const high = Math.max(max ?? 0, objective === undefined ? 0 : objective.value * 1.15);
  return high > 0 ? high * 1.08 : 1;
}

function drawObjective(plot: uPlot, { objective }: ChartProps): void {
  if (objective === undefined) return;
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(objective.value, "y", true));
  if (y < bbox.top || y > bbox.top + bbox.height) return;
  dashedLine(ctx, colorOf("--bad"), [bbox.left, y], [bbox.left + bbox.width, y]);
  label(ctx, objective.label, colorOf("--bad"), bbox.left + bbox.width, y - 4 * devicePixelRatio, "right");
}

/** A dashed line for each mark; the latest one has its label. */
function drawMarks(plot: uPlot, { marks = [], isLabelled = false }: ChartProps): void {
  const { ctx, bbox } = plot;
  const seen = marks
    .map((mark) => ({ ...mark, x: Math.round(plot.valToPos(mark.time, "x", true)) }))
    .filter(({ x }) => x >= bbox.left && x <= bbox.left + bbox.width);
  for (const { x, color: property } of seen) {
    const color = colorOf(property);
    dashedLine(ctx, color, [x, bbox.top], [x, bbox.top + bbox.height]);
    ctx.beginPath();
    ctx.arc(x, bbox.top, 2.5 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fillStyle = color;
    ctx.fill();
  }
  const latest = seen.reduce<(typeof seen)[number] | null>(
    (best, mark) => (best === null || mark.time > best.time ? mark : best),
    null,
  );
  if (latest === null || !isLabelled) return;
  const isLeft = latest.x < bbox.left + bbox.width / 2;
  const gap = 6 * devicePixelRatio;
  label(
    ctx,
    shortened(latest.label),
    colorOf(latest.color),
    latest.x + (isLeft ? gap : -gap),
    bbox.top + 3 * devicePixelRatio,
    isLeft ? "left" : "right",
  );
}

function shortened(text: string): string {
  return text.length > LABEL_CHARACTERS_MAX ? `${text.slice(0, LABEL_CHARACTERS_MAX - 1)}…` : text;
}

function dashedLine(
  ctx: CanvasRenderingContext2D,
  color: string,
  from: readonly [number, number],
  to: readonly [number, number],
): void {
  ctx.save();
  ctx.strokeStyle = color;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
  ctx.restore();
}

function label(
  ctx: CanvasRenderingContext2D,
  text: string,
  color: string,
  x: number,
  y: number,
  align: CanvasTextAlign,
): void {
  ctx.save();
  ctx.font = `${10.5 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = align;
  ctx.textBaseline = "alphabetic";
  // Lines that cross the label would make it hard to read.
  const width = ctx.measureText(text).width + 4 * devicePixelRatio;
  ctx.fillStyle = colorOf("--panel");
  ctx.fillRect(
    align === "right" ? x - width + 2 * devicePixelRatio : x - 2 * devicePixelRatio,
    y - 9 * devicePixelRatio,
    width,
    12 * devicePixelRatio,
  );
  ctx.fillStyle = color;
  ctx.fillText(text, x, y);
  ctx.restore();
}
