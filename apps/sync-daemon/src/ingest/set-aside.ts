/**
 * The messages during which a process of this daemon died: written down by the dying process, passed
 * over by the next one.
 *
 *     worker ─▶ board: "at message n of rank r"        two writes to shared memory a message
 *     worker dies or stalls ─▶ main thread reads that ─▶ FILE ─▶ exit ─▶ next start ─▶ ranks to follow
 *     process is killed ─▶ next start reads message-journal.ts ─▶ FILE ─▶ ranks to follow
 *
 * A message is named by its stream (worker, DP rank, endpoint), its number, its batch timestamp and
 * its length. So the same number of a restarted engine is another message. Without a folder nothing
 * is remembered.
 *
 * Invariants
 *  S1  At most ENTRIES_MAX messages are remembered, the newest ones.
 *  S2  A file that cannot be read or written costs the memory of past deaths, never the process.
 *
 * Not here: the record of the message that a killed process worked on (message-journal.ts).
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { z } from "zod";

import { makeFolder } from "../folder.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { MessageIdentity } from "../message-identity.ts";
import type { WriteEvent } from "../log/log-line.ts";

/** In the daemon's folder of states. */
const FILE = "set-aside.json";
/** A crash adds one; more than these in one file are the trace of a fault that setting aside does not help. */
const ENTRIES_MAX = 64;

const entry = z.object({
  worker_id: z.string(),
  dp_rank: z.number(),
  endpoint: z.string(),
  sequence_number: z.number(),
  /** JSON has no spelling for a number that is not finite. */
  timestamp_seconds: z.union([z.number(), z.enum(["NaN", "Infinity", "-Infinity"]).transform(Number)]),
  bytes: z.number(),
  /** What happened to the process. */
  cause: z.enum(["died", "stalled", "killed"]),
  at: z.string(),
});
const contents = z.array(entry).max(ENTRIES_MAX);

type Entry = z.output<typeof entry>;

/** The rank whose message it was. */
export type SetAsideOwner = Pick<FollowedRank, "workerId" | "dpRank" | "endpoint">;

/** What is remembered of past deaths. */
export class SetAsideMessages {
  readonly #folder: string | null;
  readonly #log: WriteEvent;
  #entries: Entry[] = [];

  /**
   * Reads the file.
   *
   * @param folder - of states; null to remember nothing.
   * @param log - is told what is set aside, and what could not be read or written.
   */
  constructor(folder: string | null, log: WriteEvent) {
    this.#folder = folder;
    this.#log = log;
    if (folder === null) return;
    try {
      this.#entries = contents.parse(JSON.parse(readFileSync(join(folder, FILE), "utf8")));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") this.#failed("set_aside_unreadable", error);
    }
  }

  /** Logs every message that is passed over in this run. */
  tell(): void {
    for (const one of this.#entries) {
      const { worker_id: pod, dp_rank, cause, sequence_number, at: ended_at } = one;
      const text =
        "the process ended during a message of this engine; the message is passed over from now on";
      this.#log("message_set_aside", { pod, dp_rank, cause, sequence_number, ended_at }, { text });
    }
  }

  /**
   * The messages of a rank that must not be applied.
   *
   * @param rank - to be followed.
   * @returns a list that is nearly always empty.
   */
  of({ workerId, dpRank, endpoint }: SetAsideOwner): MessageIdentity[] {
    return this.#entries
      .filter((one) => one.worker_id === workerId && one.dp_rank === dpRank && one.endpoint === endpoint)
      .map((one) => ({
        sequenceNumber: one.sequence_number,
        timestampSeconds: one.timestamp_seconds,
        bytes: one.bytes,
      }));
  }

  /**
   * Writes a message down, at once: the process is about to end, or has just started.
   *
   * @param owner - whose it was.
   * @param message - which.
   * @param cause - what happened during it.
   */
  add({ workerId, dpRank, endpoint }: SetAsideOwner, message: MessageIdentity, cause: Entry["cause"]): void {
    if (this.#folder === null) return;
    const known = this.of({ workerId, dpRank, endpoint });
    if (known.some((one) => isDeepStrictEqual(one, message))) return;
    this.#entries.push({
      worker_id: workerId,
      dp_rank: dpRank,
      endpoint,
      sequence_number: message.sequenceNumber,
      timestamp_seconds: message.timestampSeconds,
      bytes: message.bytes,
      cause,
      at: new Date().toISOString(),
    });
    const path = join(this.#folder, FILE);
    try {
      makeFolder(this.#folder);
      writeFileSync(`${path}.new`, JSON.stringify(this.#entries.slice(-ENTRIES_MAX), spelled, 1), {
        mode: 0o600,
      });
      renameSync(`${path}.new`, path);
    } catch (error) {
      this.#failed("set_aside_unwritable", error);
    }
  }

  #failed(code: "set_aside_unreadable" | "set_aside_unwritable", error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#log(code, { file: FILE }, { text });
  }
}

function spelled(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
