/**
 * The result of one simulated run, as plain values fit for JSON. It has no clock of the real world
 * and no machine, so that equal settings and seeds give equal bytes. The run's speed is apart
 * (SimulationSpeed).
 *
 * Times are virtual seconds since the begin. A *block* is an engine's KV block. A *hit* is a full block of a prompt whose
 * prefill was skipped at the request's first admission.
 *
 *     arrival ──▶ routed ─▶ queue ─▶ admitted ─▶ prefill in chunks ─▶ first token ─▶ decode ─▶ finished
 *        └────────── firstToken (TTFT) ───────────────────────────────────┘└ interToken ┘
 *        └── queue ────────────────────┘
 */
import type { CostModelName } from "@kvsync/engine-sim";

import type { LatencyData } from "./latency-histogram.ts";

/** How a run was set up; with the workload it determines the result. */
export interface SimulationConfig {
  readonly seed: number;
  /** A `PolicyName`, or the name of a custom policy. */
  readonly policy: string;
  /** `Workload.name`. */
  readonly workload: string;
  readonly engineCount: number;
  /** Model and machine, as engine-sim's presets name them. */
  readonly costModel: CostModelName;
  readonly blockSize: number;
  /** Device KV blocks per engine. */
  readonly blockCount: number;
  /** Host KV blocks per engine; 0 for no host tier. */
  readonly hostBlockCount: number;
  readonly maxBatchedTokens: number;
  readonly maxSequences: number;
  /** Seconds from the end of an engine's step until the index has its events. */
  readonly eventDelaySeconds: number;
  /** Share of live event messages that are lost, 0 … 1. */
  readonly eventLoss: number;
  /** Share of live event messages that are held up, so that other engines' later ones overtake them, 0 … 1. */
  readonly eventReorder: number;
  /**
   * `direct`: engines write the index as their events would; `wire`: events are encoded, travel, and pass through
   * stream states with gaps and replays.
   */
  readonly eventPath: "direct" | "wire";
  /** Messages that publishers keep for replays; means something on the wire only. */
  readonly historyMessages: number;
  /** Absent for one picker. */
  readonly pickers?: PickersConfig;
}

/** What pickers know of each other. */
export const PICKER_NEWS = ["none", "scraping", "sharing"] as const;

/** See PICKER_NEWS. */
export type PickerNews = (typeof PICKER_NEWS)[number];

/** The pickers in front of the fleet. */
export interface PickersConfig {
  readonly count: number;
  readonly news: PickerNews;
  /** Between two scrapes of an engine by one picker. */
  readonly scrapeSeconds: number;
  /** From a picker's news until the others have it. */
  readonly shareDelaySeconds: number;
}

/** Sums over the whole run. */
export interface SimulationTotals {
  readonly requests: number;
  readonly completed: number;
  /** Requests that no engine could take, e.g. longer than its whole KV capacity. */
  readonly refused: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Full blocks of the prompts. */
  readonly promptBlocks: number;
  readonly hitBlocks: number;
  /** Of the hits, those that came from the host tier. */
  readonly hitHostBlocks: number;
  /** hitBlocks · blockSize. */
  readonly hitTokens: number;
  /** Sum over requests of the leading blocks that the best engine held at the arrival: what perfect knowledge could hit then. */
  readonly bestHitBlocks: number;
  /** Sum over requests of the blocks that the index said the chosen engine held; against hitBlocks, it shows what lag costs. */
  readonly predictedHitBlocks: number;
  readonly preemptions: number;
  readonly steps: number;
  /** Event messages and events that engines published. */
  readonly messages: number;
  readonly events: number;
  readonly storedBlocks: number;
  readonly removedBlocks: number;
  readonly messagesLost: number;
  readonly messagesReordered: number;
  readonly replays: number;
  /** From the first arrival to the last completion. */
  readonly makespanSeconds: number;
}

/** One engine's sums. */
export interface EngineResult {
  readonly worker: string;
  readonly requests: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly promptBlocks: number;
  readonly hitBlocks: number;
  readonly preemptions: number;
  readonly steps: number;
  /** Seconds in which a step was under way. */
  readonly busySeconds: number;
  /** busySeconds of the makespan, 0 … 1. */
  readonly utilisation: number;
  readonly queueMax: number;
  readonly runningMax: number;
  readonly storedBlocks: number;
  readonly removedBlocks: number;
}

/**
 * The run over time: row i tells of `intervalSeconds` that begin at i × intervalSeconds. Counts are of the interval;
 * what is marked *at its end* is a sample. All arrays have one entry per row.
 */
export interface SimulationSeries {
  readonly intervalSeconds: number;
  /** Requests that arrived. */
  readonly arrivals: readonly number[];
  readonly completions: readonly number[];
  /** Full prompt blocks, and hits, of the requests first admitted in the interval; their quotient is the hit rate. */
  readonly promptBlocks: readonly number[];
  readonly hitBlocks: readonly number[];
  /** Requests that wait, over all engines, at its end. */
  readonly waiting: readonly number[];
  /** Requests that run, over all engines, at its end. */
  readonly running: readonly number[];
  /** Share of the interval in which each engine was busy, 0 … 1: `engineBusy[engine][row]`. */
  readonly engineBusy: readonly (readonly number[])[];
  /** The greatest age in seconds of an event that the index did not have yet when a request was routed; 0 when it had all. */
  readonly lagSecondsMax: readonly number[];
}

/** One run. */
export interface SimulationResult {
  readonly config: SimulationConfig;
  readonly totals: SimulationTotals;
  /** Arrival to first output token. */
  readonly firstToken: LatencyData;
  /** Between two output tokens of one request. */
  readonly interToken: LatencyData;
  /** Arrival to first admission. */
  readonly queue: LatencyData;
  /** Arrival to last output token. */
  readonly endToEnd: LatencyData;
  readonly engines: readonly EngineResult[];
  readonly series: SimulationSeries;
}

/** How fast a run was in the real world. */
export interface SimulationSpeed {
  readonly wallSeconds: number;
  /** Requests simulated per real second. */
  readonly requestsPerSecond: number;
  /** Virtual seconds per real second. */
  readonly speedup: number;
  /** The process's resident memory at the end, bytes. */
  readonly residentBytes: number;
}

/** Request by request, in the workload's order; 44 bytes a request. */
export interface RequestColumns {
  readonly arrivalSeconds: Float64Array;
  /** −1 when it was refused. */
  readonly queueSeconds: Float32Array;
  /** −1 when it was refused. */
  readonly firstTokenSeconds: Float32Array;
  /** −1 when it was refused. */
  readonly endToEndSeconds: Float32Array;
  readonly inputTokens: Uint32Array;
  readonly outputTokens: Uint32Array;
  readonly promptBlocks: Uint32Array;
  readonly hitBlocks: Uint32Array;
  readonly bestHitBlocks: Uint32Array;
  readonly engine: Uint16Array;
  readonly preemptions: Uint16Array;
}

/**
 * Names what decides: the policy, and the pickers where there are several.
 *
 * @returns for example `kvsync-4-scraping`.
 */
export function policyLabel({ policy, pickers }: SimulationConfig): string {
  return pickers === undefined ? policy : `${policy}-${pickers.count}-${pickers.news}`;
}

/** @returns hits of full prompt blocks, 0 … 1; 0 when there were none. */
export function hitRate(totals: SimulationTotals): number {
  return totals.promptBlocks === 0 ? 0 : totals.hitBlocks / totals.promptBlocks;
}
