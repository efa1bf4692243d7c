/**
 * Gauges that are read from registry, board and index at each scrape: nothing is counted for them
 * in between.
 */

import { type PrefixReader, STREAM_STATES, type Trust, TRUST_LEVELS, type TrustReason } from "@kvsync/core";
import { type OpenLabel, openLabel } from "@kvsync/observability/definition";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import { LIMIT_METRICS } from "@kvsync/observability/kvsync/limits";
import { PREFIX_INDEX_METRICS } from "@kvsync/observability/kvsync/prefix-index";
import { SERVICE_METRICS } from "@kvsync/observability/kvsync/service";
import { SNAPSHOT_METRICS } from "@kvsync/observability/kvsync/snapshot";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import type { MetricSlots } from "@kvsync/observability/slots";

import type { EngineRegistry } from "../engine/engine-registry.ts";
import { HEALTH_STATUSES, type HealthChecks } from "./health-checks.ts";
import type { BoardReader, StreamStatus } from "../board/stream-board.ts";
import type { Settings } from "../settings/settings.ts";
import { GaugeSet } from "../telemetry/gauge-set.ts";

/** Where the gauges are read from. */
export interface FleetGaugeSources {
  readonly registry: EngineRegistry;
  readonly board: BoardReader;
  readonly reader: PrefixReader;
  /** Bytes of the index's memory, as reserved from the system. */
  readonly reservedBytes: () => number;
  /** The limits that are exported beside what they bound. */
  readonly settings: Pick<Settings, "limits" | "health">;
  /** Most bytes that the process may use. */
  readonly memoryBytesMax: number;
  /** CPUs that it may use. */
  readonly cpus: number;
  /** Names the settings in effect. */
  readonly settingsHash: string;
  readonly now: () => number;
  readonly version: string;
  /** `null` when no snapshots are kept. */
  readonly snapshotAgeSeconds: () => number | null;
  readonly health: HealthChecks;
  /** False when sync was asked for and cannot run. */
  readonly configurationValid: boolean;
}

/**
 * Makes the collector to run before each scrape.
 *
 * @param slots - of the main thread.
 * @param sources - what is read.
 * @returns the collector; it leaves turns of the event loop to others on the way.
 */
export function fleetGauges(slots: MetricSlots, sources: FleetGaugeSources): () => Promise<void> {
  const gauges = new GaugeSet(slots);
  return () =>
    gauges.collect(async (add, rest) => {
      add(INGEST_METRICS.configurationValid, {}, sources.configurationValid ? 1 : 0);
      add(LIMIT_METRICS.contextsLimit, {}, sources.settings.limits.contexts);
      add(LIMIT_METRICS.memoryLimit, {}, sources.memoryBytesMax);
      add(LIMIT_METRICS.cpuLimit, {}, sources.cpus);
      add(LIMIT_METRICS.eventLoopLagLimit, {}, sources.settings.health.event_loop_lag_ms / 1000);
      add(SERVICE_METRICS.buildInfo, { version: sources.version, node_version: process.version }, 1);
      add(SERVICE_METRICS.configurationInfo, { hash: sources.settingsHash }, 1);
      const age = sources.snapshotAgeSeconds();
      if (age !== null) add(SNAPSHOT_METRICS.snapshotAge, {}, age);
      addHealth(add, sources.health);
      const pressures = sources.board.workers().map(({ backpressure }) => backpressure);
      add(STREAM_METRICS.streamBackpressureState, {}, Math.max(0, ...pressures));
      await addStreams(add, rest, sources);
      await addIndex(add, rest, sources);
    });
}

type Add = GaugeSet["add"];
type Rest = () => Promise<void>;

function addHealth(add: Add, health: HealthChecks): void {
  for (const { name: check, status: present } of health.results())
    for (const status of HEALTH_STATUSES)
      add(SERVICE_METRICS.healthCheck, { check, status }, status === present ? 1 : 0);
}

async function addStreams(
  add: Add,
  rest: Rest,
  { registry, board, reader, now }: FleetGaugeSources,
): Promise<void> {
  const nowMs = now();
  let sessions = 0;
  const modelConnected = new Map<OpenLabel<"model">, number>();
  const reasons = new Map<string, ReasonCount>();
  for (const registered of [...registry.engines()]) {
    const { engine, ranks } = registered;
    const pod = openLabel("pod", engine.id);
    const model = openLabel("model", engine.model);
    let connected = 0;
    for (const { dpRank, rankSlot } of ranks) {
      await rest();
      // Removed meanwhile: its slots may be another one's.
      if (registry.engine(engine.id) !== registered) break;
      sessions += 1;
      const status = board.status(rankSlot);
      if (status.connected) connected = 1;
      for (const state of STREAM_STATES) {
        add(INGEST_METRICS.streamState, { pod, model, state }, status.state === state ? 1 : 0);
      }
      for (const trust of TRUST_LEVELS) {
        add(INGEST_METRICS.streamTrust, { pod, model, trust }, status.trust === trust ? 1 : 0);
      }
      countReason(reasons, model, status);
      const dp_rank = String(dpRank);
      add(INGEST_METRICS.streamBlocks, { pod, model, dp_rank }, reader.rankBlockCount(rankSlot));
      if (status.lastEventAtMs !== null) {
        const age = Math.max(0, (nowMs - status.lastEventAtMs) / 1000);
        add(INGEST_METRICS.streamLastEventAge, { pod, model, dp_rank }, age);
      }
      if (status.lastSequenceNumber !== null) {
        add(INGEST_METRICS.streamLastSequenceNumber, { pod, model, dp_rank }, status.lastSequenceNumber);
      }
    }
    if (registry.engine(engine.id) === registered)
      modelConnected.set(model, Math.max(connected, modelConnected.get(model) ?? 0));
  }
  for (const [model, connected] of modelConnected) add(PREFIX_INDEX_METRICS.syncStatus, { model }, connected);
  for (const { labels, count } of reasons.values()) add(INGEST_METRICS.streamTrustReason, labels, count);
  add(STREAM_METRICS.streamActiveSessions, { kind: "engine" }, sessions);
}

/** Ranks of a model that share a reason. */
interface ReasonCount {
  readonly labels: {
    readonly model: OpenLabel<"model">;
    readonly trust: Exclude<Trust, "exact">;
    readonly reason: TrustReason;
  };
  count: number;
}

function countReason(
  reasons: Map<string, ReasonCount>,
  model: OpenLabel<"model">,
  { trust, trustReason: reason }: StreamStatus,
): void {
  if (reason === null || trust === "exact") return;
  const key = `${reason} ${model}`;
  const counted = reasons.get(key);
  if (counted === undefined) reasons.set(key, { labels: { model, trust, reason }, count: 1 });
  else counted.count += 1;
}

async function addIndex(add: Add, rest: Rest, { reader, reservedBytes }: FleetGaugeSources): Promise<void> {
  let allocated = 0;
  for (const { key, prefixCount, mappingCount, bytes } of reader.contexts()) {
    await rest();
    allocated += bytes;
    // Empty ones go by and by: neither capacity nor series are theirs.
    if (prefixCount === 0) continue;
    const model = openLabel("model", key.model);
    const labels = { model, lora_id: key.loraName ?? "" };
    add(PREFIX_INDEX_METRICS.indexerContexts, { model }, 1);
    add(PREFIX_INDEX_METRICS.indexerPrefixes, labels, prefixCount);
    add(PREFIX_INDEX_METRICS.indexerMappings, labels, mappingCount);
  }
  add(PREFIX_INDEX_METRICS.indexerMemory, { kind: "allocated" }, allocated);
  add(PREFIX_INDEX_METRICS.indexerMemory, { kind: "reserved" }, reservedBytes());
}
