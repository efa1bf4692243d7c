/**
 * The description of a comparison: its origin, the settings of engines, and facts about the
 * workloads.
 */
import type { Provenance } from "../report/provenance.ts";
import type { Comparison, ComparisonCase, PolicyFigures } from "./comparison.ts";

/** What one needs to repeat a comparison. */
export interface ComparisonProvenance extends Omit<Provenance, "seed"> {
  readonly seeds: readonly number[];
  /** The command line that made it. */
  readonly command: string;
}

/** A workload, of the first seed. */
export interface WorkloadFacts {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  readonly requestCount: number;
  readonly durationSeconds: number;
  readonly inputTokensMean: number;
  readonly outputTokensMean: number;
  /** Share of block references that one cache without limit hits, 0 … 1. */
  readonly ceiling: number;
  /** The same of one LRU cache as large as so many engines' together. */
  readonly ceilingsByEngines: readonly { readonly engineCount: number; readonly hitShare: number }[];
}

/** Where a comparison comes from and what its runs have in common. */
interface ComparisonOrigin {
  readonly provenance: ComparisonProvenance;
  /** What all runs have in common: [name, value]. */
  readonly setup: readonly (readonly [string, string])[];
  readonly workloads: readonly WorkloadFacts[];
}

/** What the page shows. */
export interface ComparisonDocument extends ComparisonOrigin {
  readonly comparison: Comparison;
}

/** What `compare --json` writes: everything but what only charts need. */
export interface ComparisonFigures extends ComparisonOrigin {
  readonly comparison: {
    readonly seeds: readonly number[];
    readonly cases: readonly (Omit<ComparisonCase, "policies"> & {
      readonly policies: readonly PolicyFigures[];
    })[];
  };
}

/**
 * Writes the first line of everything.
 *
 * @param provenance - of a comparison.
 * @returns one line.
 */
export function describeComparisonProvenance(provenance: ComparisonProvenance): string {
  const { seeds, commit, node, machine } = provenance;
  return `${describeSeeds(seeds)} · commit ${commit} · Node ${node} · ${machine}`;
}

function describeSeeds(seeds: readonly number[]): string {
  const [first = 0] = seeds;
  const consecutive = seeds.every((seed, i) => seed === first + i);
  if (seeds.length === 1) return `seed ${first}`;
  return `seeds ${consecutive ? `${first} to ${first + seeds.length - 1}` : seeds.join(", ")}`;
}

/**
 * Writes the comparison as JSON: provenance first, then every figure of every case, a case a line. Courses over time and
 * distributions, which only charts need, are left out; `simulate --json` has them.
 *
 * @param document - the comparison.
 * @returns text with a final newline.
 */
export function comparisonJson({ provenance, setup, workloads, comparison }: ComparisonDocument): string {
  const cases = comparison.cases.map((one) => ({
    ...one,
    policies: one.policies.map(({ policy, metrics }) => ({ policy, metrics })),
  }));
  const line = (name: string, value: unknown): string => `${JSON.stringify(name)}: ${JSON.stringify(value)}`;
  const caseLines = cases.map((one) => JSON.stringify(one)).join(",\n");
  return [
    `{${line("provenance", provenance)},`,
    `${line("setup", setup)},`,
    `${line("workloads", workloads)},`,
    `"comparison": {${line("seeds", comparison.seeds)}, "cases": [`,
    `${caseLines}]}}`,
    "",
  ].join("\n");
}
