/** Answers about the daemon and its engines, for operators. Times are ISO 8601 in UTC. */

import type { Trust } from "./match-types.ts";

/** Tiers of memory, the fastest first. */
export type TierName = "device" | "host" | "disk" | "remote";

/** One rank of an engine, with its history. The daemon answers more fields. */
export interface RankDetails {
  readonly dp_rank: number;
  readonly state: string;
  readonly trust: Trust;
  /** Null exactly when trust is exact. */
  readonly trust_reason: string | null;
  readonly connected: boolean;
  readonly endpoint: string | null;
  readonly last_sequence_number: number | null;
  readonly history_from_sequence_number: number | null;
  readonly blocks_held: number;
  readonly messages_applied: number;
  readonly gaps: number;
  readonly missed_messages: number;
  readonly held_messages: number;
  readonly restarts: number;
  readonly replays: {
    readonly requested: number;
    readonly completed: number;
    readonly failed: number;
    readonly abandoned: number;
  };
  /** Messages and events that were not applied, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Messages and events that broke the protocol, by code. */
  readonly faults: Readonly<Record<string, number>>;
  /** The latest changes, oldest first. */
  readonly timeline: readonly { readonly at: string; readonly state: string; readonly trust: Trust }[];
  readonly recent_gaps: readonly {
    readonly at: string;
    /** Number of the first message that was missing. */
    readonly from: number;
    readonly messages: number;
    /** How its replay ended; null while none has. */
    readonly outcome: "completed" | "failed" | "abandoned" | null;
    readonly seconds: number | null;
  }[];
  readonly recent_restarts: readonly string[];
  /** Of each minute of the last hour, oldest first and the running one last; null where nothing is known. */
  readonly events_per_second: readonly (number | null)[];
  /** Messages and events that were not applied in the last hour, by reason; null where they are not kept. */
  readonly dropped_last_hour: Readonly<Record<string, number>> | null;
  /** Null before the first count. */
  readonly tiers: Readonly<Record<TierName, number>> | null;
}

/** The last hour of a rank. */
export interface RankHour extends Pick<RankDetails, "timeline" | "events_per_second"> {
  readonly rank_slot: number;
  readonly engine: string;
  readonly dp_rank: number;
}

/** The last hour of some ranks. */
export interface RankHours {
  /** A slot that no rank has is left out. */
  readonly ranks: readonly RankHour[];
}

/** An engine. The daemon answers more fields. */
export interface EngineDetails {
  readonly id: string;
  readonly model: string;
  readonly source: string | null;
  readonly ranks: readonly RankDetails[];
  readonly tiers_counted_at: string | null;
}

/** Figures of the fleet over time. */
export interface FleetHistory {
  /** Seconds between two values. */
  readonly step: number;
  /** Time of the first value, in seconds since the Unix epoch. */
  readonly from: number;
  /** Rates are per second, times in seconds, memory in bytes; null where there was nothing. */
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

/** What the index holds. */
export interface IndexReport {
  /** Bytes. */
  readonly memory: { readonly used: number; readonly reserved: number; readonly limit: number };
  /** The largest first. */
  readonly contexts: readonly {
    readonly model: string;
    readonly lora: string | null;
    readonly block_size: number;
    readonly prefixes: number;
    readonly mappings: number;
    readonly bytes: number;
    /** Blocks by the number of ranks that hold them; null before they were counted. */
    readonly holders: Readonly<Record<"1" | "2" | "3-4" | "5-8" | "over_8", number>> | null;
  }[];
  readonly counted_at: string;
  /** By limit. */
  readonly evictions: Readonly<Record<string, number>>;
}

/** What runs. */
export interface SystemReport {
  readonly version: string;
  readonly commit: string | null;
  readonly instance: string;
  readonly node: string;
  readonly v8: string;
  readonly os: string;
  readonly arch: string;
  readonly cpus: number;
  readonly pid: number;
  readonly started_at: string;
  readonly uptime_seconds: number;
  /** Bytes. */
  readonly memory: { readonly rss: number; readonly limit: number };
  readonly settings: readonly {
    readonly path: string;
    readonly value: unknown;
    /** Null for the default. */
    readonly source: string | null;
  }[];
  readonly certificate: { readonly not_after: string } | null;
  readonly sources: readonly {
    readonly source: string;
    readonly state: string;
    readonly engines: number;
    readonly last_success: string | null;
    readonly failure: { readonly reason: string; readonly message: string; readonly at: string } | null;
  }[];
  readonly snapshot: { readonly folder: string | null; readonly age_seconds: number | null };
  readonly links: Readonly<Record<"grafana" | "traces" | "runbooks" | "errors", string | null>>;
}

/** Severities, the gravest first. */
export type Severity = "fatal" | "error" | "warn" | "info" | "debug";

/** A line of the daemon's log. */
export interface LogLine {
  /** One more than the line before it. */
  readonly n: number;
  readonly time: string;
  readonly level: Severity;
  /** From 0 to 5, as in the setting `log.level`. */
  readonly verbosity: number;
  readonly component: string;
  readonly event: string;
  readonly message: string;
  /** Null for a line that was too long. */
  readonly facts: Readonly<Record<string, unknown>> | null;
}

/** Lines of the log, oldest first. */
export interface LogLines {
  /** Number of the latest line, whatever was asked. */
  readonly last: number;
  readonly lines: readonly LogLine[];
}

/** Which lines of the log. */
export interface LogQuery {
  /** The least grave. */
  readonly level?: Severity | undefined;
  readonly event?: string | undefined;
  /** Id of an engine. */
  readonly pod?: string | undefined;
  /** Lines after this number. */
  readonly after?: number | undefined;
  /** The latest lines, at most 1,000. */
  readonly limit?: number | undefined;
}
