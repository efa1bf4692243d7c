/**
 * A scenario file: a fleet, a workload, what goes wrong when, and what is expected of it. YAML; checked strictly before anything runs.
 *
 *     name: two engines restart
 *     about: why anybody should care
 *     workload: chat,requests=1500,rate=20
 *     engines: 4
 *     timeline:
 *       - { at: 30, restart: [0, 2] }
 *       - { at: 31, expect: { audit: recovered, within: 2 } }
 *     end:
 *       hit_rate_loss: { max: 0.05 }
 *
 * Times are the workload's seconds since the begin, virtual or (scenario-replay.ts) real ones times the speed-up. An entry of the
 * timeline has `at` and exactly one other key. `within` gives an expectation that many seconds to come true; without it, it must hold
 * at once.
 */
import { CodedError } from "@kvsync/core";
import { COST_MODEL_NAMES } from "@kvsync/engine-sim";
import { parse, YAMLParseError } from "yaml";
import { z } from "zod";

import { POLICY_NAMES } from "../policy/policies.ts";

/** A simulated fleet of a scenario; the journal of every message is kept. */
const ENGINES_MAX = 256;
const SECONDS_MAX = 86_400;
const TIMELINE_MAX = 1_000;

const seconds = z.number().min(0).max(SECONDS_MAX);
const engines = z.union([z.literal("all"), z.array(z.int().min(0)).min(1).max(ENGINES_MAX)]);
const share = z.number().min(0).max(1);
const bounds = z
  .strictObject({ min: z.number().optional(), max: z.number().optional() })
  .refine(({ min, max }) => min !== undefined || max !== undefined, { message: "expected min, max or both" })
  .refine(({ min = -Infinity, max = Infinity }) => min <= max, { message: "expected min to be at most max" });

const FAULTS = {
  /** Engines die and are up again at once, empty, with numbers from 0. */
  restart: engines,
  /** Live messages are lost. A later loss of the same engine takes the place of one that goes on. */
  lose: z.strictObject({ engines, share, seconds }),
  /** Publishers are stuck: what they say goes out afterwards. */
  hold: z.strictObject({ engines, seconds }),
  /** Publishers keep only so many messages for replays: from now on, or (real) of what they have now. */
  truncate_history: z.strictObject({ engines, keep: z.int().min(0) }),
  /** A sequence number is taken and never sent, live or in replay. */
  burn_number: engines,
  /** The next messages break off in the middle, live and in replay; real: as many more messages, which nobody can read. */
  poison: z.strictObject({ engines, count: z.int().min(1).max(1_000) }),
  /** The process that keeps the index is frozen: it reads nothing and looks after nothing. */
  stall: z.strictObject({ seconds }),
  /** The process that keeps the index dies and is back at once, knowing nothing. */
  lose_index: z.literal("all"),
  /** A block vanishes from the index without a word: a bug, to see the audit find it. */
  corrupt: z.array(z.int().min(0)).length(1),
};

const EXPECTATION = z.strictObject({
  /**
   * `sound`: the index is right as far as its streams say. `exact`: and every stream says that it is exact, as of what it has applied.
   * `recovered`: and every stream has applied what had been published at this entry's time.
   */
  audit: z.enum(["sound", "exact", "recovered"]),
  within: seconds.optional(),
});

const ENTRY = z
  .strictObject({
    at: seconds,
    restart: FAULTS.restart.optional(),
    lose: FAULTS.lose.optional(),
    hold: FAULTS.hold.optional(),
    truncate_history: FAULTS.truncate_history.optional(),
    burn_number: FAULTS.burn_number.optional(),
    poison: FAULTS.poison.optional(),
    stall: FAULTS.stall.optional(),
    lose_index: FAULTS.lose_index.optional(),
    corrupt: FAULTS.corrupt.optional(),
    expect: EXPECTATION.optional(),
  })
  .refine((entry) => Object.keys(entry).length === 2, {
    message: `expected \`at\` and exactly one of ${[...Object.keys(FAULTS), "expect"].join(", ")}`,
  });

const END = z.strictObject({
  /** Hits of full prompt blocks. */
  hit_rate: bounds.optional(),
  /** How much lower that is than in the same run without faults. */
  hit_rate_loss: bounds.optional(),
  /** Seconds to the first token, 99th percentile. */
  first_token_p99: bounds.optional(),
  /** Times that messages were found to be missing. */
  gaps: bounds.optional(),
  replays: bounds.optional(),
  messages_lost: bounds.optional(),
  restarts_noticed: bounds.optional(),
});

const SCENARIO = z.strictObject({
  name: z.string().min(1).max(200),
  about: z.string().min(1),
  workload: z.string().min(1),
  engines: z.int().min(1).max(ENGINES_MAX),
  seed: z.int().min(0).default(1),
  policy: z.enum(POLICY_NAMES).default("kvsync"),
  model: z.enum(COST_MODEL_NAMES).default("llama-3.1-8b/1xh100"),
  block_size: z.int().min(8).default(64),
  blocks: z.int().min(1).optional(),
  host_blocks: z.int().min(0).default(0),
  event_delay_ms: z.number().min(0).max(60_000).default(20),
  event_reorder: share.default(0),
  history_messages: z.int().min(0).max(100_000).default(1_000),
  timeline: z.array(ENTRY).max(TIMELINE_MAX).default([]),
  end: END.default({}),
});

/** A checked scenario. */
export type Scenario = z.infer<typeof SCENARIO>;
/** One entry of its timeline. */
export type TimelineEntry = Scenario["timeline"][number];
/** What may be expected of the whole run. */
export type EndExpectation = keyof Scenario["end"];

/** What can be wrong with a scenario. */
export type ScenarioFacts =
  | { readonly code: "scenario_unreadable"; readonly path: string }
  | { readonly code: "scenario_not_yaml"; readonly path: string }
  | { readonly code: "scenario_wrong"; readonly path: string; readonly where: string }
  | { readonly code: "scenario_simulated_only"; readonly path: string; readonly where: string };

/** A scenario that cannot be run; the message names the file, the place and what was expected. */
export class ScenarioError extends CodedError<ScenarioFacts> {
  override readonly name = "ScenarioError";
}

/**
 * Reads a scenario.
 *
 * @param text - YAML.
 * @param path - for messages.
 * @returns the scenario, defaults filled in, its timeline in order of time (of one time, in the file's order).
 * @throws ScenarioError `scenario_not_yaml`, `scenario_wrong`.
 */
export function parseScenario(text: string, path: string): Scenario {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    // A file of aliases of aliases is refused as it is resolved, with a ReferenceError.
    if (!(cause instanceof YAMLParseError || cause instanceof ReferenceError)) throw cause;
    throw new ScenarioError({ code: "scenario_not_yaml", path }, `${path}: ${cause.message}`, { cause });
  }
  const result = SCENARIO.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = issue?.path.join(".") ?? "";
    throw new ScenarioError(
      { code: "scenario_wrong", path, where },
      `${path}: ${where === "" ? "the scenario" : where}: ${issue?.message ?? "not a scenario"}`,
    );
  }
  const scenario = result.data;
  for (const [position, entry] of scenario.timeline.entries()) checkEngines(entry, position, scenario, path);
  checkExpectations(scenario, path);
  return { ...scenario, timeline: scenario.timeline.toSorted((a, b) => a.at - b.at) };
}

/**
 * Which engines an entry means.
 *
 * @param which - positions, or all.
 * @param engineCount - engines of the scenario.
 */
export function enginesMeant(which: "all" | readonly number[], engineCount: number): readonly number[] {
  return which === "all" ? Array.from({ length: engineCount }, (_, engine) => engine) : which;
}

/** A scenario that cannot fail says nothing. */
function checkExpectations({ end, timeline }: Scenario, path: string): void {
  if (Object.keys(end).length > 0 || timeline.some(({ expect }) => expect !== undefined)) return;
  throw new ScenarioError(
    { code: "scenario_wrong", path, where: "end" },
    `${path}: the scenario expects nothing; expected an \`expect\` in its timeline, or bounds in \`end\``,
  );
}

function checkEngines(entry: TimelineEntry, position: number, scenario: Scenario, path: string): void {
  const { restart, lose, hold, truncate_history, burn_number, poison, corrupt } = entry;
  const some = [lose, hold, truncate_history, poison].map((fault) => fault?.engines);
  const named = [restart, burn_number, corrupt, ...some];
  for (const which of named) {
    if (which === undefined || which === "all") continue;
    const absent = which.find((engine) => engine >= scenario.engines);
    if (absent === undefined) continue;
    const where = `timeline.${position}`;
    throw new ScenarioError(
      { code: "scenario_wrong", path, where },
      `${path}: ${where}: there is no engine ${absent}; expected 0 to ${scenario.engines - 1}`,
    );
  }
}
