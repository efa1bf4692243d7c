/**
 * Settings of finding engines among the pods of a cluster. They name the places to look, the project
 * whose pods they are, and the parts of its convention that are different here. Settings that are unset are the
 * preset's (discovery/kubernetes/presets.ts).
 */

import { z } from "zod";

import { DP_RANKS_MAX, NAME_LENGTH_MAX } from "../engine/engine-entry.ts";
import { isWellFormed } from "../engine/well-formed.ts";
import { isLabelKey, isLabelSelector, LABEL_KEY_EXPECTED, SELECTOR_EXPECTED } from "./label-selector.ts";
import { flag, seconds, section, SETTING_FACTS, text } from "./setting-field.ts";

/** The projects whose pods are known. */
export const PRESETS = ["aibrix", "llm-d", "production-stack", "dynamo"] as const;

/** One of PRESETS. */
export type PresetName = (typeof PRESETS)[number];

/** Namespaces watched one by one; each is a connection to the API server. Beyond, all of them are one. */
const NAMESPACES_MAX = 32;
const NAMESPACE_EXPECTED = "names of namespaces, or * alone for all";
const PRESET_EXPECTED = "one of aibrix, llm-d, production-stack, dynamo";
const PORT_MAX = 65_535;
/** Names of pools or Services; the selector of their slices goes into the address of each request. */
const SOURCES_MAX = 16;
/** Places to look for the model's name. */
const MODEL_SOURCES_MAX = 8;
const MODEL_FROM_EXPECTED = `at most ${MODEL_SOURCES_MAX} of label:KEY, annotation:KEY, fixed:NAME, topic, args, and served last; the first that has a name counts`;
/** Kubernetes takes at most 15 for the name of a container's port. */
const PORT_NAME_EXPECTED = "the name of a container's port: up to 15 of a-z 0-9 -";

/** Where the name of a pod's model comes from. */
export type ModelSource =
  | { readonly from: "label" | "annotation"; readonly key: string }
  | { readonly from: "fixed"; readonly name: string }
  | { readonly from: "topic" | "args" }
  | { readonly from: "served" };

const namespaces = z
  .array(z.string(NAMESPACE_EXPECTED), NAMESPACE_EXPECTED)
  .max(NAMESPACES_MAX, `at most ${NAMESPACES_MAX} namespaces, or * for all`)
  .refine(areNamespaces, NAMESPACE_EXPECTED)
  .default([])
  .register(SETTING_FACTS, {
    about: "Namespaces to look for pods in; none for the one that the daemon's account is in, * for all.",
    expected: NAMESPACE_EXPECTED,
    textForm: "list",
  });

const pools = names(
  "InferencePools whose pods are the engines, * for all of the namespaces; none for pods by enabled_by.",
  `up to ${SOURCES_MAX} names of InferencePools, or * alone for all`,
  true,
);
const services = names(
  "Services whose endpoints are the engines, by their EndpointSlices; none for pods by enabled_by.",
  `up to ${SOURCES_MAX} names of Services`,
  false,
);

const preset = z.enum(PRESETS, PRESET_EXPECTED).default("aibrix").register(SETTING_FACTS, {
  about:
    "The project whose pods these are: it decides which are enabled, where their models' names come from, and their ports.",
  expected: PRESET_EXPECTED,
});

const modelFrom = z
  .array(z.string(MODEL_FROM_EXPECTED), MODEL_FROM_EXPECTED)
  .max(MODEL_SOURCES_MAX, MODEL_FROM_EXPECTED)
  .refine(areModelSources, MODEL_FROM_EXPECTED)
  .default([])
  .register(SETTING_FACTS, {
    about:
      "Where the model's name comes from, best first; none for the preset's. `topic` is the third part of kv@POD@MODEL, `args` the command line, `served` the engine's /v1/models.",
    expected: MODEL_FROM_EXPECTED,
    textForm: "list",
  });

/** Section `discovery.kubernetes`. */
export const kubernetesSection = section({
  enabled: flag("Find engines among the cluster's pods.", false),
  preset,
  namespaces,
  namespace_selector: selector(
    "Label selector of the namespaces to look in, in place of namespaces; unset for none.",
  ),
  pools,
  services,
  enabled_by: selector("Label selector of the pods that publish events; unset for the preset's."),
  selector: selector("Further labels that pods need, as a label selector; unset for none."),
  only_ready: flag("Follow pods only while they are ready. A pod that is not leaves lookups at once.", false),
  model_from: modelFrom,
  events_port: port("Port of DP rank 0's events; unset for the preset's.", 1),
  events_port_name: portName(
    "Name of the container's port of DP rank 0's events. It goes before events_port.",
  ),
  replay_port: port("Port of DP rank 0's replay, 0 for none; unset for the preset's.", 0),
  replay_port_name: portName(
    "Name of the container's port of DP rank 0's replay. It goes before replay_port.",
  ),
  dp_size: optionalInteger("DP ranks of each pod; unset for the preset's.", 1, DP_RANKS_MAX),
  http_port: port("Port of the engines' HTTP API, for model_from: served; unset for the preset's.", 1),
  http_port_name: portName(
    "Name of the container's port of the engines' HTTP API. It goes before http_port.",
  ),
  models_token_file: text(
    "File with the bearer token for the engines' /v1/models; read at each request; unset for none.",
    null,
  ),
  group: section({
    label: labelKey("Label that names a worker over several pods; unset when each pod is a worker."),
    index_label: labelKeyField().default("leaderworkerset.sigs.k8s.io/worker-index").register(SETTING_FACTS, {
      about: "Label with a pod's place in its worker, from 0. Its ranks begin at that place times dp_size.",
      expected: LABEL_KEY_EXPECTED,
    }),
    publishing: choice(
      "Which pods of a worker publish: all of them their own ranks, or the first one alone.",
      ["all", "first"],
    ),
    rank_ports: choice(
      "Whether a rank's port is the base port plus its number in the whole worker (vLLM), or in its pod.",
      ["global", "local"],
    ),
  }),
  kubeconfig: text("Kubeconfig file; unset for the pod's service account.", null),
  request_timeout_seconds: seconds("Longest wait for the API server to begin an answer.", 15, 0.1, 300),
  watch_seconds: seconds("How long one watch is kept open, at least; at most twice this.", 240, 1, 1800),
  resync_seconds: seconds("Time between two full lists, in addition to watches.", 1800, 1, 86_400),
  retry_seconds_min: seconds("First pause after a request that failed.", 0.8, 0.01, 60),
  retry_seconds_max: seconds(
    "Longest pause after requests that failed, less than twice this with jitter.",
    30,
    0.01,
    600,
  ),
});

/**
 * Reads one entry of `model_from`.
 *
 * @param written - as in the settings.
 * @returns null when it is none.
 */
export function modelSource(written: string): ModelSource | null {
  if (written === "served") return { from: written };
  if (written === "topic" || written === "args") return { from: written };
  const [, from, rest = ""] = /^(label|annotation|fixed):(.+)$/s.exec(written) ?? [];
  if (from === "fixed")
    return rest.length <= NAME_LENGTH_MAX && isWellFormed(rest) ? { from, name: rest } : null;
  if (from === "label" || from === "annotation") return isLabelKey(rest) ? { from, key: rest } : null;
  return null;
}

/** What the engine says is known later than what its pod says. */
function areModelSources(written: readonly string[]): boolean {
  const served = written.indexOf("served");
  return written.every((one) => modelSource(one) !== null) && (served < 0 || served === written.length - 1);
}

function selector(about: string) {
  return z
    .string(SELECTOR_EXPECTED)
    .refine(isLabelSelector, SELECTOR_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected: SELECTOR_EXPECTED });
}

/** Names of objects, with a star for all where that can be. */
function names(about: string, expected: string, hasAll: boolean) {
  return z
    .array(z.string(expected), expected)
    .max(SOURCES_MAX, expected)
    .refine((given) => (hasAll && given.length === 1 && given[0] === "*") || areNames(given), expected)
    .default([])
    .register(SETTING_FACTS, { about, expected, textForm: "list" });
}

function areNames(given: readonly string[]): boolean {
  return (
    new Set(given).size === given.length &&
    given.every((name) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
  );
}

function labelKey(about: string) {
  return labelKeyField()
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected: LABEL_KEY_EXPECTED });
}

function labelKeyField() {
  return z.string(LABEL_KEY_EXPECTED).refine(isLabelKey, LABEL_KEY_EXPECTED);
}

/** The first one is the default. */
function choice<const Choices extends readonly [string, ...string[]]>(about: string, choices: Choices) {
  const expected = choices.join(" or ");
  return z.enum(choices, expected).default(choices[0]).register(SETTING_FACTS, { about, expected });
}

function optionalInteger(about: string, min: number, max: number) {
  const expected = `an integer from ${min} to ${max}`;
  return z
    .int(expected)
    .min(min, expected)
    .max(max, expected)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected });
}

function port(about: string, min: number) {
  return optionalInteger(about, min, PORT_MAX);
}

function portName(about: string) {
  return z
    .string(PORT_NAME_EXPECTED)
    .regex(/^(?=.*[a-z])[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?$/, PORT_NAME_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about: `${about} Unset for the preset's.`, expected: PORT_NAME_EXPECTED });
}

function areNamespaces(names: readonly string[]): boolean {
  if (names.length === 1 && names[0] === "*") return true;
  return (
    new Set(names).size === names.length &&
    names.every((name) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
  );
}
