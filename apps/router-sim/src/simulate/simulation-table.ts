/** The terminal's view of simulated runs: a line per policy, the figures that one compares. */
import { textTable } from "../report/text-table.ts";
import type { LatencyData } from "./latency-histogram.ts";
import { latencyQuantiles } from "./latency-histogram.ts";
import { hitRate, policyLabel, type SimulationResult, type SimulationSpeed } from "./simulation-result.ts";

const MS = 1_000;
const MIB = 2 ** 20;

/** One column: its title and how a run's value is written. */
type Column = readonly [title: string, value: (result: SimulationResult) => string];

const COLUMNS: readonly Column[] = [
  ["policy", ({ config }) => policyLabel(config)],
  ["hit rate", ({ totals }) => percent(hitRate(totals))],
  ["best held", ({ totals }) => percent(ratio(totals.bestHitBlocks, totals.promptBlocks))],
  ["predicted", ({ totals }) => percent(ratio(totals.predictedHitBlocks, totals.promptBlocks))],
  ["TTFT p50/p90/p99 s", ({ firstToken }) => quantiles(firstToken, [0.5, 0.9, 0.99], 1, 3)],
  ["ITL p50/p99 ms", ({ interToken }) => quantiles(interToken, [0.5, 0.99], MS, 1)],
  ["queue p99 s", ({ queue }) => quantiles(queue, [0.99], 1, 3)],
  ["tokens/s", ({ totals }) => whole(ratio(totals.outputTokens, totals.makespanSeconds))],
  ["busy", (result) => busy(result)],
  ["preempted", ({ totals }) => whole(totals.preemptions)],
  ["refused", ({ totals }) => whole(totals.refused)],
];

/**
 * Writes the table.
 *
 * @param results - one line each; at least one.
 * @returns lines without a final newline; the first says what all of them have in common.
 */
export function simulationTable(results: readonly SimulationResult[]): string {
  const titles = COLUMNS.map(([title]) => title);
  const lines = textTable([titles, ...results.map((result) => COLUMNS.map(([, value]) => value(result)))]);
  const [first] = results;
  return [...(first === undefined ? [] : [describeConfig(first), ""]), ...lines].join("\n");
}

function describeConfig({ config, totals }: SimulationResult): string {
  const events = [
    config.eventPath === "wire" ? "events on the wire" : "events written directly",
    `${(MS * config.eventDelaySeconds).toString()} ms late`,
    `${percent(config.eventLoss)} lost`,
    `${percent(config.eventReorder)} held up`,
  ].join(", ");
  return (
    `${whole(totals.requests)} requests, ${config.workload}; ${config.engineCount} × ${config.costModel} with ` +
    `${whole(config.blockCount)} blocks of ${config.blockSize} tokens; ${events}`
  );
}

/**
 * Says how fast a run was.
 *
 * @param policy - whose run.
 * @param speed - see SimulationSpeed.
 * @returns one line.
 */
export function speedLine(policy: string, speed: SimulationSpeed): string {
  return (
    `${policy}: ${speed.wallSeconds.toFixed(2)} s, ${whole(speed.requestsPerSecond)} requests/s, ` +
    `${whole(speed.speedup)} times real time, ${whole(speed.residentBytes / MIB)} MiB resident`
  );
}

function busy({ engines }: SimulationResult): string {
  const shares = engines.map(({ utilisation }) => utilisation);
  const mean = ratio(
    shares.reduce((sum, share) => sum + share, 0),
    shares.length,
  );
  return `${percent(mean)} (${percent(Math.min(...shares))} … ${percent(Math.max(...shares))})`;
}

function quantiles(data: LatencyData, shares: readonly number[], factor: number, digits: number): string {
  return latencyQuantiles(data, shares)
    .map((seconds) => (factor * seconds).toFixed(digits))
    .join(" / ");
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
