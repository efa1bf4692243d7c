/** A line without axes that shows the shape of the last hour. Its figures stand next to it. */
import type { ComponentChildren } from "preact";

const WIDTH = 240;
const HEIGHT = 30;
const TOP = 4;

/** What it draws. */
export interface SparkProps {
  readonly values: readonly (number | null)[];
  /** Custom property of the color, such as `--c1`. */
  readonly color: string;
  /** Values at the lower and upper edge; those of the line by default. */
  readonly edges?: readonly [number, number];
}

/** The line, broken where nothing is known. */
export function Spark({ values, color, edges }: SparkProps): ComponentChildren {
  const known = values.filter((value) => value !== null);
  const [low, high] = edges ?? [Math.min(...known), Math.max(...known)];
  const spread = high - low;
  const x = (i: number): number => (values.length < 2 ? 0 : (i / (values.length - 1)) * WIDTH);
  const y = (value: number): number =>
    spread > 0 ? HEIGHT - 2 - ((value - low) / spread) * (HEIGHT - 2 - TOP) : HEIGHT / 2;
  let line = "";
  let area = "";
  for (const run of runsOf(values)) {
    const points = run.map(([i, value]) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    const [first] = run;
    const last = run.at(-1);
    line += `M${points}`;
    area += `M${points}L${x(last?.[0] ?? 0).toFixed(1)} ${HEIGHT}L${x(first?.[0] ?? 0).toFixed(1)} ${HEIGHT}Z`;
  }
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path d={area} style={{ fill: `var(${color})` }} opacity=".16" />
      <path
        d={line}
        style={{ stroke: `var(${color})` }}
        fill="none"
        stroke-width="1.5"
        vector-effect="non-scaling-stroke"
      />
    </svg>
  );
}

/** The known values with their positions, divided where nothing is known. */
function runsOf(values: readonly (number | null)[]): (readonly [number, number])[][] {
  const runs: (readonly [number, number])[][] = [];
  let isOpen = false;
  for (const [i, value] of values.entries()) {
    if (value !== null) {
      if (!isOpen) runs.push([]);
      runs.at(-1)?.push([i, value]);
    }
    isOpen = value !== null;
  }
  return runs;
}
