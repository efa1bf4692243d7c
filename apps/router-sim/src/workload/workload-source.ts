/**
 * Which workload is meant: the text that options take, and how it becomes a workload.
 *
 *     chat                                    a generated kind (session-kind.ts), of its usual size
 *     agents,requests=1000000,rate=20         … of another size
 *     no-reuse,arrival-cv=3                   … whose arrivals come in bursts
 *     conversation,requests=6000,minutes=30   like the Mooncake conversation trace (trace/generator.ts)
 *     traces/toolagent_trace.jsonl,speedup=2  a Mooncake trace; anything with a slash or ending in .jsonl is a path
 *
 * Every one takes the factors of workload-factor.ts. A wrong name, setting or value is refused by name.
 */
import { basename } from "node:path";

import { readDecimal } from "@kvsync/core";

import { DEFAULT_WORKLOAD, generateWorkload, type WorkloadSpec } from "../trace/generator.ts";
import { loadMooncakeTrace } from "../trace/mooncake.ts";
import { TRACE_BLOCK_TOKENS, TraceError } from "../trace/request.ts";
import { sessionRequests } from "./session-workload.ts";
import { SESSION_KIND_NAMES, SESSION_KINDS, type SessionKindName } from "./session-kind.ts";
import type { Workload } from "./workload.ts";
import { NO_FACTORS, withFactors, type WorkloadFactors } from "./workload-factor.ts";

/** Ten times what the largest simulation is tested with; ids stay far below u32. */
const REQUESTS_MAX = 10_000_000;
const MINUTES_MAX = 7 * 24 * 60;
const GENERATED_REQUESTS = 12_000;
/** 16 tokens, the smallest common engine block, of 512-token ids. */
const LENGTH_MIN = 1 / 32;
const LENGTH_MAX = 16;

/** A workload that is meant, not made; plain data, so that it can be sent to another thread. */
export interface WorkloadSource {
  /** The text that it was read from, for reports. */
  readonly name: string;
  readonly origin:
    | { readonly kind: "trace"; readonly path: string; readonly requestsMax: number | null }
    | ({ readonly kind: "conversation" } & WorkloadSpec)
    | {
        readonly kind: "sessions";
        readonly sessions: SessionKindName;
        readonly requests: number;
        readonly rate: number;
        readonly arrivalCv: number;
      };
  readonly factors: WorkloadFactors;
}

/** What a setting's value must be. */
interface SettingRule {
  readonly min: number;
  readonly max: number;
  readonly kind: "integer" | "number" | "power of two";
}

const RULES = {
  requests: { min: 1, max: REQUESTS_MAX, kind: "integer" },
  minutes: { min: 0.1, max: MINUTES_MAX, kind: "number" },
  scale: { min: 0.01, max: 1, kind: "number" },
  rate: { min: 0.001, max: 1_000_000, kind: "number" },
  "arrival-cv": { min: 0.1, max: 20, kind: "number" },
  speedup: { min: 0.001, max: 10_000, kind: "number" },
  jitter: { min: 0, max: 3_600, kind: "number" },
  duplicate: { min: 1, max: 1_000, kind: "integer" },
  length: { min: LENGTH_MIN, max: LENGTH_MAX, kind: "power of two" },
  lora: { min: 0, max: 1_000, kind: "integer" },
} as const satisfies Readonly<Record<string, SettingRule>>;
type Setting = keyof typeof RULES;

const FACTOR_SETTINGS = ["speedup", "jitter", "duplicate", "length", "lora"] as const;
const TRACE_SETTINGS: readonly Setting[] = ["requests", ...FACTOR_SETTINGS];
const CONVERSATION_SETTINGS: readonly Setting[] = ["requests", "minutes", "scale", ...FACTOR_SETTINGS];
const SESSION_SETTINGS: readonly Setting[] = ["requests", "rate", "arrival-cv", ...FACTOR_SETTINGS];

/**
 * Reads the text.
 *
 * @param text - see the header.
 * @returns the source; nothing is opened yet.
 * @throws TraceError `workload_setting_wrong`, `workload_unknown`.
 */
export function parseWorkloadSource(text: string): WorkloadSource {
  const [name = "", ...parts] = text.split(",");
  if (name.includes("/") || name.endsWith(".jsonl")) {
    const settings = readSettings(parts, TRACE_SETTINGS);
    const origin = { kind: "trace", path: name, requestsMax: settings.get("requests") ?? null } as const;
    return { name: [basename(name), ...parts].join(","), origin, factors: factorsOf(settings) };
  }
  if (name === "conversation") {
    const settings = readSettings(parts, CONVERSATION_SETTINGS);
    const origin = {
      kind: "conversation",
      requests: settings.get("requests") ?? DEFAULT_WORKLOAD.requests,
      minutes: settings.get("minutes") ?? DEFAULT_WORKLOAD.minutes,
      scale: settings.get("scale") ?? DEFAULT_WORKLOAD.scale,
    } as const;
    return { name: text, origin, factors: factorsOf(settings) };
  }
  const sessions = SESSION_KIND_NAMES.find((known) => known === name);
  if (sessions === undefined) {
    const expected = ["conversation", ...SESSION_KIND_NAMES].join(", ");
    throw new TraceError(
      { code: "workload_unknown", actual: name, expected },
      `there is no workload "${name}"; expected ${expected}, or a trace's path (with a slash, or ending in .jsonl)`,
    );
  }
  const settings = readSettings(parts, SESSION_SETTINGS);
  const origin = {
    kind: "sessions",
    sessions,
    requests: settings.get("requests") ?? GENERATED_REQUESTS,
    rate: settings.get("rate") ?? SESSION_KINDS[sessions].rate,
    arrivalCv: settings.get("arrival-cv") ?? 1,
  } as const;
  return { name: text, origin, factors: factorsOf(settings) };
}

/**
 * Opens a workload: reads a trace into memory, makes a conversation, or prepares to generate while it is read.
 *
 * @param source - which.
 * @param seed - a u32; of a trace it decides adapters only.
 * @returns the workload.
 * @throws TraceError as loadMooncakeTrace.
 */
export async function openWorkload(source: WorkloadSource, seed: number): Promise<Workload> {
  const { name, origin, factors } = source;
  switch (origin.kind) {
    case "trace": {
      const requests = await loadMooncakeTrace(origin.path, origin.requestsMax ?? undefined);
      return withFactors(heldWorkload(name, requests), factors, seed);
    }
    case "conversation":
      return withFactors(heldWorkload(name, generateWorkload(origin, seed)), factors, seed);
    case "sessions": {
      const { requests, rate, arrivalCv } = origin;
      const settings = { kind: SESSION_KINDS[origin.sessions], requests, rate, arrivalCv };
      const workload: Workload = {
        name,
        requestCount: requests,
        blockTokens: TRACE_BLOCK_TOKENS,
        requests: () => sessionRequests(settings, seed),
      };
      return withFactors(workload, factors, seed);
    }
  }
}

/**
 * Says what a workload is like.
 *
 * @param source - which.
 * @returns one sentence.
 */
export function describeWorkload({ origin }: WorkloadSource): string {
  switch (origin.kind) {
    case "trace":
      return "a recorded trace";
    case "conversation":
      return "generated after the Mooncake conversation trace: sessions that grow, some of them long";
    case "sessions":
      return SESSION_KINDS[origin.sessions].about;
  }
}

/** What options say about the text that they take. */
export const WORKLOAD_HELP =
  `a Mooncake trace's path, conversation, or one of ${SESSION_KIND_NAMES.join(", ")}. Settings follow after commas: ` +
  "requests=N, rate=PER_SECOND, arrival-cv=X (above 1: bursts), minutes=M and scale=S (conversation), " +
  "speedup=X, jitter=SECONDS, duplicate=N, length=2^k, lora=ADAPTERS";

function heldWorkload(name: string, requests: Awaited<ReturnType<typeof loadMooncakeTrace>>): Workload {
  return {
    name,
    requestCount: requests.length,
    blockTokens: TRACE_BLOCK_TOKENS,
    requests: () => requests,
  };
}

function factorsOf(settings: ReadonlyMap<Setting, number>): WorkloadFactors {
  return {
    speedup: settings.get("speedup") ?? NO_FACTORS.speedup,
    jitter: settings.get("jitter") ?? NO_FACTORS.jitter,
    duplicate: settings.get("duplicate") ?? NO_FACTORS.duplicate,
    length: settings.get("length") ?? NO_FACTORS.length,
    lora: settings.get("lora") ?? NO_FACTORS.lora,
  };
}

function readSettings(parts: readonly string[], allowed: readonly Setting[]): ReadonlyMap<Setting, number> {
  const settings = new Map<Setting, number>();
  for (const part of parts) {
    const [name = "", value = "", ...rest] = part.split("=");
    const setting = allowed.find((known) => known === name.trim());
    if (setting === undefined || rest.length > 0) {
      throw settingError(part, part, `one of ${allowed.map((known) => `${known}=…`).join(", ")}`);
    }
    if (settings.has(setting)) throw settingError(setting, part, "each setting once");
    settings.set(setting, readValue(setting, value));
  }
  return settings;
}

function readValue(setting: Setting, value: string): number {
  const { min, max, kind } = RULES[setting];
  const number = readDecimal(value);
  const fits = kind === "number" || Number.isInteger(kind === "integer" ? number : Math.log2(number));
  if (number >= min && number <= max && fits) return number;
  throw settingError(
    setting,
    value,
    `${kind === "integer" ? "an integer" : `a ${kind}`} from ${min} to ${max}`,
  );
}

function settingError(setting: string, actual: string, expected: string): TraceError {
  return new TraceError(
    { code: "workload_setting_wrong", setting, actual, expected },
    `workload setting ${setting}: got "${actual}", expected ${expected}`,
  );
}
