/** Log events of the HTTP API, its security, lookups and the tokenizer. */

import { NAMESPACE } from "../../namespace.ts";
import { integer, number, oneOf, orNull, text } from "../../../signals/field.ts";
import { logEvents } from "../../../signals/log-event.ts";
import { LOOKUP_DECISIONS } from "../routing.ts";
import { TRUST_LEVELS } from "../label-domains.ts";
import { TOKENIZER_FAILURES, TOKENIZER_OUTCOMES } from "../tokenizer.ts";
import { ERROR_FIELDS } from "./shared-fields.ts";

/** Of requests. */
export const REQUEST_EVENTS = logEvents("http", {
  request: {
    level: "summary",
    message: "answered a request",
    fields: {
      method: text("method of HTTP"),
      route: text("template of the route; never the address of the request"),
      status: integer("status of the answer"),
      duration_ms: number("time from headers read to response sent, in milliseconds"),
    },
    cause: "peer",
    meaning: "A request was answered.",
    response: null,
  },
  request_failed: {
    level: "error",
    message: "a request failed",
    fields: { route: text("template of the route"), ...ERROR_FIELDS },
    cause: "peer",
    meaning: "A fault of the daemon failed a request, which was answered with `internal_error`.",
    response: "Report the line to the maintainers of kvsync.",
  },
});

/** Of access, certificates and connections. */
export const SECURITY_EVENTS = logEvents("security", {
  admin_request: {
    level: "info",
    message: "a request with admin scope",
    fields: {
      token_name: text("name of the token in the tokens file"),
      method: text("method of HTTP"),
      route: text("template of the route"),
      status: integer("status of the answer"),
    },
    cause: "peer",
    meaning: "A caller with the scope admin used it. The line is the record of who changed what.",
    response: null,
  },
  every_caller_trusted: {
    level: "warn",
    message:
      "every caller that reaches this address may read and change everything (security.trust_every_caller_on_the_network)",
    fields: { host: text("host of the setting `http.host`") },
    cause: "daemon",
    meaning: "The daemon listens on the network without tokens.",
    response: "Set `security.tokens_file` (docs/operations/security.md).",
  },
  tokens_without_tls: {
    level: "warn",
    message:
      "tokens are sent without encryption: set tls.cert_file, or let something in front of the daemon serve HTTPS",
    fields: { host: text("host of the setting `http.host`") },
    cause: "daemon",
    meaning: "The daemon serves HTTP on the network, and tokens are in use.",
    response: "Set `tls.cert_file`, or ignore the line when a proxy in the same pod serves HTTPS.",
  },
  security_file_reloaded: {
    level: "info",
    message: { says: "the paths that changed" },
    fields: {
      file: oneOf(["tokens", "tls", "picker_tls"], "tokens; certificate and key; those of the picker"),
    },
    cause: "daemon",
    meaning: "Changed files of tokens or certificates are in use.",
    response: null,
  },
  security_file_refused: {
    level: "error",
    message: { says: "the paths and what is wrong with them" },
    fields: {
      file: oneOf(["tokens", "tls", "picker_tls"], "tokens; certificate and key; those of the picker"),
    },
    cause: "daemon",
    meaning: "Changed files of tokens or certificates cannot be used. The last good content stays in use.",
    response: "Correct the file that the message names. See the runbook SecurityFileRefused.",
  },
  connection_refused: {
    level: "warn",
    message: { says: "the limit that was reached" },
    fields: {
      reason: oneOf(
        ["all_taken", "address_full", "gave_way", "pipelined", "answer_unread"],
        `limit, as in \`${NAMESPACE}_kv_http_connections_refused_total\``,
      ),
      connections_max: integer("limit on connections"),
      connections_per_address_max: integer("limit on connections of one address"),
    },
    cause: "peer",
    meaning: "A connection was closed because of a limit. The line is written at most once a minute.",
    response:
      "Find the caller that holds the connections, or raise `callers.connections`. With `pipelined`, have the caller wait for answers. With `answer_unread`, find why it does not read.",
  },
});

/** Of lookups. */
export const LOOKUP_EVENTS = logEvents("lookup", {
  lookup_answered: {
    level: "detail",
    message: "answered a lookup",
    fields: {
      model: text("model of the lookup"),
      blocks: orNull(integer("full blocks of the prompt"), "the prompt was not looked up"),
      decision: oneOf(LOOKUP_DECISIONS, "use that a caller can make of the answer"),
      trust: oneOf(TRUST_LEVELS, "trust of the answer"),
      reason: orNull(oneOf(TOKENIZER_FAILURES, "cause of a fallback"), "the answer is no fallback"),
      pod: orNull(text("engine with the longest match"), "no engine has any"),
      matched_blocks: integer("blocks that this engine has"),
    },
    cause: "peer",
    meaning: "A lookup was answered.",
    response: null,
  },
  lookup_thread_died: {
    level: "fatal",
    message: "a thread that answers lookups died",
    fields: ERROR_FIELDS,
    cause: "daemon",
    meaning: "A fault in a thread of `http.threads` ends the process with exit code 1.",
    response: "Report the line to the maintainers of kvsync.",
  },
  lookup_thread_stalled: {
    level: "fatal",
    message: "a thread that answers lookups did not come back",
    fields: {
      thread: integer("number of the thread, from 1; the main thread is 0"),
      silent_seconds: number("time that it had a lookup and answered none, in seconds"),
    },
    cause: "daemon",
    meaning:
      "A thread of `http.threads` had a lookup for `ingest.stall_seconds` and did not answer. The process ends with exit code 3.",
    response: "Look for a frozen node or a CPU limit that is too small. Report it when neither is the case.",
  },
});

const TOKENIZER = text("model with a tokenizer of its own, or `default` for the one of all other models");

/** Of tokenizers. */
export const TOKENIZER_EVENTS = logEvents("tokenizer", {
  tokenizer_asked: {
    level: "detail",
    message: "asked for tokens",
    fields: {
      tokenizer: TOKENIZER,
      outcome: oneOf(TOKENIZER_OUTCOMES, `outcome, as in \`${NAMESPACE}_kv_tokenizer_requests_total\``),
      duration_ms: number("time of the request, in milliseconds"),
      circuit: oneOf(["closed", "open", "half_open"], "state of the circuit after the request"),
    },
    cause: "peer",
    meaning: "A tokenizer was asked for the tokens of a prompt.",
    response: null,
  },
  template_trusted: {
    level: "info",
    message: "conversations are rendered here: all probes had the engine's tokens",
    fields: { tokenizer: TOKENIZER },
    cause: "daemon",
    meaning: "The model's chat template agrees with the engine, and conversations need no request to it.",
    response: null,
  },
  template_differs: {
    level: "warn",
    message: "a conversation that was rendered here has other tokens than the engine's",
    fields: {
      tokenizer: TOKENIZER,
      what: text("name of the probe; `request` for a request, whose text is never logged"),
      position: integer("first position at which the tokens differ, from 0"),
      tokens: integer("tokens made here; 0 when the template could not be rendered"),
      expected: integer("the engine's tokens"),
      seconds: number("time until the probes are tried again"),
    },
    cause: "daemon",
    meaning:
      "The model's chat template does not agree with the engine. The remote tokenizer gets its conversations for a while.",
    response: "See the runbook TokenizerTemplateDiffers.",
  },
  tokenizer_thread_died: {
    level: "error",
    message: "a thread that encodes prompts ended; another one is started",
    fields: { thread: text("the thread, such as `tokenizer-0`"), ...ERROR_FIELDS },
    cause: "daemon",
    meaning:
      "A fault, or one prompt that took longer than 30 seconds, ended a tokenizer thread. Its prompt has no tokens, or those of the remote tokenizer.",
    response: "Report the line to the maintainers of kvsync.",
  },
  tokenizer_circuit_opened: {
    level: "warn",
    message: "a tokenizer fails again and again; it is left alone for a while",
    fields: {
      tokenizer: TOKENIZER,
      reason: oneOf(TOKENIZER_OUTCOMES, "outcome of the last request"),
      seconds: number("time until the next request"),
    },
    cause: "peer",
    meaning:
      "A tokenizer failed several times in a row. Lookups of prompts that need it answer fallback meanwhile.",
    response: "Check the tokenizer. See the runbook TokenizerUnavailable.",
  },
  tokenizer_circuit_closed: {
    level: "info",
    message: "a tokenizer answers again",
    fields: { tokenizer: TOKENIZER },
    cause: "peer",
    meaning: "A tokenizer answers again, and prompts are looked up.",
    response: null,
  },
});
