/**
 * Health checks: run in parallel, each within its time, none more often than once in a while; and the report over all.
 *
 *     check ──run──▶ result (healthy │ degraded │ unhealthy) ──▶ report: the worst that counts
 *
 * A check that throws or takes too long is unhealthy, never a failure of the report. Results are
 * cached briefly, so that many probes do not cause many writes. A clock renews them, so that
 * metrics have them without any probe.
 */

import { arch, cpus, platform, release, totalmem } from "node:os";

import type { OpenLabel } from "@kvsync/observability/definition";
import type { CheckName } from "@kvsync/observability/kvsync/health-checks";

/** What a check can say, best first. Metric label values. */
export const HEALTH_STATUSES = ["healthy", "degraded", "unhealthy"] as const;

/** One of HEALTH_STATUSES. */
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

/** What a check found. Its details are those of its name in the catalogue (daemon-checks.ts). */
export interface CheckFinding {
  readonly status: HealthStatus;
  readonly message: string;
  readonly details?: Readonly<Record<string, string | number | boolean | null>>;
}

/** A name of the catalogue, or one that the settings give a service. */
type HealthName = CheckName | OpenLabel<"dependency">;

/** Something to look at. */
export interface HealthCheck {
  readonly name: HealthName;
  /** Whether the daemon as a whole is unhealthy when this is; degraded otherwise. */
  readonly critical: boolean;
  readonly timeoutMs: number;
  readonly run: () => CheckFinding | Promise<CheckFinding>;
}

/** A finding with its circumstances, as `/health` shows it. */
export interface CheckResult extends Required<CheckFinding> {
  readonly name: HealthName;
  readonly duration_ms: number;
  readonly timestamp: string;
  readonly critical: boolean;
}

/** The body of `/health`. */
export interface HealthReport {
  readonly status: HealthStatus;
  readonly version: string;
  readonly uptime_seconds: number;
  readonly timestamp: string;
  readonly checks: Readonly<Record<string, CheckResult>>;
  readonly summary: Readonly<Record<"total" | HealthStatus | "critical", number>>;
  readonly system_info: {
    readonly runtime_version: string;
    readonly os: string;
    readonly arch: string;
    readonly cpus: number;
    readonly memory_bytes: number;
    readonly started_at: string;
  };
}

/** Results younger than this are given again. */
const FRESH_MS = 1000;
/** Time between rounds that nobody asked for: what a scrape sees is at most this old. */
const ROUND_MS = 10_000;

/** The checks of a daemon. */
export class HealthChecks {
  readonly #checks: readonly HealthCheck[];
  readonly #version: string;
  readonly #now: () => number;
  readonly #changed: (result: CheckResult, previous: HealthStatus) => void;
  #results: readonly CheckResult[] = [];
  #roundMs = Number.NEGATIVE_INFINITY;
  #running: Promise<readonly CheckResult[]> | null = null;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param checks - with names of their own.
   * @param version - of the product, for the report.
   * @param now - milliseconds since the Unix epoch.
   * @param changed - hears of each result that is not as the one before; a check begins as healthy.
   */
  constructor(
    checks: readonly HealthCheck[],
    version: string,
    now: () => number,
    changed: (result: CheckResult, previous: HealthStatus) => void,
  ) {
    this.#checks = checks;
    this.#version = version;
    this.#now = now;
    this.#changed = changed;
  }

  /** Runs a round now, and then on a clock. */
  start(): void {
    void this.run();
    this.#timer = setInterval(() => void this.run(), ROUND_MS);
    this.#timer.unref();
  }

  /** Ends the clock. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** The last results; empty before the first round has ended. */
  results(): readonly CheckResult[] {
    return this.#results;
  }

  /**
   * Runs every check, unless that was done a moment ago.
   *
   * @returns one result per check, in their order. Never throws.
   */
  async run(): Promise<readonly CheckResult[]> {
    if (this.#now() - this.#roundMs < FRESH_MS) return this.#results;
    this.#running ??= this.#round().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** The report over all checks. */
  async report(): Promise<HealthReport> {
    const results = await this.run();
    const count = (status: HealthStatus): number => results.filter((one) => one.status === status).length;
    const isUnhealthy = results.some((one) => one.critical && one.status === "unhealthy");
    const isHealthy = results.every((one) => one.status === "healthy");
    return {
      status: isUnhealthy ? "unhealthy" : isHealthy ? "healthy" : "degraded",
      version: this.#version,
      uptime_seconds: Math.round(process.uptime()),
      timestamp: new Date(this.#now()).toISOString(),
      checks: Object.fromEntries(results.map((result) => [result.name, result])),
      summary: {
        total: results.length,
        healthy: count("healthy"),
        degraded: count("degraded"),
        unhealthy: count("unhealthy"),
        critical: results.filter((one) => one.critical).length,
      },
      system_info: {
        runtime_version: process.version,
        os: `${platform()} ${release()}`,
        arch: arch(),
        cpus: cpus().length,
        memory_bytes: totalmem(),
        started_at: new Date(this.#now() - process.uptime() * 1000).toISOString(),
      },
    };
  }

  async #round(): Promise<readonly CheckResult[]> {
    const before = new Map(this.#results.map(({ name, status }) => [name, status]));
    this.#results = await Promise.all(this.#checks.map((check) => this.#runOne(check)));
    this.#roundMs = this.#now();
    for (const result of this.#results) {
      const previous = before.get(result.name) ?? "healthy";
      if (result.status !== previous) this.#changed(result, previous);
    }
    return this.#results;
  }

  async #runOne({ name, critical, timeoutMs, run }: HealthCheck): Promise<CheckResult> {
    const beganMs = this.#now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<CheckFinding>((resolve) => {
      timer = setTimeout(() => {
        resolve({ status: "unhealthy", message: `no answer within ${timeoutMs} ms` });
      }, timeoutMs);
    });
    let finding: CheckFinding;
    try {
      finding = await Promise.race([run(), late]);
    } catch (error) {
      finding = { status: "unhealthy", message: error instanceof Error ? error.message : String(error) };
    } finally {
      clearTimeout(timer);
    }
    return {
      name,
      status: finding.status,
      message: finding.message,
      duration_ms: Math.round((this.#now() - beganMs) * 10) / 10,
      timestamp: new Date(beganMs).toISOString(),
      details: finding.details ?? {},
      critical,
    };
  }
}
