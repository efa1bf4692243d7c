/**
 * The `compare` command: a sweep, its comparison, and the report in three forms. The report depends
 * on the command line, the commit and the machine's name alone. It has no time of day and no
 * duration.
 */
import type { Console } from "../report/console.ts";
import { provenanceOf } from "../report/provenance.ts";
import { checkReportFiles, writeReportFile } from "../report/report-file.ts";
import type { SimulationConfig, SimulationResult } from "../simulate/simulation-result.ts";
import { traceStats } from "../trace/trace-stats.ts";
import { describeWorkload, openWorkload, type WorkloadSource } from "../workload/workload-source.ts";
import { compareResults } from "./comparison.ts";
import {
  type ComparisonDocument,
  comparisonJson,
  describeComparisonProvenance,
  type WorkloadFacts,
} from "./comparison-document.ts";
import { comparisonMarkdown } from "./comparison-markdown.ts";
import { comparisonPage } from "./comparison-page.ts";
import { comparisonTable } from "./comparison-table.ts";
import { runSweep, type SweepSettings, sweepJobs } from "./sweep.ts";

/** What `compare` is told. */
export interface CompareOptions {
  readonly sweep: SweepSettings;
  readonly threads: number;
  readonly jsonPath: string | null;
  readonly htmlPath: string | null;
  readonly markdownPath: string | null;
  /** The command line, for whoever wants the same again. */
  readonly command: string;
}

/**
 * Runs the sweep, prints a table per case, and writes JSON and page where they are asked for.
 *
 * @param options - see CompareOptions.
 * @param console - where lines and progress go.
 * @param signal - ends it early.
 * @throws SimulationError, TraceError, ReportFileError.
 */
export async function runCompare(
  options: CompareOptions,
  console: Console,
  signal: AbortSignal,
): Promise<void> {
  const { sweep, threads } = options;
  await checkReportFiles([options.jsonPath, options.htmlPath, options.markdownPath]);
  const { commit, node, machine } = await provenanceOf(sweep.seeds[0] ?? 0);
  const provenance = { seeds: sweep.seeds, commit, node, machine, command: options.command };
  console.line(describeComparisonProvenance(provenance));
  const jobs = sweepJobs(sweep);
  const beganMs = performance.now();
  console.begin("compare", jobs.length, "runs");
  const results = await runSweep(
    jobs,
    threads,
    (count) => {
      const secondsEach = (performance.now() - beganMs) / 1_000 / count;
      console.progress(count, `about ${Math.ceil(secondsEach * (jobs.length - count))} s to go`);
    },
    signal,
  ).finally(() => {
    console.end();
  });
  const comparison = compareResults(results);
  for (const one of comparison.cases) console.line(`\n${comparisonTable(one)}`);
  const [first] = results;
  const document: ComparisonDocument = {
    provenance,
    setup: first === undefined ? [] : [...describeSetup(first.config), ...describePickers(results)],
    workloads: await workloadFacts(sweep, first?.config),
    comparison,
  };
  if (options.jsonPath !== null) await writeReportFile(options.jsonPath, comparisonJson(document));
  if (options.htmlPath !== null) await writeReportFile(options.htmlPath, comparisonPage(document));
  if (options.markdownPath !== null)
    await writeReportFile(options.markdownPath, comparisonMarkdown(document));
  const requests = results.reduce((sum, { totals }) => sum + totals.requests, 0);
  const seconds = (performance.now() - beganMs) / 1_000;
  console.line(
    `\n${jobs.length} runs, ${requests.toLocaleString("en-US")} requests in ${seconds.toFixed(1)} s: ` +
      `${Math.round(requests / seconds).toLocaleString("en-US")} requests a second`,
  );
}

async function workloadFacts(
  { workloads, seeds, engineCounts }: SweepSettings,
  config: SimulationConfig | undefined,
): Promise<WorkloadFacts[]> {
  const facts: WorkloadFacts[] = [];
  const engineTokens = (config?.blockCount ?? 0) * (config?.blockSize ?? 0);
  for (const source of workloads)
    facts.push(await factsOf(source, seeds[0] ?? 0, engineCounts, engineTokens));
  return facts;
}

async function factsOf(
  source: WorkloadSource,
  seed: number,
  engineCounts: readonly number[],
  engineTokens: number,
): Promise<WorkloadFacts> {
  const workload = await openWorkload(source, seed);
  const { blockTokens } = workload;
  const capacities = engineCounts.map((count) => Math.floor((count * engineTokens) / blockTokens));
  const stats = await traceStats(workload.requests(), { blockTokens, capacities });
  return {
    name: source.name,
    about: describeWorkload(source),
    requestCount: stats.requestCount,
    durationSeconds: stats.durationSeconds,
    inputTokensMean: stats.inputTokens.mean,
    outputTokensMean: stats.outputTokens.mean,
    ceiling: stats.unboundedHitShare,
    ceilingsByEngines: stats.lruHitShares.map(({ hitShare }, position) => ({
      engineCount: engineCounts[position] ?? 0,
      hitShare,
    })),
  };
}

/** Nothing where one picker decides. */
function describePickers(results: readonly SimulationResult[]): (readonly [string, string])[] {
  const several = results.find(({ config }) => config.pickers !== undefined)?.config.pickers;
  if (several === undefined) return [];
  const [scrape, share] = [several.scrapeSeconds, several.shareDelaySeconds].map(
    (seconds) => 1_000 * seconds,
  );
  return [
    ["scraping pickers", `read the engines' loads every ${scrape} ms`],
    ["sharing pickers", `have each other's decisions ${share} ms late`],
  ];
}

function describeSetup(config: SimulationConfig): (readonly [string, string])[] {
  const whole = (value: number): string => value.toLocaleString("en-US");
  return [
    ["cost model", config.costModel],
    ["KV cache", `${whole(config.blockCount)} blocks of ${config.blockSize} tokens`],
    ...(config.hostBlockCount === 0
      ? []
      : ([["host tier", `${whole(config.hostBlockCount)} blocks`]] as const)),
    ["batch", `at most ${whole(config.maxBatchedTokens)} tokens and ${whole(config.maxSequences)} requests`],
    ["events", config.eventPath === "wire" ? "on the wire" : "applied directly"],
    ...(config.eventLoss === 0 ? [] : ([["events lost", `${100 * config.eventLoss} %`]] as const)),
  ];
}
