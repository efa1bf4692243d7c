/**
 * The faults of an engine's publisher, on command. Real deployments show each of them: a stuck
 * publishing thread (vllm-project/vllm#53883), numbers that are never sent (#20511) and replays
 * with holes (sglang#38945). Others are a subscriber past its high-water mark, short histories, and
 * events from other versions. None of them changes what the engine holds, except `restart`.
 *
 * As JSON (POST /faults) a fault is the same object with snake_case keys: {"kind":"drop","percent":5,"replay_percent":1}.
 */
import { z } from "zod";
import { EngineError } from "./engine-error.ts";

/** A fault to apply to a running `EngineServer`. */
export type Fault =
  /** Loses this share of live messages (0 … 100) from now on, and of replayed ones when `replayPercent` is given. */
  | { readonly kind: "drop"; readonly percent: number; readonly replayPercent?: number | undefined }
  /** The publishing thread is stuck for a while: nothing is sent or replayed, batches wait, then all of them go out. */
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
 * Forms of poison. The first three ride in front of the next batch's own events, which stay good; `malformed_batch` is a
 * message of its own with a number of its own; the last two are extra messages without one.
 */
export type PoisonForm =
  | "malformed_event"
  | "unknown_event_type"
  | "unknown_field"
  | "malformed_batch"
  | "short_sequence_frame"
  | "missing_sequence_frame";

/** Longest `hold` and `lose`: an hour outlasts any experiment, and a typo in the unit shows. */
const FAULT_SECONDS_MAX = 3600;
/** Most broken messages by one command. */
const POISON_COUNT_MAX = 1000;

const percent = z.number().min(0).max(100);
const seconds = z.number().positive().max(FAULT_SECONDS_MAX);
const FAULT = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("drop"), percent, replay_percent: percent.optional() }),
  z.strictObject({ kind: z.literal("hold"), seconds }),
  z.strictObject({ kind: z.literal("lose"), seconds }),
  z.strictObject({ kind: z.literal("truncate_history"), keep: z.int().min(0) }),
  z.strictObject({
    kind: z.literal("poison"),
    form: z.enum([
      "malformed_event",
      "unknown_event_type",
      "unknown_field",
      "malformed_batch",
      "short_sequence_frame",
      "missing_sequence_frame",
    ]),
    count: z.int().min(1).max(POISON_COUNT_MAX).optional(),
  }),
  z.strictObject({ kind: z.literal("burn_sequence_number") }),
  z.strictObject({ kind: z.literal("restart") }),
]);

/**
 * Reads a fault from parsed JSON.
 *
 * @param json - anything.
 * @returns the fault.
 * @throws EngineError `malformed_body`, which says where and what was expected.
 */
export function parseFault(json: unknown): Fault {
  const parsed = FAULT.safeParse(json);
  if (!parsed.success) throw malformedBody(parsed.error);
  const fault = parsed.data;
  if (fault.kind !== "drop") return fault;
  return { kind: "drop", percent: fault.percent, replayPercent: fault.replay_percent };
}

/**
 * What is wrong with a body, as the first thing that zod found.
 *
 * @param error - zod's.
 * @returns the coded error to throw.
 */
export function malformedBody(error: z.ZodError): EngineError {
  const issue = error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "the body" : issue.path.join(".");
  const what = issue?.message ?? "is not understood";
  return new EngineError({ code: "malformed_body", where }, `${where}: ${what}`);
}
