/**
 * The facts about the pods of four projects, in one table. Settings replace single ones (pod-rule.ts).
 * The page docs/operations/kubernetes.md lists the flags that a project's pods need in addition.
 *
 * Invariants
 *  P1  A pod that any project's mark disables is no engine under any preset.
 *
 * Sources
 *
 *     aibrix e3e10f9e (2026-08)         pkg/constants/kv_event_sync.go, model.go                   labels
 *                                       pkg/cache/kvcache/types.go                                 5557, 5558
 *                                       samples/semantic-router/models/                            container ports kv-events, kv-replay
 *     llm-d-router ebab6879 (2026-08)   pkg/kvevents/pool.go                                       llm-d.ai/inference-serving=true, 5557, no replay
 *                                       pkg/kvevents/engineadapter/common.go                       topic kv@POD@MODEL
 *                                       …/preciseprefixcache/extractor.go                          rank r at port + r
 *                                       …/extractor/metrics/mapping_registry.go                    llm-d.ai/engine-type
 *     llm-d 34272a64                    guides/precise-prefix-cache-routing/modelserver/           container port kv-events 5556, modelserver 8000
 *     production-stack a6c01db0         helm/templates/_helpers.tpl, deployment-vllm-multi.yaml    component serving-engine, container-port 8000
 *       (2026-08)                       src/vllm_router/service_discovery.py                       /v1/models, label sleeping; nothing on events
 *     dynamo 0367e404                   deploy/operator/internal/consts/consts.go                  nvidia.com/dynamo-… labels and their values
 *            000a36a7                   components/src/dynamo/vllm/args.py                         vLLM's decode workers do not publish; names of models
 *                                       docs and recipes                                           tcp://*:20080
 */

import type { ModelSource, PresetName } from "../../settings/kubernetes-settings.ts";

/** With this annotation a pod of any project names its model. */
const NAMED: ModelSource = { from: "annotation", key: "model.aibrix.ai/name" };
/** Ways to say no in a label. */
const NO = /^(?:false|no|off|0|disabled|)$/i;

/** How a port is found: by the name of a container's port, or else by number. */
export interface PortRule {
  /** Null for no name. */
  readonly name: string | null;
  /** 0 for none; null for replay where it depends on the number of ranks. */
  readonly number: number | null;
}

/** A label with which a project takes a pod out. */
interface DisablingMark {
  readonly label: string;
  readonly values: RegExp;
}

/** What a project's pods look like. */
export interface Preset {
  readonly enabledBy: string;
  readonly disabledBy: DisablingMark;
  readonly modelFrom: readonly ModelSource[];
  readonly events: PortRule;
  readonly replay: PortRule;
  readonly http: PortRule;
  readonly typeLabel: string | null;
}

/** One preset for each project. */
export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  aibrix: {
    // Whatever its value: a pod that says it in another way than "true" has to be seen to be remarked on.
    enabledBy: "model.aibrix.ai/kv-events-enabled",
    disabledBy: { label: "model.aibrix.ai/kv-events-enabled", values: NO },
    modelFrom: [NAMED, { from: "label", key: "model.aibrix.ai/name" }],
    events: { name: "kv-events", number: 5557 },
    replay: { name: "kv-replay", number: null },
    http: { name: null, number: 8000 },
    typeLabel: "model.aibrix.ai/engine",
  },
  "llm-d": {
    enabledBy: "llm-d.ai/inference-serving=true",
    disabledBy: { label: "llm-d.ai/inference-serving", values: NO },
    modelFrom: [NAMED, { from: "topic" }, { from: "args" }],
    events: { name: "kv-events", number: 5557 },
    replay: { name: "kv-replay", number: 0 },
    http: { name: "modelserver", number: 8000 },
    typeLabel: "llm-d.ai/engine-type",
  },
  "production-stack": {
    enabledBy: "app.kubernetes.io/component=serving-engine",
    disabledBy: { label: "sleeping", values: /^true$/i },
    modelFrom: [NAMED, { from: "served" }],
    events: { name: "kv-events", number: 5557 },
    replay: { name: "kv-replay", number: 5657 },
    http: { name: "container-port", number: 8000 },
    typeLabel: null,
  },
  dynamo: {
    enabledBy:
      "nvidia.com/dynamo-component-type in (worker,prefill),nvidia.com/dynamo-sub-component-type!=decode",
    disabledBy: { label: "nvidia.com/dynamo-discovery-enabled", values: NO },
    modelFrom: [NAMED, { from: "args" }],
    events: { name: "kv-events", number: 20_080 },
    replay: { name: "kv-replay", number: 0 },
    http: { name: null, number: 8000 },
    typeLabel: null,
  },
};

const DISABLING_MARKS: readonly DisablingMark[] = Object.values(PRESETS).map(({ disabledBy }) => disabledBy);

/**
 * The label that takes a pod out (P1).
 *
 * @param labels - of the pod.
 * @returns the label's key; null when none does.
 */
export function disablingLabel(labels: Readonly<Record<string, string>>): string | null {
  const mark = DISABLING_MARKS.find(({ label, values }) => {
    const value = labels[label];
    return value !== undefined && values.test(value);
  });
  return mark?.label ?? null;
}
