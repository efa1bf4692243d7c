/** Log events of the endpoint picker. */

import { integer, number, oneOf, orNull, text } from "../../../signals/field.ts";
import { logEvents } from "../../../signals/log-event.ts";
import { TRUST_LEVELS } from "../label-domains.ts";
import { NAMESPACE } from "../../namespace.ts";
import { PICK_DECISIONS, PICK_REASONS, SHARD_OUTCOMES } from "../picker.ts";
import { ERROR_FIELDS } from "./shared-fields.ts";

/** Of the picker's threads, and of their watch on the main thread. */
export const PICKER_EVENTS = logEvents("picker", {
  picker_listening: {
    level: "info",
    message: "the picker listens",
    fields: {
      host: text("host of the setting `picker.host`"),
      port: orNull(integer("port for gateways"), "`picker.port` is 0"),
      health_port: orNull(integer("port for health checks"), "`picker.health_port` is 0"),
      threads: integer("threads that pick"),
    },
    cause: "daemon",
    meaning: "The endpoint picker runs, and gateways can connect to it.",
    response: null,
  },
  endpoints_refused: {
    level: "warn",
    message: "addresses of engines are no endpoints: no request is sent there",
    fields: { addresses: text("the first of them"), count: integer("number of them") },
    cause: "daemon",
    meaning:
      "Addresses in `http` belong to another engine already, fit neither one address nor one per DP rank, or are too many.",
    response: "Correct the entries of these engines.",
  },
  pool_current: {
    level: "info",
    message: "the pool is up to date",
    fields: { pool: text("name of the InferencePool") },
    cause: "peer",
    meaning: "The pods of the pool are the picker's endpoints, and changes are followed.",
    response: null,
  },
  pool_stale: {
    level: "warn",
    message: { says: "why the pool's endpoints may be others by now" },
    fields: { pool: text("name of the InferencePool") },
    cause: "peer",
    meaning:
      "The InferencePool is not there, selects nothing or has no ports, or the API server does not answer. Requests go to the last endpoints.",
    response: "The text has the reason. Correct the name, the pool or the account's rights.",
  },
  pool_ports_unusable: {
    level: "warn",
    message: { says: "the pod, its annotation, and what was expected" },
    fields: { pool: text("name of the InferencePool") },
    cause: "peer",
    meaning: "`model.aibrix.ai/http-ports` of a pod is no list of ports.",
    response: "Correct the annotation of the pod in the text.",
  },
  request_decided: {
    level: "debug",
    message: "decided about a request",
    fields: {
      request_id: orNull(text("header `x-request-id`"), "it is no UUID"),
      endpoint: orNull(text("first endpoint of the pick"), "there is no pick"),
      pod: orNull(text("id of its engine"), "there is no pick"),
      model: orNull(text("model, as engines serve it"), "no engine serves it"),
      decision: oneOf(PICK_DECISIONS, "fact that decided"),
      reason: oneOf(PICK_REASONS, "why the index did not decide"),
      matched_tokens: integer("tokens that the engine is expected to have cached"),
      prompt_tokens: integer("tokens of the prompt, by its bytes where they are not known"),
      trust: oneOf(TRUST_LEVELS, "trust in the matched tokens"),
      cost: orNull(number("cost of the first endpoint, in tokens of prefill"), "there is no pick"),
      next_cost: orNull(number("cost of the endpoint after it"), "none is named after it"),
      duration_ms: number("time of the decision, in milliseconds"),
    },
    cause: "peer",
    meaning: "The picker decided about a request of a gateway.",
    response: null,
  },
  picker_shard_missing: {
    level: "warn",
    message: "a shard does not answer the picker: picks are made without its engines' matches",
    fields: {
      shard: integer("number of the shard, from 0"),
      reason: oneOf(SHARD_OUTCOMES, `why, as in \`${NAMESPACE}_kv_picker_shard_lookups_total\``),
      url: orNull(text("address of the replica that was asked last"), "none was asked"),
    },
    cause: "peer",
    meaning:
      "A pick had no usable answer of any replica of the shard. Its engines can still be picked, as engines without a match. The line is written once until the shard answers again.",
    response: "Follow the runbook PickerShardMissing.",
  },
  picker_shard_back: {
    level: "info",
    message: "a shard answers the picker again",
    fields: { shard: integer("number of the shard, from 0") },
    cause: "peer",
    meaning: "Picks have the matches of the shard's engines again.",
    response: null,
  },
  picker_shards_file_refused: {
    level: "error",
    message: "a file for the connections to shards cannot be read: the last content stays in use",
    fields: {
      setting: oneOf(["picker.shards.token_file", "picker.shards.ca_file"], "which file"),
      error: text("why"),
    },
    cause: "daemon",
    meaning: "The file of a token or of authorities is gone, or its rights are too few.",
    response: "Correct the file. It is read again after `security.reload_seconds`.",
  },
  sharing_connected: {
    level: "info",
    message: "the picker shares its decisions with others",
    fields: { subject: text("NATS subject, the setting `picker.share.subject`") },
    cause: "peer",
    meaning: "The picker is connected to NATS.",
    response: null,
  },
  sharing_lost: {
    level: "warn",
    message: "the picker cannot share its decisions: it decides by its own and by scraping",
    fields: {
      error: text("the client's error"),
      unsent: integer("own messages that were not sent, since the start"),
      dropped: integer("messages of others that were not taken, since the start"),
    },
    cause: "peer",
    meaning:
      "NATS is away or refuses the picker. Requests are picked for as before, with more of them at one engine. It is tried again twice a second.",
    response: "Look at NATS and at the settings `picker.share`.",
  },
  picker_drained: {
    level: "info",
    message: "the picker has no open request any more",
    fields: {
      seconds: number("time since the signal, in seconds"),
      reset: integer("requests that were open at the end of `picker.drain_seconds`, and were reset"),
    },
    cause: "daemon",
    meaning: "The daemon stops: the open requests of gateways have ended.",
    response:
      "With `reset` above 0: a longer `picker.drain_seconds`, and as much time for the process to stop.",
  },
  picker_died: {
    level: "fatal",
    message: "a thread of the picker died",
    fields: ERROR_FIELDS,
    cause: "daemon",
    meaning: "A fault in a thread of the picker ends the process with exit code 1.",
    response: "Report the line to the maintainers of kvsync.",
  },
  picker_stalled: {
    level: "fatal",
    message: "a thread of the picker did not come back",
    fields: {
      thread: integer("number of the thread, from 0"),
      silent_seconds: number("time without a heartbeat, in seconds"),
    },
    cause: "daemon",
    meaning:
      "A thread of the picker sent no heartbeat for `ingest.stall_seconds`. The process ends with exit code 3.",
    response: "Look for a frozen node or a CPU limit that is too small. Report it when neither is the case.",
  },
});
