/** Log events of snapshots, and of what the daemon keeps over a restart. */

import { integer, oneOf, orAbsent, text } from "../../../signals/field.ts";
import { logEvents } from "../../../signals/log-event.ts";
import { POD_FIELD, SEQUENCE_NUMBER, WORKER_FIELD } from "./shared-fields.ts";

const ORIGIN = oneOf(
  ["own", "previous", "sibling"],
  "the daemon's last snapshot, the one before it, or that of another daemon",
);

/** Of snapshots. */
export const SNAPSHOT_EVENTS = logEvents("snapshot", {
  snapshot_written: {
    level: "info",
    message: "wrote a snapshot",
    fields: {
      path: text("path of the file"),
      rows: integer("blocks in the file"),
      bytes: integer("size of the file"),
      streams: integer("streams in the file"),
      stood_still_ms: integer("time that ingest stood still, in milliseconds"),
    },
    cause: "peer",
    meaning: "A snapshot of the index was written.",
    response: null,
  },
  snapshot_failed: {
    level: "error",
    message: { says: "the error" },
    fields: { folder: text("folder of snapshots") },
    cause: "peer",
    meaning: "A snapshot could not be written. Earlier files stay, and the next one is tried as usual.",
    response: "Free the disk or correct the folder. See the runbook SnapshotStale.",
  },
  snapshot_loaded: {
    level: "info",
    message: "continues from a snapshot",
    fields: {
      origin: ORIGIN,
      path: text("path of the file"),
      rows: integer("blocks in the file"),
      streams: integer("streams in the file"),
      age_seconds: integer("age of the snapshot"),
    },
    cause: "daemon",
    meaning: "The index was filled from a snapshot at the start.",
    response: null,
  },
  snapshot_refused: {
    level: "warn",
    message: { says: "the file and what is wrong with it" },
    fields: {
      origin: ORIGIN,
      code: text("kind of the error; `unused` when ingest did not try"),
    },
    cause: "daemon",
    meaning:
      "A snapshot was found at the start and is not used. The next origin is tried, then a cold start.",
    response: "Nothing after an upgrade with another format. Otherwise look for a disk that damages files.",
  },
});

const SET_ASIDE_FILE = text("name of the file in the state directory");

/** Of messages during which the process ended. */
export const RUN_EVENTS = logEvents("sync", {
  message_set_aside: {
    level: "warn",
    message: { says: "when the process ended, and that the message is passed over" },
    fields: {
      pod: POD_FIELD,
      dp_rank: integer("data-parallel rank of the engine, from 0"),
      cause: oneOf(["died", "stalled", "killed"], "how the process ended"),
      sequence_number: SEQUENCE_NUMBER,
      worker: orAbsent(WORKER_FIELD, "the line is written at the next start"),
      ended_at: orAbsent(text("ISO time of the end"), "the process is ending"),
    },
    cause: "peer",
    meaning:
      "The process ended while it applied a message of this engine. Later runs skip the message, and the rank is stale.",
    response:
      "Report the line to the maintainers of kvsync. Delete `set-aside.json` to have the message applied.",
  },
  set_aside_unreadable: {
    level: "warn",
    message: { says: "the error" },
    fields: { file: SET_ASIDE_FILE },
    cause: "daemon",
    meaning: "The file of skipped messages cannot be read. Those messages are applied again.",
    response: "Delete the file, or correct its permissions.",
  },
  set_aside_unwritable: {
    level: "warn",
    message: { says: "the error" },
    fields: { file: SET_ASIDE_FILE },
    cause: "daemon",
    meaning: "The file of skipped messages cannot be written. The message may end the next process too.",
    response: "Free the disk, or correct the permissions of the state directory.",
  },
  run_was_killed: {
    level: "warn",
    message: "the last run did not end by itself; messages are recorded before they are applied",
    fields: {
      messages_at_hand: integer("messages that the workers of that run were applying"),
      seconds: integer("time for which messages are recorded"),
    },
    cause: "daemon",
    meaning: "The process before this one was killed, for example for its memory.",
    response: "Look for an out-of-memory kill: `kubectl describe pod` has the reason.",
  },
  run_journal_failed: {
    level: "warn",
    message: { says: "the error" },
    fields: { file: SET_ASIDE_FILE },
    cause: "daemon",
    meaning:
      "The record of messages that are being applied cannot be read or written. A message that kills the process is not found.",
    response: "Free the disk, or correct the permissions of the state directory.",
  },
});
