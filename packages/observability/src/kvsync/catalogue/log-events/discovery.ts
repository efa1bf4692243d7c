/** Log events of finding engines: the configuration file, registrations over HTTP, Kubernetes. */

import { NAMESPACE } from "../../namespace.ts";
import { DISCOVERY_FAILURES } from "../discovery.ts";
import { integer, oneOf, orAbsent, orNull, text } from "../../../signals/field.ts";
import { logEvents } from "../../../signals/log-event.ts";
import { POD_FIELD, SOURCE } from "./shared-fields.ts";

const CONFIG_PATH = text("path of the configuration file");
const KEPT_PATH = text("path of the file in the state directory");

/** Of discovery. */
export const DISCOVERY_EVENTS = logEvents("discovery", {
  discovery_failed: {
    level: "error",
    message: { says: "where it failed, and what was expected" },
    fields: {
      source: SOURCE,
      reason: oneOf(DISCOVERY_FAILURES, `reason, as in \`${NAMESPACE}_kv_discovery_failures_total\``),
      path: orAbsent(text("path of the file"), "no file failed"),
      faults: orAbsent(
        integer("faults in the configuration file"),
        "the file could not be read, or another source failed",
      ),
      code: orAbsent(text("kind of the error of the file of registrations"), "another file or source failed"),
      server: orAbsent(text("address of the API server"), "no API server was asked"),
    },
    cause: "peer",
    meaning: "A source of engines is not up to date. The engines that it named last are still followed.",
    response: "Correct what the message names. See the runbooks DiscoveryStale and ConfigReloadFailed.",
  },
  discovery_recovered: {
    level: "info",
    message: "a source of engines is up to date again",
    fields: { source: SOURCE, reason: oneOf(DISCOVERY_FAILURES, "reason of the failure that ended") },
    cause: "peer",
    meaning: "A source of engines is up to date again.",
    response: null,
  },
  config_watched: {
    level: "debug",
    message: "the configuration file is watched",
    fields: { path: CONFIG_PATH },
    cause: "daemon",
    meaning: "Changes of the list of engines in the file are followed.",
    response: null,
  },
  config_watch_failed: {
    level: "warn",
    message: "the configuration file's directory cannot be watched; it is read on a clock instead",
    fields: {
      path: CONFIG_PATH,
      reason: text("error of the system"),
      poll_ms: integer("time between two looks"),
    },
    cause: "daemon",
    meaning: "The system does not report changes of the file. They are found by the clock, later.",
    response: "Nothing. Lower `discovery.config_poll_seconds` when changes have to be found sooner.",
  },
  config_reloaded: {
    level: "info",
    message: "took the engines of the changed configuration",
    fields: { path: CONFIG_PATH, engines: integer("engines in the file") },
    cause: "daemon",
    meaning: "The list of engines in the configuration file has changed and is in use.",
    response: null,
  },
  config_needs_restart: {
    level: "warn",
    message: { says: "the settings that wait" },
    fields: { path: CONFIG_PATH, settings: text("sections that differ") },
    cause: "daemon",
    meaning:
      "Settings other than the list of engines have changed in the file. They are used after a restart.",
    response: "Restart the daemon.",
  },
  registrations_restored: {
    level: "info",
    message: "took up the engines registered over HTTP before",
    fields: { path: KEPT_PATH, engines: integer("engines in the file") },
    cause: "daemon",
    meaning: "Engines that were registered over HTTP before the restart are followed again.",
    response: null,
  },
  registrations_set_aside: {
    level: "warn",
    message: "the refused file is kept aside",
    fields: { path: orNull(text("path where it is kept"), "it could not be renamed") },
    cause: "daemon",
    meaning: "The file of registrations cannot be used and was renamed.",
    response: "Register the engines again. The renamed file shows which ones there were.",
  },
  registration_moved: {
    level: "info",
    message: "the name of an engine registered over HTTP has another address, which is followed",
    fields: {
      pod: POD_FIELD,
      endpoint: orNull(text("new address of the first rank"), "the engine has no rank"),
    },
    cause: "peer",
    meaning: "The host name of a registered engine has another address.",
    response: null,
  },
  registration_not_resolved: {
    level: "warn",
    message: { says: "the name, the error, and whether the engine is followed" },
    fields: {
      pod: POD_FIELD,
      code: oneOf(["endpoint_not_allowed", "endpoint_unresolvable"], "kind of the error"),
    },
    cause: "peer",
    meaning: "The host name of a registered engine has no address, or one that is not allowed.",
    response: "Correct the DNS record, or `security.registration_ranges`.",
  },
  registration_not_allowed: {
    level: "warn",
    message: { says: "the address and the ranges that are allowed" },
    fields: { pod: POD_FIELD, code: oneOf(["endpoint_not_allowed"], "kind of the error") },
    cause: "peer",
    meaning: "An engine that was registered before the restart has an address that is not allowed any more.",
    response: "Add the range to `security.registration_ranges`, or register the engine elsewhere.",
  },
  engine_refused: {
    level: { info: "the reason is `duplicate`", warn: "the reason is another one" },
    message: { says: "the engine, the contradiction, and the engine that is followed" },
    fields: {
      source: SOURCE,
      pod: POD_FIELD,
      reason: oneOf(
        ["duplicate", "conflict", "no_room", "malformed"],
        `reason, as in \`${NAMESPACE}_kv_discovery_refusals_total\``,
      ),
      field: orNull(text("field that is wrong or contradicts"), "none is"),
      winner_source: orNull(
        oneOf(["file", "http", "kubernetes"], "source of the engine that is followed"),
        "no engine is in the way",
      ),
    },
    cause: "peer",
    meaning: "A source names an engine that is not followed for that source.",
    response: "Correct the entry. See the runbook EnginesRefused.",
  },
  engines_refused: {
    level: "info",
    message: "engines that sources want and that are not followed have changed",
    fields: {
      refused: integer("engines that are refused now"),
      begun: integer("refusals that began"),
      ended: integer("refusals that ended"),
    },
    cause: "peer",
    meaning: "Refusals have ended, or more began than are logged one by one.",
    response: "`GET /api/v1/engines` has all of them in `refused`.",
  },
  pods_remembered: {
    level: "info",
    message: "follows the engines found before, until the cluster answers",
    fields: { path: KEPT_PATH, engines: integer("engines in the file") },
    cause: "daemon",
    meaning: "Engines that were found in Kubernetes before the restart are followed until the first list.",
    response: null,
  },
  pods_forgotten: {
    level: "warn",
    message: { says: "the error" },
    fields: { path: KEPT_PATH },
    cause: "daemon",
    meaning: "The file of pods cannot be read. Engines are followed after the API server has answered.",
    response: "Delete the file, or correct its permissions.",
  },
  pods_not_kept: {
    level: "warn",
    message: { says: "the error" },
    fields: { path: KEPT_PATH },
    cause: "peer",
    meaning: "The pods that were found cannot be written to the state directory.",
    response: "Free the disk, or correct the permissions of `discovery.state_directory`.",
  },
  pods_watched: {
    level: "info",
    message: "looks for engines in Kubernetes",
    fields: {
      server: text("address of the API server"),
      namespaces: text("namespaces, `*`, or a selector of their labels"),
    },
    cause: "daemon",
    meaning: "Pods are watched in these namespaces.",
    response: null,
  },
  model_unanswered: {
    level: "info",
    message: { says: "the pod and the error" },
    fields: { pod: POD_FIELD },
    cause: "peer",
    meaning: "A pod does not report the model that it serves, and is not followed before it does.",
    response:
      "Check the server in the pod, or set `discovery.kubernetes.models_token_file` when it wants a token.",
  },
  pod_label_unusable: {
    level: "warn",
    message: { says: "the pod, its label, and what was expected" },
    fields: {
      source: oneOf(["kubernetes"], "source of engines"),
      labels: integer("labels that cannot be used"),
    },
    cause: "peer",
    meaning: "A label of a pod that is only shown cannot be used. The engine is followed.",
    response: "Correct the label of the pod.",
  },
});
