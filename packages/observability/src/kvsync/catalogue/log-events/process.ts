/** Log events of the process: start, stop, faults, and lines of the log about itself. */

import { flag, integer, number, oneOf, orNull, text } from "../../../signals/field.ts";
import { LINE_BOUND_NAMES, logEvents, THREAD } from "../../../signals/log-event.ts";
import { STREAM_STATES, TRUST_LEVELS, TRUST_REASONS } from "../label-domains.ts";
import { ERROR_FIELDS, RANK, WORKER_FIELD } from "./shared-fields.ts";

/** Of `main`. */
export const MAIN_EVENTS = logEvents("main", {
  starting: {
    level: "info",
    message: "starting",
    fields: {
      version: text("version of the daemon"),
      commit: orNull(text("commit that it was built from"), "it runs from a checkout"),
      node: text("version of Node"),
      config_file: orNull(text("path of the configuration file"), "there is none"),
      settings_from: text("flag or variable of each setting that is not from the file"),
      snapshots: text("folder of snapshots, or `off`"),
    },
    cause: "daemon",
    meaning: "The daemon starts. This is the first line.",
    response: null,
  },
  listening: {
    level: "info",
    message: "listening",
    fields: {
      scheme: oneOf(["http", "https"], "protocol"),
      host: text("host of the setting `http.host`"),
      port: integer("port"),
    },
    cause: "daemon",
    meaning: "The HTTP API accepts connections.",
    response: null,
  },
  stopping: {
    level: "info",
    message: "stopping",
    fields: { signal: oneOf(["SIGTERM", "SIGINT"], "signal") },
    cause: "daemon",
    meaning: "The daemon received a signal to stop. It is not ready any more.",
    response: null,
  },
  stopped: {
    level: "info",
    message: "stopped",
    fields: {},
    cause: "daemon",
    meaning: "The daemon has stopped and ends with exit code 0.",
    response: null,
  },
  snapshots_off: {
    level: "warn",
    message: "no snapshots are kept: a restart loses the index; set snapshot.directory",
    fields: {
      folder: text("default folder"),
      reason: text("error of the system, or the daemon that uses it"),
    },
    cause: "daemon",
    meaning:
      "No folder of snapshots is set, and the default folder cannot be written or is used by another daemon.",
    response: "Set `snapshot.directory` to a folder of this daemon alone, on a volume that outlives the pod.",
  },
  folder_not_claimed: {
    level: "warn",
    message: "the folder is used, and another daemon on it would not be noticed",
    fields: {
      setting: text("setting that names the folder"),
      folder: text("its path"),
      reason: text("error of the system"),
    },
    cause: "daemon",
    meaning: "No socket can be made in the folder: it cannot be written, or its file system has no sockets.",
    response:
      "Correct the folder's rights. On a file system without sockets, make sure that each daemon has a folder of its own.",
  },
  start_failed: {
    level: "fatal",
    message: "the daemon could not start",
    fields: ERROR_FIELDS,
    cause: "daemon",
    meaning:
      "The daemon ends before it serves requests. The exit code is 2 for unusable settings, otherwise 1.",
    response:
      "Correct what `error_message` names, for example a port that is in use. With the code `folder_held`, another daemon uses the folder.",
  },
  crash: {
    level: "fatal",
    message: "an error that nothing expected",
    fields: ERROR_FIELDS,
    cause: "daemon",
    meaning: "A fault of the daemon ends the process with exit code 1. A new process rebuilds the index.",
    response: "Report the line to the maintainers of kvsync.",
  },
  ingest_died: {
    level: "fatal",
    message: "the ingest thread died; a restart rebuilds everything",
    fields: ERROR_FIELDS,
    cause: "daemon",
    meaning:
      "A fault in an ingest worker ends the process with exit code 1. The message that it applied is skipped after the restart.",
    response: "Report the line and `message_set_aside` to the maintainers of kvsync.",
  },
  ingest_stalled: {
    level: "fatal",
    message: "an ingest worker did not come back; a restart rebuilds everything",
    fields: { worker: WORKER_FIELD, silent_seconds: number("time without a heartbeat, in seconds") },
    cause: "daemon",
    meaning:
      "An ingest worker sent no heartbeat for `ingest.stall_seconds`. The process ends with exit code 3.",
    response: "Look for a frozen node or a CPU limit that is too small. Report it when neither is the case.",
  },
  stop_overdue: {
    level: "fatal",
    message: "stopping took too long",
    fields: {},
    cause: "daemon",
    meaning: "The daemon did not stop in time and ends with exit code 1. The last snapshot may be missing.",
    response: "Look for slow storage of snapshots, or a small CPU limit.",
  },
  stop_failed: {
    level: "fatal",
    message: "stopping failed",
    fields: ERROR_FIELDS,
    cause: "daemon",
    meaning: "A fault while stopping ends the process with exit code 1.",
    response: "Report the line to the maintainers of kvsync.",
  },
});

/** Of health checks and the watch over exactness. */
export const HEALTH_EVENTS = logEvents("health", {
  check_changed: {
    level: { warn: "the check is unhealthy", info: "it is not" },
    message: { says: "the finding of the check" },
    fields: {
      check: text("name of the check"),
      status: oneOf(["healthy", "degraded", "unhealthy"], "present status"),
      previous: oneOf(["healthy", "degraded", "unhealthy"], "status before"),
      critical: flag("the daemon is unhealthy when this check is"),
    },
    cause: "peer",
    meaning: "The status of a health check has changed.",
    response: "See docs/generated/health-checks.md for the check.",
  },
  started_incomplete: {
    level: "warn",
    message:
      "lookups miss blocks that engines stored before the first message that is still available; this does not end by itself",
    fields: {
      index: oneOf(["own", "previous", "sibling", "none"], "snapshot that the index continues from"),
      ranks: integer("ranks that were waited for"),
      incomplete_ranks: integer("those of them whose history does not reach back to the start of the engine"),
      pod: text("one of their engines"),
      ends_with: text("the events that make such a rank exact"),
    },
    cause: "peer",
    meaning:
      "The daemon became ready, and some ranks are partial with the reason history_incomplete. It is written once.",
    response:
      "Keep snapshots, give engines a larger buffer_steps, or clear the cache of these engines once. `/readyz?verbose` lists the ranks.",
  },
  stream_not_exact: {
    level: "warn",
    message: "a stream is no longer exact, and lookups that involve it answer with less trust",
    fields: {
      ...RANK,
      trust: oneOf(TRUST_LEVELS, "trust of the rank"),
      reason: orNull(oneOf(TRUST_REASONS, "reason, as in docs/generated/trust.md"), "none is known"),
      state: oneOf(STREAM_STATES, "state of the stream"),
      connected: flag("the connection to the engine is open"),
      exact_seconds: number("time for which the stream had been exact, in seconds"),
      losses: integer("times that it stopped being exact since the last such line"),
    },
    cause: "peer",
    meaning:
      "A stream that was exact is not exact any more, for any reason and any worker. A stream has one such line in 30 seconds.",
    response: "docs/generated/trust.md has the reason. `kvsync doctor` looks for the cause.",
  },
  stream_exact_again: {
    level: "warn",
    message: "a stream is exact again",
    fields: {
      ...RANK,
      trust: oneOf(["exact"], "trust of the rank"),
      not_exact_seconds: number("time for which the stream was not exact, in seconds"),
    },
    cause: "peer",
    meaning:
      "The end of what `stream_not_exact` reported. It is a warning too, so that a filter which shows the beginning shows the end.",
    response: null,
  },
});

/** Of the log's level. */
export const LEVEL_EVENTS = logEvents("log", {
  log_level_changed: {
    level: "warn",
    message: "the log's level was changed",
    fields: {
      from: integer("level before"),
      to: integer("level now"),
      seconds: orNull(number("time after which the configured level returns"), "the change stays"),
    },
    cause: "peer",
    meaning: "A caller with the scope admin changed the level of the log.",
    response: null,
  },
});

/** Of the limits on lines. */
export const LIMIT_EVENTS = logEvents(THREAD, {
  lines_left_out: {
    level: "warn",
    message: "more lines than the log takes; some were left out",
    fields: {
      bound: oneOf(LINE_BOUND_NAMES, "limit that was reached"),
      of_event: orNull(text("event of the lines"), "the limit is that of all lines of the thread"),
      lines: integer("number of lines that were left out since the last report"),
      burst_max: integer("limit, in lines at once"),
      per_second_max: integer("limit, in lines per second"),
    },
    cause: "daemon",
    meaning: "A thread had more lines than its limits allow. The component of the main thread is `sync`.",
    response:
      "Lower the level of the log, or find the peer that causes `of_event`. `GET /api/v1/kv-sync/health` counts the streams.",
  },
});

/** Of the web framework. */
export const FRAMEWORK_EVENTS = logEvents("nest", {
  framework: {
    level: { error: "an error of the framework", warn: "a warning of it", debug: "its lines at the start" },
    message: { says: "the framework's own text" },
    fields: { context: orNull(text("part of the framework"), "it named none") },
    cause: "daemon",
    meaning: "A line of the web framework.",
    response: "Report an error to the maintainers of kvsync.",
  },
});

/** Of trace export. */
export const TRACE_EVENTS = logEvents("sync", {
  traces_delivered: {
    level: "info",
    message: "the collector takes spans again",
    fields: { collector: text("origin of the collector") },
    cause: "peer",
    meaning: "The export of spans works again.",
    response: null,
  },
  traces_not_delivered: {
    level: "warn",
    message: "the collector does not take spans; they are lost until it does",
    fields: {
      collector: text("origin of the collector"),
      reason: text("HTTP status, code of the system, or class of the error"),
    },
    cause: "peer",
    meaning: "The collector is unreachable or refuses spans. Spans are lost until it accepts them.",
    response: "Check `tracing.endpoint` and the collector.",
  },
});
