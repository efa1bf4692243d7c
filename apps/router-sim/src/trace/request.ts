/**
 * The requests of a trace in order of arrival, in the terms of the Mooncake traces.
 *
 *     timestamp       hash_ids, one per started 512-token block
 *     ─────┬─────     ┌────────┬────────┬─────┐
 *       arrival       │   0    │   17   │ 18… │   last block: inputTokens mod 512 tokens, when that is not 0
 *                     └────────┴────────┴─────┘
 *
 * Equal ids name equal blocks *and* equal prefixes: id 17 always follows the same ids. T1: arrivals never go back.
 * T2: hashIds.length = ⌈inputTokens / 512⌉.
 *
 * Source: kvcache-ai/Mooncake `FAST25-release/traces` @ 3b5a5941; R. Qin and others, "Mooncake",
 * USENIX FAST'25.
 */
import { CodedError } from "@kvsync/core";

/** Tokens that one `hash_ids` entry stands for. */
export const TRACE_BLOCK_TOKENS = 512;

/** A prompt's limit: what a reader of the index takes in one query by default. */
export const INPUT_TOKENS_MAX = 1_048_576;

/** An answer's limit; longer than any model writes in one go. */
export const OUTPUT_TOKENS_MAX = 1_048_576;

/** One request of a trace. */
export interface TraceRequest {
  /** Milliseconds after the trace's begin. */
  readonly arrivalMs: number;
  /** Prompt length, ≥ 1. */
  readonly inputTokens: number;
  /** Answer length, ≥ 1. */
  readonly outputTokens: number;
  /** u32 ids, one per started block of 512 tokens. */
  readonly hashIds: readonly number[];
}

/** What can be wrong with a trace or with a description of one. */
export type TraceFacts =
  | { readonly code: "trace_unreadable"; readonly path: string }
  | { readonly code: "trace_unwritable"; readonly path: string }
  | { readonly code: "block_tokens_wrong"; readonly actual: number; readonly expected: number }
  | { readonly code: "trace_empty"; readonly path: string }
  | { readonly code: "trace_too_long"; readonly path: string; readonly requestsMax: number }
  | { readonly code: "line_too_long"; readonly line: number; readonly bytesMax: number }
  | { readonly code: "line_not_json"; readonly line: number }
  | { readonly code: "field_missing"; readonly line: number; readonly field: string }
  | { readonly code: "field_unknown"; readonly line: number; readonly field: string }
  | {
      readonly code: "field_wrong";
      readonly line: number;
      readonly field: string;
      readonly actual: string;
      readonly expected: string;
    }
  | { readonly code: "workload_unknown"; readonly actual: string; readonly expected: string }
  | { readonly code: "ids_too_large"; readonly id: number; readonly factor: number }
  | {
      readonly code: "workload_setting_wrong";
      readonly setting: string;
      readonly actual: string;
      readonly expected: string;
    };

/** A trace that cannot be used; the message names the line, the field, the value and what was expected. */
export class TraceError extends CodedError<TraceFacts> {
  override readonly name = "TraceError";
}
