/**
 * A file that outlives the process: whether the last run ended by itself, and the message that each
 * worker was at when it did not.
 *
 *   start ─▶ FILE is there? ─ no ──▶ make it, empty. Nothing writes it. A clean stop removes it.
 *                           └ yes ─▶ sections ─▶ set aside (set-aside.ts); zeros
 *
 * After a killed run the workers write their sections for WATCH_MS.
 *
 *   section of a worker, 4,096 bytes
 *     ┌ u32 bytes of the names, 0 between messages ┬ u32 0 ┬ f64 number ┬ f64 timestamp ┬ f64 length ┬ names: JSON ┐
 *
 * A message that kills the process comes again by replay after the restart. So the first start after
 * a kill is early enough to look, and a run that follows a clean stop pays nothing.
 *
 * Invariants
 *  J1  After a clean stop there is no file, and the next run writes no section. After every other end of a process that had
 *      begun to follow engines there is a file.
 *  J2  A section names a message from before it is applied until the slice in which it was ends.
 *  J3  A file that cannot be read or written costs the memory of past deaths, never the process.
 *
 * Not here: a message whose engine does not replay it; it does not come again. Whether the kill had
 * to do with the message: any of the workers' messages may be the one, so each is set aside.
 */
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { makeFolder } from "../folder.ts";
import { INGEST_WORKERS_MAX } from "../board/stream-board.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { WriteEvent } from "../log/log-line.ts";
import type { MessageIdentity } from "../message-identity.ts";

/** In the daemon's folder of states. */
const FILE = "run.journal";
const SECTION_BYTES = 4096;
const NAMES_FROM = 32;
/** Time after the start in which a message that killed the run before has come again. */
const WATCH_MS = 600_000;

const names = z.object({ worker_id: z.string(), dp_rank: z.number(), endpoint: z.string() });

/** The rank whose message it is. */
export type MessageOwner = Pick<FollowedRank, "workerId" | "dpRank" | "endpoint">;

/** What a worker needs to write its section. */
export interface JournalOrder {
  readonly path: string;
  /** Milliseconds since the Unix epoch. */
  readonly untilMs: number;
}

/** The main thread's side: the file is there from the start of a run until its clean stop. */
export class RunJournal {
  readonly #path: string | null;
  readonly #log: WriteEvent;
  /** Messages that the workers of a killed run were at. */
  readonly found: readonly { readonly owner: MessageOwner; readonly message: MessageIdentity }[];
  /** Null when the workers write nothing. */
  readonly order: JournalOrder | null;

  /**
   * Begins a run.
   *
   * @param folder - of states; null to remember nothing.
   * @param log - is told of a killed run, and of a file that could not be read or written.
   * @param nowMs - milliseconds since the Unix epoch.
   */
  constructor(folder: string | null, log: WriteEvent, nowMs: number) {
    this.#log = log;
    this.#path = folder === null ? null : join(folder, FILE);
    const path = this.#path;
    if (folder === null || path === null) {
      [this.found, this.order] = [[], null];
      return;
    }
    const wasKilled = existsSync(path);
    this.found = wasKilled ? this.#read(path) : [];
    const isWritten = this.#try(() => {
      makeFolder(folder);
      writeFileSync(path, Buffer.alloc(wasKilled ? INGEST_WORKERS_MAX * SECTION_BYTES : 0), { mode: 0o600 });
    });
    this.order = wasKilled && isWritten ? { path, untilMs: nowMs + WATCH_MS } : null;
    if (!wasKilled) return;
    log("run_was_killed", { messages_at_hand: this.found.length, seconds: WATCH_MS / 1000 });
  }

  /** Ends the run: the next one begins after a clean stop (J1). */
  end(): void {
    const path = this.#path;
    if (path !== null)
      this.#try(() => {
        rmSync(path, { force: true });
      });
  }

  #read(path: string): RunJournal["found"] {
    let bytes = Buffer.alloc(0);
    this.#try(() => {
      bytes = readFileSync(path);
    });
    const found: RunJournal["found"][number][] = [];
    for (
      let at = 0;
      at + SECTION_BYTES <= Math.min(bytes.length, INGEST_WORKERS_MAX * SECTION_BYTES);
      at += SECTION_BYTES
    )
      this.#try(() => {
        const one = sectionOf(bytes.subarray(at, at + SECTION_BYTES));
        if (one !== null) found.push(one);
      });
    return found;
  }

  #try(step: () => void): boolean {
    try {
      step();
      return true;
    } catch (error) {
      logFailure(this.#log, error);
      return false;
    }
  }
}

function sectionOf(section: Buffer): RunJournal["found"][number] | null {
  const length = section.readUInt32LE(0);
  if (length === 0) return null;
  const text = section.toString("utf8", NAMES_FROM, NAMES_FROM + length);
  const { worker_id, dp_rank, endpoint } = names.parse(JSON.parse(text));
  return {
    owner: { workerId: worker_id, dpRank: dp_rank, endpoint },
    message: {
      sequenceNumber: section.readDoubleLE(8),
      timestampSeconds: section.readDoubleLE(16),
      bytes: section.readDoubleLE(24),
    },
  };
}

/** A worker's side: its section. */
export class MessageJournal {
  readonly #log: WriteEvent;
  readonly #untilMs: number;
  readonly #from: number;
  /** Null after the watch. */
  #file: number | null = null;
  #isAtRest = true;

  /**
   * Opens the file; it exists.
   *
   * @param order - of the main thread.
   * @param workerNumber - whose section.
   * @param log - is told when it cannot be written.
   */
  constructor({ path, untilMs }: JournalOrder, workerNumber: number, log: WriteEvent) {
    this.#log = log;
    this.#untilMs = untilMs;
    this.#from = workerNumber * SECTION_BYTES;
    try {
      this.#file = openSync(path, "r+");
    } catch (error) {
      logFailure(log, error);
    }
  }

  /**
   * The record of a rank's messages; made once a stream.
   *
   * @param owner - whose they are.
   * @returns bytes with the names; null when they are too long for a section.
   */
  static record({ workerId, dpRank, endpoint }: MessageOwner): Buffer | null {
    const text = Buffer.from(JSON.stringify({ worker_id: workerId, dp_rank: dpRank, endpoint }));
    if (NAMES_FROM + text.length > SECTION_BYTES) return null;
    const record = Buffer.alloc(NAMES_FROM + text.length);
    record.writeUInt32LE(text.length, 0);
    record.set(text, NAMES_FROM);
    return record;
  }

  /**
   * The worker is about to apply a message, or another part of it (J2).
   *
   * @param record - of its rank.
   * @param message - which.
   */
  at(record: Buffer, { sequenceNumber, timestampSeconds, bytes }: MessageIdentity): void {
    if (this.#file === null) return;
    record.writeDoubleLE(sequenceNumber, 8);
    record.writeDoubleLE(timestampSeconds, 16);
    record.writeDoubleLE(bytes, 24);
    this.#isAtRest = false;
    this.#write(record);
  }

  /** The worker is at no message. */
  rest(): void {
    if (this.#file === null || this.#isAtRest) return;
    this.#isAtRest = true;
    this.#write(AT_REST);
  }

  /**
   * Ends the watch when its time is over.
   *
   * @param nowMs - milliseconds since the Unix epoch.
   */
  tick(nowMs: number): void {
    if (this.#file !== null && nowMs > this.#untilMs) this.close();
  }

  /** Writes no more. */
  close(): void {
    this.rest();
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #write(bytes: Buffer): void {
    if (this.#file === null) return;
    try {
      writeSync(this.#file, bytes, 0, bytes.length, this.#from);
    } catch (error) {
      logFailure(this.#log, error);
      const file = this.#file;
      this.#file = null;
      closeSync(file);
    }
  }
}

const AT_REST = Buffer.alloc(4);

function logFailure(log: WriteEvent, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  log("run_journal_failed", { file: FILE }, { text });
}
