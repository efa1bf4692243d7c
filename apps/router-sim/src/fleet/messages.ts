/**
 * The messages between the router's thread and the fleet's thread. Everything is
 * structured-cloneable; token ids and
 * contents travel by transfer, not by copy.
 *
 *     router ── call ──▶ fleet        answered by exactly one `reply` with the call's id
 *     router ── submit ─▶ fleet       not answered: the request shows up in a `progress`
 *     router ◀─ arrival ─ fleet       a request has arrived and wants a worker; once per arrival and per re-routing
 *     router ◀─ progress ─ fleet      at most once per slice of fleet time
 */
import type { Dialect } from "@kvsync/core";
import type { CostModelName, Fault } from "@kvsync/engine-sim";

import type { EngineTruth } from "../audit/audit.ts";
import type { WorkloadRequest } from "../workload/workload.ts";

/** How a fleet is made. */
export interface FleetSettings {
  readonly engineCount: number;
  readonly model: string;
  /** Tokens per KV block. */
  readonly blockSize: number;
  /** Device KV blocks per engine. */
  readonly blockCount: number;
  /** Host KV blocks per engine; 0 for no host tier. */
  readonly hostBlockCount: number;
  /** Engine version whose events are spoken; null for engine-sim's default. */
  readonly dialect: Dialect | null;
  /** Prices the engines' steps. */
  readonly costModel: CostModelName;
  /** Factor on the engines' modelled durations. */
  readonly slowness: number;
  /** Batches of replay history per engine; null for engine-sim's default. */
  readonly bufferSteps: number | null;
  /** Modelled seconds per real second. */
  readonly speedup: number;
  /** Seeds prompts, answers and faults. */
  readonly seed: number;
  /** Live messages lost, percent. */
  readonly dropPercent: number;
  readonly requests: readonly WorkloadRequest[];
  /** Whether arrivals say what every engine holds of them: for policies that know the engines. */
  readonly tellsHeldBlocks: boolean;
}

/** Where one engine can be followed. */
export interface FleetEngine {
  readonly worker: string;
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
}

/** How far one engine's stream has got. */
export interface StreamPosition {
  readonly worker: string;
  /** Last number handed to the publisher; −1 when none was. */
  readonly publishedSequenceNumber: number;
  /** Requests waiting and running. */
  readonly requestCount: number;
}

/** Sums over the fleet. */
export interface FleetTotals {
  readonly messages: number;
  readonly events: number;
  readonly messagesDropped: number;
  readonly storedBlocks: number;
  readonly removedBlocks: number;
  readonly preemptions: number;
  readonly engineRestarts: number;
  readonly replayRequests: number;
  readonly replayedMessages: number;
  /** Steps that engines made. */
  readonly steps: number;
  /** Real seconds by which the fleet's clock had to be held back because the machine did not keep up. */
  readonly slipSeconds: number;
  /** Modelled seconds since the begin. */
  readonly modelledSeconds: number;
  /** Real seconds that the fleet's thread was busy stepping engines and making prompts. */
  readonly busySeconds: number;
}

/** What the router may ask, by name: argument and answer. */
export interface FleetCalls {
  /** Starts the clock. */
  readonly begin: { readonly argument: null; readonly answer: null };
  /** Halts the clock; answers when everything announced has been handed to the sockets. */
  readonly pause: { readonly argument: null; readonly answer: null };
  readonly resume: { readonly argument: null; readonly answer: null };
  readonly positions: { readonly argument: null; readonly answer: readonly StreamPosition[] };
  /** What every engine holds; meaningful while paused or idle. */
  readonly contents: { readonly argument: null; readonly answer: readonly EngineTruth[] };
  /** Makes something go wrong at one engine. */
  readonly fault: {
    readonly argument: { readonly engine: number; readonly fault: Fault };
    readonly answer: null;
  };
  readonly totals: { readonly argument: null; readonly answer: FleetTotals };
  /** Ends the engines and their sockets. */
  readonly stop: { readonly argument: null; readonly answer: null };
}

/** A call's name. */
export type FleetCallName = keyof FleetCalls;

/** Router to fleet. */
export type ToFleet =
  | { readonly kind: "call"; readonly call: number; readonly name: FleetCallName; readonly argument: unknown }
  | { readonly kind: "submit"; readonly request: number; readonly engine: number };

/** A request that an engine finished. */
export interface Completion {
  /** Position in the workload. */
  readonly request: number;
  readonly engine: number;
  readonly promptTokens: number;
  readonly promptBlocks: number;
  /** Leading blocks whose prefill was skipped. */
  readonly cachedBlocks: number;
  /** Modelled seconds from submission to the first output token. */
  readonly firstTokenSeconds: number;
}

/** A request that an engine would not take. */
export interface Refusal {
  readonly request: number;
  readonly engine: number;
  /** engine-sim's error code. */
  readonly code: string;
}

/** Fleet to router. */
export type FromFleet =
  | { readonly kind: "ready"; readonly engines: readonly FleetEngine[] }
  | { readonly kind: "reply"; readonly call: number; readonly answer: unknown }
  | { readonly kind: "reply"; readonly call: number; readonly error: string }
  | {
      readonly kind: "arrival";
      readonly request: number;
      readonly tokens: Uint32Array<ArrayBuffer>;
      /** When it should have arrived, Unix milliseconds, had the machine kept up; null when re-routed. */
      readonly dueAtMs: number | null;
      /** Leading blocks that the best engine held at this moment, capped as engines cap hits; null when re-routed. */
      readonly oracleBlocks: number | null;
      /** The same of every engine, by position; null unless the fleet was told to say so, and when re-routed. */
      readonly heldBlocks: readonly number[] | null;
    }
  | {
      readonly kind: "progress";
      readonly firstTokens: readonly { readonly request: number; readonly engine: number }[];
      readonly completions: readonly Completion[];
      readonly refusals: readonly Refusal[];
      /** Modelled seconds since the begin. */
      readonly modelledSeconds: number;
    };
