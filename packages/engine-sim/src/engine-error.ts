/**
 * The refusals of an engine, with reasons: settings it cannot run with, requests it cannot serve,
 * unknown commands. Foreign input is always answered so; a broken promise of our own asserts
 * (core's assert.ts).
 */
import { CodedError } from "@kvsync/core";

/** The code of each refusal with its facts. */
export type EngineErrorFacts =
  /** A setting is outside its range, or two settings contradict each other. */
  | { readonly code: "invalid_setting"; readonly setting: string; readonly value: string }
  /** Prompt and output exceed what the pool or the model length holds. */
  | { readonly code: "request_too_long"; readonly tokens: number; readonly tokensMax: number }
  /** No prompt tokens, or no output tokens asked for. */
  | { readonly code: "empty_request"; readonly requestId: number }
  /** An unfinished request has this id. */
  | { readonly code: "duplicate_request"; readonly requestId: number }
  /** `maxWaiting` requests wait already. */
  | { readonly code: "too_many_waiting"; readonly waitingMax: number }
  | { readonly code: "unknown_lora"; readonly loraName: string }
  /** Neither the model nor one of its adapters. */
  | { readonly code: "unknown_model"; readonly model: string }
  /** No rank of this number is served at this port. */
  | { readonly code: "unknown_rank"; readonly rank: string }
  /** A parameter of a request whose effect is not simulated; without it the request is served. */
  | { readonly code: "unsupported_parameter"; readonly where: string }
  /** The process ends: what is under way is finished, nothing new is taken. */
  | { readonly code: "draining" }
  /** What was asked cannot be said on this engine's wire, so that no listener could ever be right about it. */
  | { readonly code: "unsupported_by_dialect"; readonly feature: string; readonly dialect: string }
  /** Batches were published faster than sent, past `maxQueueSize`. */
  | { readonly code: "publish_queue_full"; readonly queueMax: number }
  /** The port could not be bound. */
  | { readonly code: "bind_failed"; readonly endpoint: string }
  /** The engine restarted, or stopped, while the request was unfinished. */
  | { readonly code: "request_aborted"; readonly requestId: number }
  /** A request body that is not what its route takes. */
  | { readonly code: "malformed_body"; readonly where: string }
  /** AllBlocksCleared while requests hold blocks. */
  | { readonly code: "engine_busy"; readonly running: number }
  /** The server was stopped. */
  | { readonly code: "stopped" };

/** Thrown by a simulated engine or its server for a stated reason. */
export class EngineError extends CodedError<EngineErrorFacts> {
  override readonly name = "EngineError";
}
