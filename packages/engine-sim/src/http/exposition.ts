/**
 * Prometheus' text format, version 0.0.4, for the few metrics of a simulated engine. Core and engine
 * stay free of a metrics library; the names are the real engines', not ours.
 */
import type { Histogram } from "../driver-tally.ts";

/** Labels of a sample, in order. */
export type Labels = Readonly<Record<string, string>>;

/** One metric with its samples. */
export interface Family {
  readonly name: string;
  readonly type: "gauge" | "counter" | "histogram";
  readonly help: string;
  readonly samples: readonly (readonly [labels: Labels, value: number | Histogram])[];
}

/** Content-type of the format. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Writes metrics; those without samples are left out. */
export function exposition(families: readonly Family[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) =>
      [
        `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`,
        ...samples.map(([labels, value]) =>
          typeof value === "number" ? line(name, labels, value) : histogramLines(name, labels, value),
        ),
      ].join(""),
    )
    .join("");
}

function histogramLines(name: string, labels: Labels, { bounds, counts, sum }: Histogram): string {
  let total = 0;
  const buckets = counts.map((count, position) => {
    total += count;
    const bound = bounds[position];
    return line(`${name}_bucket`, { ...labels, le: bound === undefined ? "+Inf" : String(bound) }, total);
  });
  return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, total)].join("");
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}{${pairs.join(",")}} ${value}\n`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
