/**
 * The settings of a simulated run: defaults with their reasons, limits with theirs, and the check
 * of a caller's values.
 */
import { CodedError, RANK_SLOTS_MAX } from "@kvsync/core";
import { COST_MODELS, type CostModelName } from "@kvsync/engine-sim";

import { POSITIONS_MAX } from "@kvsync/routing";

import type { CustomPolicy, PolicyName } from "../policy/policies.ts";
import type { Workload } from "../workload/workload.ts";
import type { PickerNews, PickersConfig, SimulationConfig } from "./simulation-result.ts";

/** How a run is set up. Everything optional has its default beside it in `resolveSettings`. */
export interface SimulationSettings {
  readonly seed: number;
  readonly policy: PolicyName | CustomPolicy;
  readonly engineCount: number;
  readonly costModel?: CostModelName | undefined;
  /** Tokens per KV block; divides the workload's blocks. */
  readonly blockSize?: number | undefined;
  /** Device KV blocks per engine; what the cost model has room for unless given. */
  readonly blockCount?: number | undefined;
  readonly hostBlockCount?: number | undefined;
  readonly maxBatchedTokens?: number | undefined;
  readonly maxSequences?: number | undefined;
  readonly eventDelaySeconds?: number | undefined;
  readonly eventLoss?: number | undefined;
  readonly eventReorder?: number | undefined;
  /** `wire` also without loss; `direct` unless given or something is lost. */
  readonly eventPath?: "direct" | "wire" | undefined;
  /** Messages of history that each publisher keeps for replays (wire). */
  readonly historyMessages?: number | undefined;
  /** Pickers among which requests are spread by chance; one unless given. */
  readonly pickerCount?: number | undefined;
  /** What pickers know of each other; `none` unless given. */
  readonly pickerNews?: PickerNews | undefined;
  /** From a picker's decision until the others have it, when they share. */
  readonly pickerDelaySeconds?: number | undefined;
  /** Keep every request's columns; 44 bytes each. */
  readonly keepRequests?: boolean | undefined;
  /** Keep the first decisions, see decision-log.ts; with the policy kvsync and one picker only. */
  readonly keepDecisions?: boolean | undefined;
}

/** What can be wrong with settings. */
export interface SimulationFacts {
  readonly code: "simulation_setting_wrong";
  readonly setting: string;
  readonly actual: string;
  readonly expected: string;
}

/** Settings that cannot be run; the message names the setting, its value and what was expected. */
export class SimulationError extends CodedError<SimulationFacts> {
  override readonly name = "SimulationError";
}

/** vLLM's block size on CUDA, and what engine-sim's examples use. */
const DEFAULT_BLOCK_SIZE = 16;
/** vLLM's --max-num-batched-tokens and --max-num-seqs on large GPUs, as engine-sim's. */
const DEFAULT_BATCHED_TOKENS = 8192;
const DEFAULT_SEQUENCES = 256;
/**
 * Publishers keep 10,000 in vLLM; at two kilobytes each, 64 of them would be more than a gigabyte here. A minute of a busy engine
 * repairs every gap that a simulation makes.
 */
const DEFAULT_HISTORY_MESSAGES = 1_000;

/** How often the daemon's picker scrapes unless told otherwise. */
const SCRAPE_SECONDS = 0.2;
/** A message through a broker in the same cluster, with room to spare. */
const SHARE_DELAY_SECONDS = 0.002;

/** Most pickers in front of a fleet: far more replicas than a gateway has. */
export const PICKERS_MAX = 64;
/** As many as a policy orders. */
export const ENGINES_MAX: number = POSITIONS_MAX;
/** A smaller block would make a prompt longer than one store takes. */
const BLOCK_SIZE_MIN = 8;
const BLOCKS_MAX = 10_000_000;
const TOKENS_MAX = 10_000_000;
const SEQUENCES_MAX = 100_000;
const DELAY_SECONDS_MAX = 3_600;
const HISTORY_MESSAGES_MAX = 100_000;
const U32_MAX = 4_294_967_295;

/** Complete settings. */
export interface ResolvedSimulation {
  readonly config: SimulationConfig;
  readonly policy: PolicyName | CustomPolicy;
  readonly keepRequests: boolean;
  readonly keepDecisions: boolean;
}

/**
 * Fills in defaults and refuses what cannot be run.
 *
 * @param settings - as given.
 * @param workload - whose blocks the engines' must divide.
 * @returns the complete settings.
 * @throws SimulationError `simulation_setting_wrong`.
 */
export function resolveSettings(settings: SimulationSettings, workload: Workload): ResolvedSimulation {
  const costModel = settings.costModel ?? "llama-3.1-8b/1xh100";
  const blockSize = settings.blockSize ?? Math.min(DEFAULT_BLOCK_SIZE, workload.blockTokens);
  check("blockSize", blockSize, BLOCK_SIZE_MIN, workload.blockTokens);
  if (workload.blockTokens % blockSize !== 0)
    throw wrong(
      "blockSize",
      blockSize,
      `a divisor of the workload's blocks of ${workload.blockTokens} tokens`,
    );
  const eventLoss = share("eventLoss", settings.eventLoss ?? 0);
  if (eventLoss > 0 && settings.eventPath === "direct")
    throw wrong("eventPath", "direct", "wire: only streams with sequence numbers can lose and repair");
  const config: SimulationConfig = {
    seed: check("seed", settings.seed, 0, U32_MAX),
    policy: typeof settings.policy === "string" ? settings.policy : settings.policy.name,
    workload: workload.name,
    engineCount: check("engineCount", settings.engineCount, 1, ENGINES_MAX),
    costModel,
    blockSize,
    ...engineLimits(settings, Math.floor(COST_MODELS[costModel].kvTokens / blockSize)),
    eventDelaySeconds: delay("eventDelaySeconds", settings.eventDelaySeconds ?? 0),
    eventLoss,
    eventReorder: share("eventReorder", settings.eventReorder ?? 0),
    eventPath: eventLoss > 0 ? "wire" : (settings.eventPath ?? "direct"),
    historyMessages: check(
      "historyMessages",
      settings.historyMessages ?? DEFAULT_HISTORY_MESSAGES,
      0,
      HISTORY_MESSAGES_MAX,
    ),
    ...pickersOf(settings),
  };
  if (config.eventPath === "wire" && config.engineCount > RANK_SLOTS_MAX)
    throw wrong("engineCount", config.engineCount, `at most ${RANK_SLOTS_MAX} with the event path wire`);
  return { config, policy: settings.policy, ...keptOf(settings, config) };
}

function keptOf(
  { policy, keepRequests = false, keepDecisions = false }: SimulationSettings,
  { policy: name, pickers }: SimulationConfig,
): Pick<ResolvedSimulation, "keepRequests" | "keepDecisions"> {
  if (keepDecisions && (policy !== "kvsync" || pickers !== undefined))
    throw wrong(
      "keepDecisions",
      `${name} with ${pickers?.count ?? 1} pickers`,
      "the policy kvsync and one picker",
    );
  return { keepRequests, keepDecisions };
}

function pickersOf(settings: SimulationSettings): { readonly pickers?: PickersConfig } {
  const count = check("pickerCount", settings.pickerCount ?? 1, 1, PICKERS_MAX);
  const shareDelaySeconds = delay("pickerDelaySeconds", settings.pickerDelaySeconds ?? SHARE_DELAY_SECONDS);
  if (count === 1) return {};
  const news = settings.pickerNews ?? "none";
  return { pickers: { count, news, scrapeSeconds: SCRAPE_SECONDS, shareDelaySeconds } };
}

function engineLimits(
  settings: SimulationSettings,
  blockCountMax: number,
): Pick<SimulationConfig, "blockCount" | "hostBlockCount" | "maxBatchedTokens" | "maxSequences"> {
  const {
    blockCount = blockCountMax,
    hostBlockCount = 0,
    maxBatchedTokens = DEFAULT_BATCHED_TOKENS,
    maxSequences = DEFAULT_SEQUENCES,
  } = settings;
  return {
    blockCount: check("blockCount", blockCount, 1, BLOCKS_MAX),
    hostBlockCount: check("hostBlockCount", hostBlockCount, 0, BLOCKS_MAX),
    maxBatchedTokens: check("maxBatchedTokens", maxBatchedTokens, 1, TOKENS_MAX),
    maxSequences: check("maxSequences", maxSequences, 1, SEQUENCES_MAX),
  };
}

function check(setting: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw wrong(setting, value, `a whole number from ${min} to ${max}`);
}

function share(setting: string, value: number): number {
  if (value >= 0 && value <= 1) return value;
  throw wrong(setting, value, "a share from 0 to 1");
}

function delay(setting: string, value: number): number {
  if (value >= 0 && value <= DELAY_SECONDS_MAX) return value;
  throw wrong(setting, value, `seconds from 0 to ${DELAY_SECONDS_MAX}`);
}

function wrong(setting: string, actual: unknown, expected: string): SimulationError {
  return new SimulationError(
    { code: "simulation_setting_wrong", setting, actual: String(actual), expected },
    `${setting} is ${String(actual)}; expected ${expected}`,
  );
}
