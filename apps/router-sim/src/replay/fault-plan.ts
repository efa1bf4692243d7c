/**
 * Which faults a run has, and when. A fault is written VALUE, or VALUE@PERCENT with the share of
 * the workload that has arrived when it strikes. By default each kind has its own share, so that
 * faults do not coincide.
 *
 *     0 % ────────── 30 % ──────── 45 % ──────── 60 % ──────── 75 % ──────── 100 %
 *     drop (always)  stall         restart       kill          truncate
 */
import { CodedError, readDecimal, unreachable } from "@kvsync/core";

/** One fault. `at` is a share of the workload, 0 … 1. */
export type PlannedFault =
  /** The daemon's process is frozen for a while: it reads nothing, sockets fill up. */
  | { readonly kind: "stall_subscriber"; readonly at: number; readonly seconds: number }
  /** Engines die and come back empty on the same ports; their requests are routed again. */
  | { readonly kind: "restart_engines"; readonly at: number; readonly count: number }
  /** The daemon is killed and started again: it begins with an empty index. */
  | { readonly kind: "kill_daemon"; readonly at: number }
  /** The busiest engine loses more live messages than its history then keeps: no replay can repair it. */
  | { readonly kind: "truncate_history"; readonly at: number; readonly keep: number };

/** A fault's kind. */
export type FaultKind = PlannedFault["kind"];

/** What can be wrong with a fault's description. */
interface FaultPlanFacts {
  readonly code: "fault_description_wrong";
  readonly option: string;
  readonly actual: string;
  readonly expected: string;
}

/** A fault's description that cannot be read. */
class FaultPlanError extends CodedError<FaultPlanFacts> {
  override readonly name = "FaultPlanError";
}

/** Longer than any stall that a message queue of the engines' size outlasts. */
const STALL_SECONDS_MAX = 600;
const ENGINES_MAX = 1_000;
/** More than any engine's history holds. */
const KEEP_MAX = 10_000_000;

const KINDS: Readonly<
  Record<
    FaultKind,
    { readonly option: string; readonly at: number; readonly min: number; readonly max: number }
  >
> = {
  stall_subscriber: { option: "--stall-subscriber", at: 0.3, min: 0.01, max: STALL_SECONDS_MAX },
  restart_engines: { option: "--restart-engines", at: 0.45, min: 1, max: ENGINES_MAX },
  kill_daemon: { option: "--kill-daemon", at: 0.6, min: 1, max: 1 },
  truncate_history: { option: "--truncate-history", at: 0.75, min: 0, max: KEEP_MAX },
};

/**
 * Reads one fault.
 *
 * @param kind - of which option.
 * @param text - VALUE or VALUE@PERCENT; for kill_daemon PERCENT alone, or "" for its own place.
 * @returns the fault.
 * @throws FaultPlanError `fault_description_wrong`.
 */
export function parseFault(kind: FaultKind, text: string): PlannedFault {
  const limits = KINDS[kind];
  const [valueText = "", atText, ...rest] = kind === "kill_daemon" ? splitPercent(text) : text.split("@");
  const value = readDecimal(valueText);
  const percent = atText === undefined ? 100 * limits.at : readDecimal(atText.replace(/%$/, ""));
  const whole = kind === "stall_subscriber" || Number.isInteger(value);
  const inRange = value >= limits.min && value <= limits.max && percent >= 0 && percent <= 100;
  if (rest.length > 0 || !whole || !inRange) throw wrong(kind, text);
  const at = percent / 100;
  switch (kind) {
    case "stall_subscriber":
      return { kind, at, seconds: value };
    case "restart_engines":
      return { kind, at, count: value };
    case "kill_daemon":
      return { kind, at };
    case "truncate_history":
      return { kind, at, keep: value };
    default:
      return unreachable(kind);
  }
}

/** A kill has no value of its own. */
function splitPercent(text: string): string[] {
  return text === "" ? ["1"] : ["1", ...text.replace(/^@/, "").split("@")];
}

function wrong(kind: FaultKind, actual: string): FaultPlanError {
  const { option, min, max } = KINDS[kind];
  const value =
    kind === "stall_subscriber" ? `seconds from ${min} to ${max}` : `a whole number from ${min} to ${max}`;
  const expected =
    kind === "kill_daemon"
      ? "nothing, or the percent of the workload at which it strikes"
      : `${value}, then optionally @ and the percent of the workload at which it strikes, for example ${min}@50`;
  return new FaultPlanError(
    { code: "fault_description_wrong", option, actual, expected },
    `${option}: got "${actual}", expected ${expected}`,
  );
}

/**
 * Says what a fault does, for the report.
 *
 * @param fault - planned.
 * @returns a few words.
 */
export function describeFault(fault: PlannedFault): string {
  switch (fault.kind) {
    case "stall_subscriber":
      return `daemon frozen for ${fault.seconds} s`;
    case "restart_engines":
      return `${fault.count} engine${fault.count === 1 ? "" : "s"} restarted`;
    case "kill_daemon":
      return "daemon killed (-9) and restarted";
    case "truncate_history":
      return `gap beyond a history cut to ${fault.keep} messages`;
    default:
      return unreachable(fault);
  }
}
