/**
 * The daemon's health checks. They cover memory, event loop, ingest workers, sources of engines and
 * streams. Others cover the folder of snapshots, the tokenizer, and the services that the settings
 * name.
 */

import { monitorEventLoopDelay } from "node:perf_hooks";

import { openLabel } from "@kvsync/observability/definition";
import { type CheckName, HEALTH_CHECKS } from "@kvsync/observability/kvsync/health-checks";
import type { Details } from "@kvsync/observability/signals/health-check";

import type { Settings } from "../settings/settings.ts";
import type { DiscoveryStatus } from "../discovery/discovery-status.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { decideSync } from "../settings/sync-decision.ts";
import type { SnapshotStore } from "../snapshot/snapshot-store.ts";
import type { RemoteTokenizer } from "../tokenizer/remote-tokenizer.ts";
import { type CheckFinding, HEALTH_STATUSES, type HealthCheck, type HealthStatus } from "./health-checks.ts";
import { countsText, StreamCounter } from "./stream-counts.ts";

/** What the checks look at. */
export interface CheckSources {
  readonly settings: Settings;
  readonly registry: EngineRegistry;
  readonly board: BoardReader;
  readonly snapshots: SnapshotStore;
  readonly discovery: DiscoveryStatus;
  /** The part of the fleet that is followed, and the engines of the others. */
  readonly shard: () => { readonly index: number; readonly count: number; readonly elsewhere: number };
  /** Those that are asked over HTTP. */
  readonly tokenizers: readonly RemoteTokenizer[];
  readonly memoryBytesMax: number;
}

const LOCAL_TIMEOUT_MS = 2000;
/** Memory share at which the system is about to end the process. */
const MEMORY_UNHEALTHY = 0.97;
/** Lag, as a multiple of the limit, at which requests fail for their callers. */
const LAG_UNHEALTHY_FACTOR = 10;
const LAG_RESOLUTION_MS = 50;

/** What a check of the catalogue found, with the details that it declares. */
interface Finding<Name extends CheckName> {
  readonly status: HealthStatus;
  readonly message: string;
  readonly details: Details<(typeof HEALTH_CHECKS)[Name]>;
}

/** A check of the catalogue, which has whether it is critical. */
function declared<Name extends CheckName>(
  name: Name,
  run: () => Finding<Name> | Promise<Finding<Name>>,
  timeoutMs: number = LOCAL_TIMEOUT_MS,
): HealthCheck {
  const { critical } = HEALTH_CHECKS[name];
  return { name, critical, timeoutMs, run: async () => ({ ...(await run()) }) };
}

/**
 * The checks of a daemon with these settings.
 *
 * @param sources - what they look at.
 * @returns in the order of the report.
 */
export function healthChecks(sources: CheckSources): HealthCheck[] {
  const { settings, snapshots, tokenizers } = sources;
  const checks = [
    memoryCheck(sources),
    eventLoopCheck(sources),
    workerCheck(sources),
    discoveryCheck(sources),
  ];
  // What is not followed on purpose is no fault.
  if (decideSync(settings.sync).on) checks.push(streamsCheck(sources));
  if (snapshots.isKept) checks.push(storeCheck(snapshots));
  const [first, ...others] = tokenizers;
  if (first !== undefined) checks.push(tokenizerCheck([first, ...others]));
  return [...checks, ...settings.health.dependencies.map(addressCheck)];
}

/** Of several tokenizers, the worst is told. */
function tokenizerCheck(tokenizers: readonly [RemoteTokenizer, ...RemoteTokenizer[]]): HealthCheck {
  return declared("tokenizer", async () => {
    const findings = await Promise.all(tokenizers.map(tokenizerFinding));
    return findings.reduce((worst, one) => (rankOf(one) > rankOf(worst) ? one : worst));
  });
}

function rankOf({ status }: { readonly status: HealthStatus }): number {
  return HEALTH_STATUSES.indexOf(status);
}

/** A tokenizer can answer its own health and still fail at tokens: what lookups met counts too. */
async function tokenizerFinding(tokenizer: RemoteTokenizer): Promise<Finding<"tokenizer">> {
  const finding = await addressFinding(`${tokenizer.endpoint.replace(/\/+$/, "")}/health`, LOCAL_TIMEOUT_MS);
  const { circuit, lastFailure } = tokenizer.status;
  const details = { ...finding.details, tokenizer: tokenizer.label, circuit, last_failure: lastFailure };
  if (finding.status !== "healthy" || circuit === "closed") return { ...finding, details };
  const message = `${finding.message}, but lookups got ${String(lastFailure)}`;
  return { status: "degraded", message, details };
}

function memoryCheck({ settings, memoryBytesMax }: CheckSources): HealthCheck {
  return declared("memory", () => {
    const rss = process.memoryUsage.rss();
    const share = rss / memoryBytesMax;
    const limit = settings.health.memory_percent / 100;
    const status = share > MEMORY_UNHEALTHY ? "unhealthy" : share > limit ? "degraded" : "healthy";
    const message = `${(share * 100).toFixed(1)} % of the limit in use`;
    return { status, message, details: { resident_bytes: rss, limit_bytes: memoryBytesMax } };
  });
}

function eventLoopCheck({ settings }: CheckSources): HealthCheck {
  const delay = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  delay.enable();
  return declared("event_loop", () => {
    const limitMs = settings.health.event_loop_lag_ms;
    // The histogram measures its own interval with the lag.
    const lagMs = delay.count === 0 ? 0 : Math.max(0, delay.percentile(99) / 1e6 - LAG_RESOLUTION_MS);
    delay.reset();
    const status =
      lagMs > limitMs * LAG_UNHEALTHY_FACTOR ? "unhealthy" : lagMs > limitMs ? "degraded" : "healthy";
    const details = { p99_ms: Math.round(lagMs * 10) / 10, limit_ms: limitMs };
    return { status, message: `p99 of ${lagMs.toFixed(1)} ms since the last look`, details };
  });
}

function workerCheck({ board }: CheckSources): HealthCheck {
  return declared("ingest_workers", () => {
    const workers = board.workers();
    const backpressure = Math.max(0, ...workers.map((worker) => worker.backpressure));
    const silentMs = Math.max(0, ...workers.map((_, number) => board.silentMs(number)));
    const isSilent = board.stalledWorkers().length > 0;
    return {
      status: isSilent ? "unhealthy" : "healthy",
      message: isSilent ? `no sign of life for ${Math.round(silentMs / 1000)} s` : "alive",
      details: { workers: workers.length, silent_ms: Math.round(silentMs), backpressure },
    };
  });
}

/** What a reader of the report would miss otherwise: the engines of the other shards. */
function shardText(shard: CheckSources["shard"]): string {
  const { index, count, elsewhere } = shard();
  if (count === 1) return "";
  return `; shard ${index} of ${count}, ${elsewhere} engines belong to other shards`;
}

/** A stale source costs what came or went since: lookups over the other engines are as good as ever. */
function discoveryCheck({ discovery, shard }: CheckSources): HealthCheck {
  return declared("discovery", () => {
    const sources = discovery.inUse();
    const failures = sources.flatMap(({ source, failure }) =>
      failure === null ? [] : `${source}: ${failure.message}`,
    );
    const starting = sources.filter(({ state }) => state === "starting").map(({ source }) => source);
    const details = Object.fromEntries(sources.map(({ source, state }) => [source, state]));
    if (failures.length > 0) return { status: "degraded", message: failures.join("; "), details };
    if (starting.length > 0)
      return { status: "degraded", message: `no answer yet from: ${starting.join(", ")}`, details };
    const message = `every source of engines is up to date${shardText(shard)}`;
    return { status: "healthy", message, details };
  });
}

/** Not exact costs the lookups that involve these engines, and each answer says so: never a reason to take the daemon away. */
function streamsCheck({ registry, board }: CheckSources): HealthCheck {
  return declared("streams", () => {
    const counter = new StreamCounter();
    for (const { ranks } of registry.engines())
      for (const { rankSlot } of ranks) counter.add(board.status(rankSlot));
    const { counts } = counter;
    const { expected, connected, exact } = counts;
    return {
      status: exact < expected ? "degraded" : "healthy",
      message: countsText(counts),
      details: { expected, connected, exact },
    };
  });
}

function storeCheck(snapshots: SnapshotStore): HealthCheck {
  return declared("snapshot_store", () => {
    const { ok, message } = snapshots.check();
    const age = snapshots.ageSeconds();
    const details = {
      folder: snapshots.folder,
      last_snapshot_age_seconds: age === null ? null : Math.round(age),
    };
    return { status: ok ? "healthy" : "unhealthy", message, details };
  });
}

/** What a service at an address answers; the details of every check of one. */
async function addressFinding(
  url: string,
  timeoutMs: number,
): Promise<{ status: HealthStatus; message: string; details: { http_status?: number } }> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    await response.body?.cancel();
    const isUp = response.status < 500;
    return {
      status: isUp ? "healthy" : "unhealthy",
      message: `answers ${response.status}`,
      details: { http_status: response.status },
    };
  } catch (error) {
    const { cause } = error as { readonly cause?: { readonly code?: string } };
    const reason = cause?.code ?? (error instanceof Error ? error.name : String(error));
    return { status: "unhealthy", message: `does not answer: ${reason}`, details: {} };
  }
}

/** A service that the settings name. */
function addressCheck({
  name,
  url,
  timeout_seconds,
  critical,
}: Settings["health"]["dependencies"][number]): HealthCheck {
  const timeoutMs = timeout_seconds * 1000;
  const run = (): Promise<CheckFinding> => addressFinding(url, timeoutMs);
  return { name: openLabel("dependency", name), critical, timeoutMs, run };
}
