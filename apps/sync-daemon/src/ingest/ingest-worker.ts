/**
 * The main thread's control of the ingest thread. It starts the thread and sends it the ranks to
 * follow. It receives when the thread is ready, when a rank is gone, and when the thread died.
 */

import { once } from "node:events";
import { Worker } from "node:worker_threads";

import type { ParkedRecord, SharedPrefixIndex } from "@kvsync/core";
import type { SlotAnnouncement } from "@kvsync/observability/slots";

import type { LogLine } from "../log/log-line.ts";
import type { TakenSnapshot } from "../snapshot/taken-snapshot.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { RestoredSnapshot } from "../snapshot/restored-snapshot.ts";
import {
  buffersOf,
  type FromIngest,
  type IngestSettings,
  type MovedStream,
  type ToIngest,
} from "./thread-messages.ts";

/** Time for the thread to close its sockets before it is ended. */
const STOP_GRACE_MS = 1000;

/** What the main thread wants to hear. */
export interface IngestListener {
  metrics(announcement: SlotAnnouncement): void;
  log(line: LogLine): void;
  span(span: FinishedSpan): void;
  /** The rank has a KV-cache group of a kind that no rule is known for. */
  unknownKind(rankSlot: number, kind: string): void;
  /** The thread ended on its own: nothing is followed any more. */
  died(error: Error): void;
}

/** A running ingest thread. */
export class IngestWorker {
  /** The part of the index that it writes, to be read from any thread. */
  readonly index: SharedPrefixIndex;
  readonly #worker: Worker;
  /** What became of the snapshot to start from; null when there was none. */
  readonly restored: RestoredSnapshot | null;
  readonly #forgetting = new Map<number, () => void>();
  readonly #releasing = new Map<number, (moved: MovedStream | null) => void>();
  readonly #adopting = new Map<number, (fits: boolean) => void>();
  readonly #taking: ((taken: TakenSnapshot) => void)[] = [];
  #stopping = false;

  private constructor(worker: Worker, index: SharedPrefixIndex, restored: RestoredSnapshot | null) {
    this.#worker = worker;
    this.index = index;
    this.restored = restored;
  }

  /**
   * Starts a thread and waits until its index exists.
   *
   * @param script - compiled `ingest-thread`.
   * @param settings - for it.
   * @param listener - hears of it.
   * @returns the thread, ready.
   * @throws Error when it dies before it is ready.
   */
  static async start(script: URL, settings: IngestSettings, listener: IngestListener): Promise<IngestWorker> {
    const worker = new Worker(script, { workerData: settings, name: settings.worker });
    let started: IngestWorker | null = null;
    const ready = new Promise<Extract<FromIngest, { kind: "ready" }>>((resolve, reject) => {
      const died = (error: Error): void => {
        reject(error);
        if (started !== null && !started.#stopping) listener.died(error);
      };
      worker.on("message", (message: FromIngest) => {
        switch (message.kind) {
          case "ready":
            resolve(message);
            break;
          case "unknown_kind":
            listener.unknownKind(message.rankSlot, message.name);
            break;
          case "failed":
            died(Object.assign(new Error(message.error.message), message.error));
            break;
          case "metrics":
            listener.metrics(message.announcement);
            break;
          case "span":
            listener.span(message.span);
            break;
          case "log":
            listener.log(message.line);
            break;
          case "snapshot":
          case "adopted":
          case "released":
          case "forgotten":
            started?.answered(message);
            break;
        }
      });
      worker.on("error", (cause: unknown) => {
        died(cause instanceof Error ? cause : new Error(String(cause)));
      });
      worker.on("exit", (code) => {
        died(new Error(`ingest thread ended with code ${code}`));
      });
    });
    const { index, restored } = await ready;
    started = new IngestWorker(worker, index, restored);
    return started;
  }

  /**
   * Has a rank followed.
   *
   * @param rank - its slot is not in use.
   * @param parked - its stores that wait for parents, from the worker that followed it before.
   */
  follow(rank: FollowedRank, parked: readonly ParkedRecord[] = []): void {
    this.#send({ kind: "follow", rank, parked });
  }

  /**
   * Has a rank followed no more and its blocks left.
   *
   * @param rankSlot - a followed one.
   * @returns what another worker goes on from; null when that cannot be now.
   */
  release(rankSlot: number): Promise<MovedStream | null> {
    return new Promise((resolve) => {
      this.#releasing.set(rankSlot, resolve);
      this.#send({ kind: "release", rankSlot });
    });
  }

  /**
   * Has a rank followed that another worker released.
   *
   * @param rank - its slot is not in use here.
   * @param moved - what that worker left; its rows are given away.
   * @returns false where they do not fit: then the rank is not followed here.
   */
  adopt(rank: FollowedRank, moved: MovedStream): Promise<boolean> {
    return new Promise((resolve) => {
      this.#adopting.set(rank.rankSlot, resolve);
      this.#send({ kind: "adopt", rank, moved }, buffersOf(moved));
    });
  }

  /**
   * Has a rank forgotten.
   *
   * @param rankSlot - a followed one.
   * @returns resolves when nothing of it is in the index: only then may the slot be used again.
   */
  forget(rankSlot: number): Promise<void> {
    return new Promise((resolve) => {
      this.#forgetting.set(rankSlot, resolve);
      this.#send({ kind: "forget", rankSlot });
    });
  }

  /**
   * Has a rank dialled without waiting.
   *
   * @param rankSlot - a followed one.
   */
  redial(rankSlot: number): void {
    this.#send({ kind: "redial", rankSlot });
  }

  /** Copies its streams and its part of the index as they are at one moment. */
  takeSnapshot(): Promise<TakenSnapshot> {
    return new Promise((resolve) => {
      this.#taking.push(resolve);
      this.#send({ kind: "snapshot" });
    });
  }

  /** Resolves what waits for this answer of the thread. Snapshots arrive in the order of their orders. */
  private answered(
    message: Extract<FromIngest, { kind: "snapshot" | "adopted" | "released" | "forgotten" }>,
  ): void {
    switch (message.kind) {
      case "snapshot":
        this.#taking.shift()?.(message.taken);
        break;
      case "adopted":
        this.#adopting.get(message.rankSlot)?.(message.fits);
        this.#adopting.delete(message.rankSlot);
        break;
      case "released":
        this.#releasing.get(message.rankSlot)?.(message.moved);
        this.#releasing.delete(message.rankSlot);
        break;
      case "forgotten":
        this.#forgetting.get(message.rankSlot)?.();
        this.#forgetting.delete(message.rankSlot);
        break;
    }
  }

  /**
   * Ends the thread: asks first, then insists.
   *
   * @returns resolves when it is gone.
   */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    const exited = once(this.#worker, "exit");
    this.#send({ kind: "stop" });
    const insist = setTimeout(() => void this.#worker.terminate(), STOP_GRACE_MS);
    await exited;
    clearTimeout(insist);
  }

  #send(message: ToIngest, given: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, given);
  }
}
