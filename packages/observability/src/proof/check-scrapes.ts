/**
 * Scrapes of running daemons against the catalogue, in both directions.
 *
 *  S1  Every family is declared in a scrape with its kind, and has samples with exactly its labels.
 *  S2  Every value of a label whose values are listed is one of them.
 *  S3  Every family has moved: it has a sample that is not 0. A family whose zero is a fact has all
 *      its series at the first scrape. They do not show that any code emits it.
 *  S4  No family under the namespace is missing from the catalogue.
 *
 * Not here: the runs that make each family move. They are the daemon's (test/metrics.e2e.test.ts).
 */

import type { MetricDefinition } from "../definition.ts";
import { type Problem, ProblemList } from "./problem.ts";

/** One sample: its labels in order, and its value as written. */
interface Sample {
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly isZero: boolean;
}

const SAMPLE = /^([a-z0-9_]+?)(_bucket|_sum|_count)?(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/**
 * Finds what the scrapes lack or have too much.
 *
 * @param catalogue - every family that is declared, all in one namespace.
 * @param namespace - what the names of these families begin with.
 * @param scrapes - Prometheus texts, of any number of daemons.
 * @returns findings; the place of each is the family's name. Every family is a finding without any scrape.
 */
export function checkScrapes(
  catalogue: readonly MetricDefinition[],
  namespace: string,
  scrapes: readonly string[],
): readonly Problem[] {
  const found = new ProblemList();
  const kinds = new Map(catalogue.map(({ name, kind }) => [name as string, kind]));
  const samples = samplesOf(kinds, `${namespace}_`, scrapes);
  const types = new Set(scrapes.flatMap((text) => text.match(/^# TYPE .*$/gm) ?? []));
  for (const definition of catalogue) {
    found.at(definition.name);
    if (!types.has(`# TYPE ${definition.name} ${definition.kind}`))
      found.add("metric_not_emitted", `no scrape declares it as a ${definition.kind}`);
    checkFamily(definition, samples.get(definition.name) ?? [], found);
  }
  for (const name of samples.keys()) {
    found.at(name);
    if (!kinds.has(name)) found.add("metric_undeclared", "is not in the catalogue");
  }
  return found.found;
}

function checkFamily(definition: MetricDefinition, samples: readonly Sample[], found: ProblemList): void {
  const declared = Object.keys(definition.labels).join(",");
  if (samples.length === 0)
    found.add(
      "metric_not_emitted",
      "no scrape has a sample of it: expected code that makes its handle, and a run that reaches that code",
    );
  for (const names of new Set(samples.map(({ labels }) => labels.map(([name]) => name).join(","))))
    if (names !== declared) found.add("metric_labels", `has the labels ${names}, not ${declared}`);
  const domains = new Map(Object.entries(definition.labels));
  const values = new Set(samples.flatMap(({ labels }) => labels.map((label) => JSON.stringify(label))));
  for (const text of values) {
    const [label, value] = JSON.parse(text) as [string, string];
    const domain = domains.get(label);
    if (domain !== undefined && !("maxValues" in domain) && !domain.includes(value))
      found.add("metric_label_value", `has ${label}="${value}", which is not one of its values`);
  }
  if (samples.length > 0 && samples.every(({ isZero }) => isZero))
    found.add(
      "metric_unmoved",
      "every sample is 0, as before its first event: expected a run that moves it before its last scrape",
    );
}

/** All samples under the namespace by family. A histogram moves with its count: buckets and sums are left out. */
function samplesOf(
  kinds: ReadonlyMap<string, MetricDefinition["kind"]>,
  prefix: string,
  scrapes: readonly string[],
): Map<string, Sample[]> {
  const samples = new Map<string, Sample[]>();
  for (const line of scrapes.flatMap((text) => text.split("\n"))) {
    const [, base = "", suffix = "", labelText = "", value = ""] = SAMPLE.exec(line) ?? [];
    if (!base.startsWith(prefix)) continue;
    const isHistogram = kinds.get(base) === "histogram";
    if (isHistogram && suffix !== "_count") continue;
    const family = isHistogram ? base : base + suffix;
    const labels = [...labelText.matchAll(LABEL)].map(([, name = "", text = ""]): [string, string] => [
      name,
      text,
    ]);
    const known = samples.get(family);
    const sample = { labels, isZero: value === "0" };
    if (known === undefined) samples.set(family, [sample]);
    else known.push(sample);
  }
  return samples;
}
