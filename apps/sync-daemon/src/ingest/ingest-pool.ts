/**
 * The ingest workers together: which worker follows which rank, and moving a stream from a busy
 * worker to an idle one. Each worker has a part of the index, with all rows of its ranks.
 *
 *     rank ──follow──▶ the worker that has its rows from a snapshot, else the one with the fewest ranks
 *                        │ once a second: utilization of all workers
 *                        ▼
 *     busiest − idlest > SPREAD, three times in a row ──▶ one stream: release ─▶ position, parked stores, rows ─▶ adopt there ─▶ forget here
 *
 * Invariants
 *  P1  A rank is followed by one worker at a time: the next one follows after the one before has answered.
 *  P2  A stream that moves keeps its blocks; its publisher proves itself at the new connection, and
 *      messages sent in between are replayed. So a move costs a moment of `stale`, never an answer.
 *      A stream whose rows do not fit stays.
 *  P3  Each stream is in one part of a snapshot, with the rows that it had at its position. Parts are copied at
 *      moments of their own: nothing in a rank depends on another one.
 *
 * `stream-choice.ts` chooses the worker of a new rank, and the stream that moves.
 */

import { assert, type ParkedRecord, type SharedIndexParts } from "@kvsync/core";
import { openLabel } from "@kvsync/observability/definition";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import type { Counter, MetricSlots, SlotAnnouncement } from "@kvsync/observability/slots";

import type { RankFollower } from "../engine/engine-registry.ts";
import type { LogLine, WriteEvent } from "../log/log-line.ts";
import type { TakenSnapshot } from "../snapshot/taken-snapshot.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import { IngestWorker } from "./ingest-worker.ts";
import type { BoardReader } from "../board/stream-board.ts";
import { UnknownKinds } from "../board/unknown-kinds.ts";
import type { SetAsideMessages } from "./set-aside.ts";
import { StallWatch } from "./stall-watch.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { RestoredSnapshot } from "../snapshot/restored-snapshot.ts";
import { streamToMove, workerForRank } from "./stream-choice.ts";
import type { IngestSettings } from "./thread-messages.ts";

const LOOK_MS = 1000;
/** Difference of busy shares that is worth moving a stream for; alerts complain at 0.4. */
const SPREAD = 0.25;
/** Looks in a row that have to show it: a burst is no reason. */
const LOOKS_MIN = 3;

/** What a pool needs. */
export interface PoolDependencies {
  readonly script: URL;
  readonly board: BoardReader;
  /** Of the main thread: moves are counted. */
  readonly metrics: MetricSlots;
  readonly announce: (announcement: SlotAnnouncement) => void;
  readonly log: WriteEvent;
  /** Hears lines that a worker has decided to write. */
  readonly threadLine: (line: LogLine) => void;
  /** Hears of spans that a worker has chosen. */
  readonly span: (span: FinishedSpan) => void;
  readonly died: (error: Error) => void;
  /** A worker has shown no sign of life for `stallMs`. */
  readonly stalled: (worker: string, silentSeconds: number) => void;
  readonly stallMs: number;
  /** What was written down of past deaths, and takes this one's. */
  readonly setAside: SetAsideMessages;
}

interface Assignment {
  rank: FollowedRank;
  worker: number;
  movedMs: number;
  /** Messages applied at the last look, and since the one before. */
  applied: number;
  rate: number;
}

/** All ingest workers of a daemon. */
export class IngestPool implements RankFollower {
  /** Of each rank's KV-cache groups. */
  readonly unknownKinds = new UnknownKinds();
  readonly #workers: readonly IngestWorker[];
  readonly #dependencies: PoolDependencies;
  readonly #assignments = new Map<number, Assignment>();
  /** Of a snapshot, by rank slot, until their rank is followed or forgotten. */
  readonly #parked: Map<number, readonly ParkedRecord[]>;
  /** The worker that has a rank's rows of a snapshot, likewise. */
  readonly #restoredAt = new Map<number, number>();
  readonly #homes: SharedArrayBuffer;
  /** By worker: there from the start, so that none moved is a figure too. */
  readonly #stolen: readonly Counter[];
  /** Moves under way, by rank slot. */
  readonly #moving = new Map<number, Promise<void>>();
  readonly #stallWatch: StallWatch;
  #timer: NodeJS.Timeout | null = null;
  #looksSpread = 0;

  private constructor(
    workers: readonly IngestWorker[],
    homes: SharedArrayBuffer,
    dependencies: PoolDependencies,
  ) {
    this.#workers = workers;
    this.#homes = homes;
    this.#dependencies = dependencies;
    const { board, log, stalled, stallMs } = dependencies;
    const lost = (number: number, silentMs: number): void => {
      this.#writeDown(number, "stalled");
      stalled(`ingest-${number}`, silentMs / 1000);
    };
    this.#stallWatch = new StallWatch(board, stallMs, {
      lost,
      told: (news, number, silent_seconds) => {
        const code = news === "stalled" ? "worker_stalled" : "worker_resumed";
        log(code, { worker: `ingest-${number}`, silent_seconds });
      },
    });
    this.#stolen = workers.map((_, number) =>
      dependencies.metrics.counter(STREAM_METRICS.streamWorkStolen, {
        worker: openLabel("worker", `ingest-${number}`),
      }),
    );
    const { restored } = this;
    this.#parked = new Map(restored?.kind === "restored" ? restored.parked : []);
    for (const [number, worker] of workers.entries())
      if (worker.restored?.kind === "restored")
        for (const { rankSlot } of worker.restored.streams) this.#restoredAt.set(rankSlot, number);
  }

  /**
   * Starts the workers, each with its part of the index.
   *
   * @param settings - of each, in order.
   * @param dependencies - who hears.
   * @returns the pool, following nothing yet.
   */
  static async start(
    settings: readonly IngestSettings[],
    dependencies: PoolDependencies,
  ): Promise<IngestPool> {
    let pool: IngestPool | null = null;
    const start = (own: IngestSettings, number: number): Promise<IngestWorker> =>
      IngestWorker.start(dependencies.script, own, {
        metrics: dependencies.announce,
        log: dependencies.threadLine,
        span: dependencies.span,
        unknownKind: (rankSlot, kind) => {
          pool?.unknownKinds.note(rankSlot, kind);
        },
        died: (error) => {
          if (pool !== null) pool.#writeDown(number, "died");
          dependencies.died(error);
        },
      });
    const [first] = settings;
    assert(first !== undefined, "a pool has at least one worker");
    const workers = await Promise.all(settings.map(start));
    pool = new IngestPool(workers, first.homes, dependencies);
    pool.#stallWatch.start();
    if (workers.length > 1) pool.#balance();
    return pool;
  }

  /** The index that they write, each its part. */
  get index(): SharedIndexParts {
    return { parts: this.#workers.map(({ index }) => index), homes: this.#homes };
  }

  /**
   * What became of the snapshot to start from; null when there was none. A part that could not be filled begins cold, and so do
   * its streams.
   */
  get restored(): RestoredSnapshot | null {
    const outcomes = this.#workers.flatMap(({ restored }) => restored ?? []);
    const parts = outcomes.filter((outcome) => outcome.kind === "restored");
    if (parts.length === 0) return outcomes[0] ?? null;
    return {
      kind: "restored",
      createdMs: Math.min(...parts.map(({ createdMs }) => createdMs)),
      rows: parts.reduce((sum, { rows }) => sum + rows, 0),
      streams: parts.flatMap(({ streams }) => streams),
      parked: new Map(parts.flatMap(({ parked }) => [...parked])),
    };
  }

  /** {@inheritDoc RankFollower.follow} */
  follow(wanted: FollowedRank): void {
    const setAside = this.#dependencies.setAside.of(wanted);
    const rank = setAside.length === 0 ? wanted : { ...wanted, setAside };
    assert(!this.#assignments.has(rank.rankSlot), "P1: a worker follows the rank already");
    const worker =
      this.#restoredAt.get(rank.rankSlot) ??
      workerForRank(rank.model, this.#workers.length, [...this.#assignments.values()]);
    this.#restoredAt.delete(rank.rankSlot);
    this.#assignments.set(rank.rankSlot, {
      rank,
      worker,
      movedMs: Number.NEGATIVE_INFINITY,
      applied: 0,
      rate: 0,
    });
    const parked = rank.resumeFrom === null ? [] : (this.#parked.get(rank.rankSlot) ?? []);
    this.#parked.delete(rank.rankSlot);
    this.#workers[worker]?.follow(rank, parked);
  }

  /** {@inheritDoc RankFollower.forget} */
  async forget(rankSlot: number): Promise<void> {
    await this.#moving.get(rankSlot);
    const worker = this.#assignments.get(rankSlot)?.worker ?? this.#restoredAt.get(rankSlot) ?? 0;
    this.#assignments.delete(rankSlot);
    this.#restoredAt.delete(rankSlot);
    this.#parked.delete(rankSlot);
    await this.#workers[worker]?.forget(rankSlot);
    this.unknownKinds.forget(rankSlot);
  }

  /** {@inheritDoc RankFollower.redial} */
  redial(rankSlot: number): void {
    const assignment = this.#assignments.get(rankSlot);
    if (assignment !== undefined) this.#workers[assignment.worker]?.redial(rankSlot);
  }

  /**
   * Copies streams and index (P3).
   *
   * @returns the snapshot, to be written.
   */
  async takeSnapshot(): Promise<TakenSnapshot> {
    await Promise.all(this.#moving.values());
    // Orders of moves and of new ranks come to each worker after this one: no rank is copied twice, or by none.
    const parts = await Promise.all(this.#workers.map((worker) => worker.takeSnapshot()));
    return {
      takenMs: Math.min(...parts.map(({ takenMs }) => takenMs)),
      stoodStillMs: Math.max(...parts.map(({ stoodStillMs }) => stoodStillMs)),
      streams: parts.flatMap(({ streams }) => streams),
      copies: parts.flatMap(({ copies }) => copies),
    };
  }

  /**
   * Ends all workers.
   *
   * @returns resolves when they are gone.
   */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#stallWatch.stop();
    await Promise.all(this.#moving.values());
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }

  /** The message that a worker was at when it ended or stopped is not applied again. */
  #writeDown(number: number, cause: "died" | "stalled"): void {
    const { board, setAside, log } = this.#dependencies;
    const at = board.messageAt(number);
    const rank = at === null ? undefined : this.#assignments.get(at.rankSlot)?.rank;
    if (at === null || rank === undefined) return;
    setAside.add(rank, at.message, cause);
    const facts = { pod: rank.workerId, dp_rank: rank.dpRank, worker: `ingest-${number}`, cause };
    const text =
      "an ingest worker ended during a message of this engine; it is passed over after the restart";
    log("message_set_aside", { ...facts, sequence_number: at.message.sequenceNumber }, { text });
  }

  #balance(): void {
    this.#timer = setInterval(() => {
      this.#look();
    }, LOOK_MS);
    this.#timer.unref();
  }

  #look(): void {
    const { board } = this.#dependencies;
    for (const [slot, assignment] of this.#assignments) {
      const applied = board.report(slot).counters.messagesApplied;
      // A stream that moved counts anew.
      assignment.rate = Math.max(0, applied - assignment.applied);
      assignment.applied = applied;
    }
    const shares = this.#workers.map((_, number) => board.worker(number).utilization);
    const spread = Math.max(...shares) - Math.min(...shares);
    this.#looksSpread = spread > SPREAD ? this.#looksSpread + 1 : 0;
    if (this.#looksSpread < LOOKS_MIN || this.#moving.size > 0) return;
    const from = shares.indexOf(Math.max(...shares));
    const own = [...this.#assignments].filter(([, { worker }]) => worker === from);
    const slot = streamToMove(own, spread / (shares[from] ?? 1), performance.now());
    if (slot === null) return;
    this.#looksSpread = 0;
    this.#move(slot, shares.indexOf(Math.min(...shares)));
  }

  #move(rankSlot: number, to: number): void {
    const moving = this.#moveNow(rankSlot, to).finally(() => {
      this.#moving.delete(rankSlot);
    });
    this.#moving.set(rankSlot, moving);
  }

  /** P1, P2. */
  async #moveNow(rankSlot: number, to: number): Promise<void> {
    const { log } = this.#dependencies;
    const assignment = this.#assignments.get(rankSlot);
    const target = this.#workers[to];
    if (assignment === undefined || target === undefined) return;
    const from = assignment.worker;
    const source = this.#workers[from];
    const moved = await source?.release(rankSlot);
    assignment.movedMs = performance.now();
    if (source === undefined || moved === null || moved === undefined) return;
    assert(
      this.#assignments.get(rankSlot) === assignment,
      "P1: the rank was forgotten or moved during its move",
    );
    const { workerId: pod, model, dpRank: dp_rank } = assignment.rank;
    assignment.applied = 0;
    if (!(await target.adopt(assignment.rank, moved))) {
      source.follow({ ...assignment.rank, resumeFrom: moved.position }, moved.parked);
      log("stream_stayed", { pod, model, dp_rank, from, to });
      return;
    }
    assignment.worker = to;
    await source.forget(rankSlot);
    this.#stolen[to]?.inc();
    log("stream_moved", { pod, model, dp_rank, from, to });
  }
}
