/**
 * Makes snapshots: on a clock, when stopping, and when a sibling asks.
 *
 *     clock │ stop │ GET /api/v1/snapshot ─▶ write() ─▶ each ingest thread copies (between two messages) ─▶ snapshot thread writes
 *     GET …?shard_index=&shard_count= ─▶ writePart() ─▶ write() ─▶ snapshot thread writes the rows of that shard's workers
 *
 * One at a time; a request while one is being made gets that one. Parts are made one after the other: all that are asked for while
 * one snapshot is being made are of that one. A failure is counted and logged,
 * the files on the disk stay, and the next snapshot is tried as usual.
 *
 * Invariants (test/snapshot-store.test.ts)
 *  V1  The last snapshot has the state of the stop: one that was being made by then is followed by another.
 *  V2  While another daemon has the folder (folder-claim.ts), nothing is written into it, and the check names its owner.
 */

import { once } from "node:events";
import { randomUUID } from "node:crypto";
import { openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

import { assert } from "@kvsync/core";
import { SNAPSHOT_METRICS } from "@kvsync/observability/kvsync/snapshot";
import type { MetricSlots } from "@kvsync/observability/slots";

import { makeFolder } from "../folder.ts";
import type { FleetShard } from "../engine/fleet-shard.ts";
import type { WriteEvent } from "../log/log-line.ts";
import type { NamedSpan, Tracing } from "../telemetry/tracing.ts";
import { ioFailed, SnapshotError } from "./snapshot-error.ts";
import { SNAPSHOT_NAME, type SnapshotSettings } from "../settings/snapshot-settings.ts";
import { seedText } from "./snapshot-file.ts";
import type { SnapshotJob, SnapshotOutcome } from "./snapshot-thread.ts";
import type { TakenSnapshot } from "./taken-snapshot.ts";

/** What a store works with. */
export interface SnapshotDependencies {
  readonly take: () => Promise<TakenSnapshot>;
  /** Compiled `snapshot-thread`. */
  readonly script: URL;
  readonly version: string;
  /** The part of the fleet that is followed. */
  readonly shard: FleetShard;
  readonly metrics: MetricSlots;
  readonly log: WriteEvent;
  /** Null when off. */
  readonly tracing: Tracing | null;
  /** Who has taken the folder over, in words; null when it is this daemon's (V2). */
  readonly whyFolderLost: () => string | null;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** A snapshot that was made. */
export interface WrittenSnapshot {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly streams: number;
}

/** What a health check found. */
export interface StoreHealth {
  readonly ok: boolean;
  readonly message: string;
}

/** The snapshots of one daemon. */
export class SnapshotStore {
  readonly #settings: SnapshotSettings;
  readonly #dependencies: SnapshotDependencies;
  readonly #folder: string;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<WrittenSnapshot> | null = null;
  /** Ends when the last part that was asked for is made. Never rejects. */
  #parts: Promise<unknown> = Promise.resolve();
  #lastTakenMs: number | null = null;
  #startedMs: number | null = null;
  /** Why the last one could not be written; null when it was, or none was tried. */
  #failure: string | null = null;

  /**
   * @param settings - where and how often.
   * @param dependencies - who copies, who hears.
   */
  constructor(settings: SnapshotSettings, dependencies: SnapshotDependencies) {
    this.#settings = settings;
    this.#dependencies = dependencies;
    // Without a folder of its own a daemon still gives snapshots to siblings; it is made when one asks.
    this.#folder = settings.directory ?? join(tmpdir(), `kvsync-snapshot-${randomUUID()}`);
  }

  /** Where files lie. */
  get folder(): string {
    return this.#folder;
  }

  /** Whether snapshots are kept on disk. */
  get isKept(): boolean {
    return this.#settings.directory !== null;
  }

  /** Makes snapshots from now on, if they are kept. */
  start(): void {
    if (!this.isKept) return;
    this.#startedMs = this.#dependencies.now();
    this.#timer = setInterval(() => {
      this.write().catch(() => undefined);
    }, this.#settings.interval_seconds * 1000);
    this.#timer.unref();
  }

  /**
   * Makes the last one, if they are kept, and no more.
   *
   * @param timeoutMs - after which stopping goes on without it, which is logged.
   */
  async stop(timeoutMs: number): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    if (!this.isKept) {
      rmSync(this.#folder, { recursive: true, force: true });
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const overdue = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        const text = `the last snapshot was not written in ${timeoutMs} ms; a restart continues from the one before it`;
        this.#dependencies.log("snapshot_failed", { folder: this.#folder }, { text });
        resolve();
      }, timeoutMs);
    });
    await Promise.race([this.#last(), overdue]);
    clearTimeout(timer);
  }

  /**
   * Makes one now, or waits for the one being made.
   *
   * @returns where it lies.
   * @throws SnapshotError io_failed; counted and logged already.
   */
  write(): Promise<WrittenSnapshot> {
    this.#writing ??= this.#traced().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  /**
   * Makes a file of the workers of one shard. It has no name any more when this resolves: it ends with its descriptor.
   *
   * @param shard - which.
   * @returns the descriptor of the file, the caller's to close.
   * @throws SnapshotError; what concerns the whole snapshot is counted and logged already.
   */
  async writePart(shard: FleetShard): Promise<number> {
    const { path: from } = await this.write();
    const path = join(this.#folder, `${SNAPSHOT_NAME}.part`);
    const made = this.#parts.then(() => this.#makePart(from, path, shard));
    this.#parts = made.catch(() => undefined);
    return made;
  }

  async #makePart(from: string, path: string, { index, count }: FleetShard): Promise<number> {
    const outcome = await run(this.#dependencies.script, {
      kind: "part",
      path,
      from,
      shard: { index, count },
    });
    if (outcome.kind === "failed")
      throw new SnapshotError({ code: "io_failed", path, reason: outcome.code }, outcome.message);
    try {
      const descriptor = openSync(path, "r");
      rmSync(path);
      return descriptor;
    } catch (error) {
      throw ioFailed(path, error);
    }
  }

  /** Seconds since the state of the last good one; null before the first. */
  ageSeconds(): number | null {
    return this.#lastTakenMs === null ? null : (this.#dependencies.now() - this.#lastTakenMs) / 1000;
  }

  /** Seconds of the index that no snapshot on disk has: since the last good one, or since the start; null when none are kept. */
  unsavedSeconds(): number | null {
    const sinceMs = this.#lastTakenMs ?? this.#startedMs;
    return !this.isKept || sinceMs === null ? null : (this.#dependencies.now() - sinceMs) / 1000;
  }

  /** Takes a snapshot that was loaded as the last good one. */
  loaded(createdMs: number): void {
    this.#lastTakenMs = createdMs;
  }

  /**
   * Whether the folder takes a file and gives it back, and took the last snapshot: a disk that is nearly full still has room for a small file.
   *
   * @returns what was wrong, in words, when it does not.
   */
  check(): StoreHealth {
    const lost = this.#dependencies.whyFolderLost();
    if (lost !== null) return { ok: false, message: lost };
    const path = join(this.#folder, `${SNAPSHOT_NAME}.probe`);
    const probe = `${process.pid} ${this.#dependencies.now()}`;
    try {
      makeFolder(this.#folder);
      writeFileSync(path, probe);
      const isSame = readFileSync(path, "utf8") === probe;
      rmSync(path, { force: true });
      if (!isSame) return { ok: false, message: `${path} reads back differently` };
      if (this.#failure === null) return { ok: true, message: "written and read" };
      return { ok: false, message: `the last snapshot could not be written: ${this.#failure}` };
    } catch (error) {
      return { ok: false, message: ioFailed(path, error).message };
    }
  }

  /** V1. What is wrong with either is logged. */
  async #last(): Promise<void> {
    await this.#writing?.catch(() => undefined);
    await this.write().catch(() => undefined);
  }

  #traced(): Promise<WrittenSnapshot> {
    const { tracing } = this.#dependencies;
    if (tracing === null) return this.#write();
    const work = async (span: NamedSpan<"snapshot.write">): Promise<WrittenSnapshot> => {
      const written = await this.#write();
      span.set({
        "kvsync.rows": written.rows,
        "kvsync.bytes": written.bytes,
        "kvsync.streams": written.streams,
      });
      return written;
    };
    return tracing.within("snapshot.write", work);
  }

  async #write(): Promise<WrittenSnapshot> {
    const { metrics, now } = this.#dependencies;
    const beganMs = now();
    try {
      const written = await this.#makeFile();
      metrics.counter(SNAPSHOT_METRICS.snapshotOperations, { operation: "write", status: "ok" }).inc();
      metrics
        .histogram(SNAPSHOT_METRICS.snapshotDuration, { operation: "write" })
        .observe((now() - beganMs) / 1000);
      metrics.gauge(SNAPSHOT_METRICS.snapshotSize, {}).set(written.bytes);
      metrics.gauge(SNAPSHOT_METRICS.snapshotEntries, {}).set(written.rows);
      this.#failure = null;
      return written;
    } catch (error) {
      metrics.counter(SNAPSHOT_METRICS.snapshotOperations, { operation: "write", status: "failed" }).inc();
      metrics.counter(SNAPSHOT_METRICS.snapshotErrors, { operation: "write" }).inc();
      const text = error instanceof Error ? error.message : String(error);
      this.#failure = text;
      this.#dependencies.log("snapshot_failed", { folder: this.#folder }, { text });
      throw error;
    }
  }

  async #makeFile(): Promise<WrittenSnapshot> {
    const { take, script, version, shard, log, whyFolderLost } = this.#dependencies;
    const path = join(this.#folder, SNAPSHOT_NAME);
    const lost = whyFolderLost();
    if (lost !== null)
      throw new SnapshotError({ code: "folder_lost", path, reason: lost }, `snapshot ${path}: ${lost}`);
    try {
      makeFolder(this.#folder);
    } catch (error) {
      throw ioFailed(path, error);
    }
    const { takenMs, stoodStillMs, streams, copies } = await take();
    const { index, count } = shard;
    const [first] = copies;
    assert(first !== undefined, "each part of the index was copied");
    const head = {
      productVersion: version,
      createdMs: takenMs,
      hashSeed: seedText(first),
      streams,
      ...(shard.isPart ? { shard: { index, count } } : {}),
    };
    const outcome = await run(script, { kind: "whole", path, head, copies });
    if (outcome.kind === "failed")
      throw new SnapshotError({ code: "io_failed", path, reason: outcome.code }, outcome.message);
    assert(outcome.kind === "written", "a whole snapshot was asked for");
    this.#lastTakenMs = takenMs;
    const { rows, bytes } = outcome;
    const facts = { path, rows, bytes, streams: streams.length, stood_still_ms: Math.round(stoodStillMs) };
    log("snapshot_written", facts);
    return { path, rows, bytes, streams: streams.length };
  }
}

async function run(script: URL, job: SnapshotJob): Promise<SnapshotOutcome> {
  const worker = new Worker(script, { workerData: job, name: "snapshot" });
  const answer = once(worker, "message") as Promise<[SnapshotOutcome]>;
  const ended = once(worker, "exit").then(() => {
    throw new Error("the snapshot thread ended without an answer");
  });
  const [outcome] = await Promise.race([answer, ended]);
  ended.catch(() => undefined);
  return outcome;
}
