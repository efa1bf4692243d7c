/**
 * Facts about the process: its version, its machine, its settings, and the memory of its index.
 *
 * Not here: engines and their sources (http/engine-reports.ts).
 */

import { arch, availableParallelism, release, type } from "node:os";

import type { PrefixReader } from "@kvsync/core";
import { EVICTIONS, type EvictionReason } from "@kvsync/core";

import type { StartFacts } from "../build-facts.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { type ShownSetting, shownSettings } from "../settings/effective-settings.ts";
import { maskCredentials } from "../settings/read-settings.ts";
import type { Settings } from "../settings/settings.ts";
import type { SnapshotStore } from "../snapshot/snapshot-store.ts";
import { indexSums, ranksOf } from "./fleet-sums.ts";
import { HOLDER_CLASS_NAMES, type IndexLook } from "./index-scan.ts";

/** Where facts come from. */
export interface FactSources {
  readonly settings: Settings;
  readonly start: StartFacts;
  /** Name of this daemon among its replicas. */
  readonly instance: string;
  readonly snapshots: Pick<SnapshotStore, "isKept" | "folder" | "ageSeconds">;
  readonly registry: Pick<EngineRegistry, "engines">;
  readonly board: Pick<BoardReader, "report">;
  readonly reader: Pick<PrefixReader, "contexts">;
  /** Bytes of the index's shared memory. */
  readonly reservedBytes: () => number;
  /** Of the container or the machine. */
  readonly memoryBytesMax: number;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

type Holders = Record<(typeof HOLDER_CLASS_NAMES)[number], number>;

/** See the head of this file. */
export class SystemFacts {
  readonly #sources: FactSources;
  readonly #settings: readonly ShownSetting[];

  /** @param sources - of the daemon. */
  constructor(sources: FactSources) {
    this.#sources = sources;
    const { settings, start } = sources;
    const { given, sources: from, configFile: file } = start;
    this.#settings = shownSettings({ settings, given, sources: from, file });
  }

  /** The process and its settings. Secrets are masked. */
  process() {
    const { start, settings, instance, snapshots, memoryBytesMax, now } = this.#sources;
    const { version, commit, node } = start;
    const { grafana_url, traces_url, runbooks_url, errors_url } = settings.dashboard;
    const uptime = process.uptime();
    return {
      ...{ version, commit, instance, node, v8: process.versions.v8 },
      ...{ os: `${type()} ${release()}`, arch: arch(), cpus: availableParallelism(), pid: process.pid },
      started_at: new Date(now() - uptime * 1000).toISOString(),
      uptime_seconds: Math.round(uptime),
      memory: { rss: process.memoryUsage.rss(), limit: memoryBytesMax },
      settings: this.#settings,
      snapshot: {
        folder: snapshots.isKept ? snapshots.folder : null,
        age_seconds: snapshots.ageSeconds(),
      },
      links: {
        grafana: shown(grafana_url),
        traces: shown(traces_url),
        runbooks: shown(runbooks_url),
        errors: shown(errors_url),
      },
    };
  }

  /**
   * The index, as a walk counted it.
   *
   * @param look - of the walk.
   */
  index({ atMs, holders }: IndexLook) {
    const { settings, registry, board, reader, reservedBytes } = this.#sources;
    const evictions = Object.fromEntries(Object.keys(EVICTIONS).map((name) => [name, 0])) as Record<
      EvictionReason,
      number
    >;
    for (const [, { rankSlot }] of ranksOf(registry)) {
      const { indexEvictions } = board.report(rankSlot).counters;
      for (const [name, count] of Object.entries(indexEvictions)) evictions[name as EvictionReason] += count;
    }
    const contexts = reader.contexts().map(({ id, key, prefixCount, mappingCount, bytes }) => ({
      model: key.model,
      lora: key.loraName,
      block_size: key.blockSize,
      prefixes: prefixCount,
      mappings: mappingCount,
      bytes,
      holders: byClass(holders.get(id)),
    }));
    return {
      memory: {
        used: indexSums(reader).used,
        reserved: reservedBytes(),
        limit: settings.limits.index_bytes,
      },
      contexts: contexts.sort((a, b) => b.bytes - a.bytes),
      counted_at: new Date(atMs).toISOString(),
      evictions,
    };
  }
}

/** An address without its credentials: the page gives it to every reader. */
function shown(url: string | null): string | null {
  return url === null ? null : maskCredentials(url);
}

function byClass(counts: readonly number[] | undefined): Holders | null {
  if (counts === undefined) return null;
  return Object.fromEntries(HOLDER_CLASS_NAMES.map((name, i) => [name, counts[i] ?? 0])) as Holders;
}
