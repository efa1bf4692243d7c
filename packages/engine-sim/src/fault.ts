/**
 * What can be made to go wrong at an engine's publisher, on command. Each fault is one that real deployments show
 * (wire-protocol.md 6.2, 7, 10); none of them changes what the engine holds, except `restart`.
 */

/** A fault to apply to a running `EngineServer`. */
export type Fault =
  /** Loses this share of live messages (0 … 100) from now on, and of replayed ones when `replayPercent` is given. */
  | { readonly kind: "drop"; readonly percent: number; readonly replayPercent?: number | undefined }
  /** The publishing thread is stuck for a while: nothing is sent, batches wait, then all of them go out. */
  | { readonly kind: "hold"; readonly seconds: number }
  /** A subscriber stalls beyond its high-water mark for a while: live messages are lost, history keeps them. */
  | { readonly kind: "lose"; readonly seconds: number }
  /** Forgets all but the newest `keep` batches of the replay history. */
  | { readonly kind: "truncate_history"; readonly keep: number }
  /** Sends something broken, `count` times (default 1). */
  | { readonly kind: "poison"; readonly form: PoisonForm; readonly count?: number | undefined }
  /** A sequence number is used up and never sent: a hole for ever. No events are lost with it. */
  | { readonly kind: "burn_sequence_number" }
  /** The process dies and comes back on the same ports: blocks, requests, history gone, numbers from 0. */
  | { readonly kind: "restart" };

/**
 * Forms of poison. The first two ride in front of the next batch's own events, which stay good; `malformed_batch` is a
 * message of its own with a number of its own; the last two are extra messages without one.
 */
export type PoisonForm =
  | "malformed_event"
  | "unknown_event_type"
  | "malformed_batch"
  | "short_sequence_frame"
  | "missing_sequence_frame";
