/**
 * The messages of the daemon's stream, as the page uses them, and their reading from JSON.
 *
 *     hello ──▶ snapshot ──▶ delta, delta, …          happening, alerts and bye at any time
 *
 * A snapshot is columnar: names once, then rows. Columns are found by name, so a daemon may add some.
 * Every field of totals may be absent or `null`: nothing is known then, which differs from zero.
 *
 * Alerts have the types of `@kvsync/client`, which the daemon's tests compare with its answers.
 *
 * Not here: applying them (fleet-store.ts).
 */
import type { Alert as ClientAlert, AlertList, AlertRule } from "@kvsync/client";

/** A cell of a row: text, number, boolean, nothing, or blocks by tier. */
export type Cell = string | number | boolean | null | readonly number[];

/** How far the index can be trusted for a rank, best first. */
export type TrustName = "exact" | "partial" | "stale" | "unknown";

/** The daemon's rates and levels. Rates are per second, times in seconds, sizes in bytes. */
export interface Totals {
  readonly events?: Readonly<Partial<Record<"stored" | "removed" | "cleared", number | null>>>;
  readonly received_to_applied_p99?: number | null;
  readonly lookups?: Readonly<Partial<Record<"exact" | "degraded" | "fallback", number | null>>>;
  readonly p50?: number | null;
  readonly p99?: number | null;
  /** Share of prompt blocks that were held, by index of the model. */
  readonly hit?: Readonly<Record<string, number | null>>;
  readonly memory?: { readonly used?: number | null; readonly limit?: number | null } | null;
  readonly mappings?: number | null;
  /** Back-pressure: level 0 to 3, and messages that wait. */
  readonly queue?: { readonly level?: number; readonly messages?: number | null } | null;
  readonly not_applied?: Readonly<Record<string, number>>;
  readonly fallback_reasons?: Readonly<Record<string, number>>;
}

/** One health check. */
export interface HealthCheck {
  readonly name: string;
  readonly status: "healthy" | "degraded" | "unhealthy";
  readonly message: string;
  readonly critical?: boolean;
}

/** Health, readiness and sources of engines. */
export interface Health {
  readonly status?: "healthy" | "degraded" | "unhealthy";
  readonly checks?: readonly HealthCheck[];
  readonly ready?: boolean;
  readonly reason?: string;
  /** Why nothing is synchronized; null or absent when the configuration is valid. */
  readonly configuration?: { readonly missing?: readonly string[]; readonly message?: string } | null;
  readonly sources?: readonly {
    readonly name: string;
    readonly engines?: number;
    readonly state?: string;
  }[];
}

/** The client's type, in which a daemon of another version may lack all fields but some. */
type Tolerant<Whole, Needed extends keyof Whole> = Pick<Whole, Needed> & Partial<Whole>;

/** One alert. Times are seconds since 1970. */
export type Alert = Tolerant<ClientAlert, "name" | "state">;

/** States of an alert. */
export type AlertState = ClientAlert["state"];

/** States of a rule. */
export type RuleState = AlertRule["state"];

/** Needs of a rule that the daemon alone does not meet. */
export type AlertNeed = NonNullable<AlertRule["needs"]>;

/** A source of alerts. */
export type AlertSource = AlertList["sources"][number];

/** The alerts, and where they come from. */
export type Alerts = Partial<Omit<AlertList, "alerts">> & { readonly alerts?: readonly Alert[] };

/** Something that happened. */
export interface Happening {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly kind: string;
  readonly engine?: string | null;
  readonly rank?: number | null;
  readonly text: string;
}

/** The first message of a stream. */
export interface Hello {
  readonly version: string;
  readonly commit?: string | null;
  readonly instance: string;
  readonly now: number;
  /** Seconds between points of the history. */
  readonly step: number;
  /** Views whose routes the daemon has. */
  readonly features?: readonly string[];
}

/** The whole state. */
export interface Snapshot {
  readonly n: number;
  readonly at: number;
  readonly columns: readonly string[];
  readonly models: readonly string[];
  readonly states: readonly string[];
  readonly trusts: readonly string[];
  readonly sources?: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  readonly totals?: Totals;
  readonly health?: Health | null;
  readonly alerts?: Alerts | null;
  readonly happenings?: readonly Happening[];
}

/** What changed since message `n - 1`. */
export interface Delta {
  readonly n: number;
  readonly at: number;
  readonly models?: readonly string[];
  readonly sources?: readonly string[];
  /** [slot, step of its sequence number]. */
  readonly seq?: readonly (readonly [number, number])[];
  /** [slot, index or name of the column, value]. */
  readonly set?: readonly (readonly [number, number | string, Cell])[];
  readonly gone?: readonly number[];
  readonly new?: readonly (readonly Cell[])[];
  readonly totals?: Totals;
  readonly health?: Health | null;
  readonly alerts?: Alerts | null;
}

/** The end of a stream. */
interface Bye {
  readonly reason: string;
  readonly retry_ms?: number;
}

/** A message of the stream, by its event. */
export type StreamMessage =
  | { readonly kind: "hello"; readonly body: Hello }
  | { readonly kind: "snapshot"; readonly body: Snapshot }
  | { readonly kind: "delta"; readonly body: Delta }
  | { readonly kind: "happening"; readonly body: Happening }
  | { readonly kind: "alerts"; readonly body: Alerts }
  | { readonly kind: "bye"; readonly body: Bye };

/** A message that the page cannot read: the daemon is of another version. */
export class MessageError extends Error {
  readonly code = "unreadable_message";
  readonly facts: { readonly event: string; readonly expected: string };

  constructor(event: string, expected: string) {
    super(`event ${event}: expected ${expected}`);
    this.facts = { event, expected };
  }
}

type Shape = Readonly<Record<string, "number" | "string" | "array" | "object">>;

/** The fields without which a message says nothing. */
const REQUIRED: Readonly<Record<StreamMessage["kind"], Shape>> = {
  hello: { version: "string", instance: "string", now: "number", step: "number" },
  snapshot: { n: "number", at: "number", columns: "array", models: "array", rows: "array" },
  delta: { n: "number", at: "number" },
  happening: { at: "number", kind: "string", text: "string" },
  alerts: {},
  bye: { reason: "string" },
};

/**
 * Reads one event.
 *
 * @returns the message; null when the event's name is not one that this page uses.
 * @throws MessageError when the data is not JSON, or a required field is missing or of another type.
 */
export function readMessage(event: string, data: string): StreamMessage | null {
  if (!Object.hasOwn(REQUIRED, event)) return null;
  const kind = event as StreamMessage["kind"];
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    throw new MessageError(event, "JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new MessageError(event, "an object");
  for (const [field, type] of Object.entries(REQUIRED[kind])) {
    const value = (body as Record<string, unknown>)[field];
    const found = Array.isArray(value) ? "array" : typeof value;
    if (found !== type) throw new MessageError(event, `${field} of type ${type}, not ${found}`);
  }
  return { kind, body } as StreamMessage;
}
