/**
 * The metrics of a fleet: every family that has the label `pod`. Each has a series for each rank and
 * each value of the family's first closed label.
 */
import { openLabel } from "@kvsync/observability/definition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import type { MetricSlots } from "@kvsync/observability/slots";

/**
 * Makes the series.
 *
 * @param metrics - to which they belong.
 * @param ranks - number of pods, each with one rank.
 * @returns lets the counters of half of the closed values grow.
 */
export function rankMetrics(metrics: MetricSlots, ranks: number): () => void {
  const growing: { inc: (by: number) => void }[] = [];
  for (const definition of CATALOGUE) {
    if (!("pod" in definition.labels)) continue;
    const closed = Object.entries(definition.labels).find(([, domain]) => !("maxValues" in domain));
    const values = closed === undefined ? [""] : (closed[1] as readonly string[]);
    for (let i = 0; i < ranks; i++)
      for (const value of values) {
        const given = Object.keys(definition.labels).map((label) => [
          label,
          label === closed?.[0] ? value : openLabel(label, label === "pod" ? `vllm-${i}` : `m-${i % 8}`),
        ]);
        const labels = Object.fromEntries(given) as never;
        if (definition.kind === "counter") {
          const counter = metrics.counter(definition, labels);
          counter.inc(i);
          if (values.indexOf(value) % 2 === 0) growing.push(counter);
        } else if (definition.kind === "gauge") metrics.gauge(definition, labels).set(0);
        else metrics.histogram(definition, labels).observe(1);
      }
  }
  return () => {
    for (const counter of growing) counter.inc(1);
  };
}
