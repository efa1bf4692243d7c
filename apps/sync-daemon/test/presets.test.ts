/**
 * The presets against pods in the shape of their projects (test/pods), and against the marks with which a project takes a pod
 * out. The selectors are those of the API server's stand-in, which evaluates them as Kubernetes does.
 */
import { readFileSync } from "node:fs";

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

import { readPod } from "../src/discovery/kubernetes/pod-reading.ts";
import { type PodRule, presetRule, ruleOf } from "../src/discovery/kubernetes/pod-rule.ts";
import { PRESETS as PRESET_FACTS } from "../src/discovery/kubernetes/presets.ts";
import { kubernetesSection, PRESETS, type PresetName } from "../src/settings/kubernetes-settings.ts";
import { selects } from "./selector.ts";

interface PodObject {
  metadata: { labels: Record<string, string>; annotations?: Record<string, string> };
  spec: { containers: { command?: string[]; args?: string[]; env?: object[]; ports?: object[] }[] };
  status: { phase: string; podIP: string; conditions: { type: string; status: string }[] };
}

const CURVE_KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

const podOf = (preset: PresetName): PodObject =>
  parse(readFileSync(new URL(`pods/${preset}.yaml`, import.meta.url), "utf8")) as PodObject;

/** What a daemon with a rule makes of a pod: null when its selector does not bring it. */
function found(pod: PodObject, rule: PodRule) {
  return selects(rule.enabledBy ?? "", pod.metadata.labels) ? (readPod(pod, rule)?.found ?? null) : null;
}

describe("pods in the shape of their projects", () => {
  test("aibrix: labels name the model and the type, container ports the sockets", () => {
    expect(found(podOf("aibrix"), presetRule("aibrix"))).toMatchObject({
      kind: "engine",
      engine: {
        id: "serving/llama3-8b-7c9d4-x2v5k",
        model: "llama3-8b-instruct",
        type: "vllm",
        ranks: [{ dpRank: 0, endpoint: "tcp://10.0.1.1:5557", replayEndpoint: "tcp://10.0.1.1:5559" }],
      },
    });
  });

  test("llm-d: the topic names the model, and there is no replay socket unless a port says so", () => {
    expect(found(podOf("llm-d"), presetRule("llm-d"))).toMatchObject({
      kind: "engine",
      engine: {
        model: "Qwen/Qwen3-32B",
        topic: "",
        ranks: [{ endpoint: "tcp://10.0.1.2:5556", replayEndpoint: null }],
      },
    });
    const pod = podOf("llm-d");
    pod.spec.containers[0]?.ports?.push({ name: "kv-replay", containerPort: 5656 });
    expect(found(pod, presetRule("llm-d"))).toMatchObject({
      engine: { ranks: [{ replayEndpoint: "tcp://10.0.1.2:5656" }] },
    });
  });

  test("llm-d: without such a topic the command line names the model", () => {
    const pod = podOf("llm-d");
    pod.spec.containers[0]?.args?.splice(3);
    expect(found(pod, presetRule("llm-d"))).toMatchObject({ engine: { model: "Qwen/Qwen3-32B" } });
  });

  test("production-stack: the engine itself is asked for its model, at the port that the chart names", () => {
    const part = found(podOf("production-stack"), presetRule("production-stack"));
    expect(part).toMatchObject({
      kind: "part",
      api: { address: "10.0.1.3", port: 8000 },
      entry: { endpoint: "tcp://10.0.1.3:5557", replay_endpoint: "tcp://10.0.1.3:5657" },
    });
  });

  test("dynamo: flags name the model; a decode worker does not publish and is not looked at", () => {
    const pod = podOf("dynamo");
    expect(found(pod, presetRule("dynamo"))).toMatchObject({
      kind: "engine",
      engine: {
        model: "Qwen/Qwen3-0.6B",
        ranks: [{ endpoint: "tcp://10.0.1.4:20080", replayEndpoint: null }],
      },
    });
    pod.spec.containers[0]?.args?.push("--served-model-name=qwen");
    expect(found(pod, presetRule("dynamo"))).toMatchObject({ engine: { model: "qwen" } });
    pod.metadata.labels["nvidia.com/dynamo-sub-component-type"] = "decode";
    expect(found(pod, presetRule("dynamo"))).toBeNull();
    pod.metadata.labels["nvidia.com/dynamo-component-type"] = "frontend";
    expect(found(pod, presetRule("dynamo"))).toBeNull();
  });

  test.each(
    PRESETS.flatMap((pod) => PRESETS.filter((rule) => rule !== pod).map((rule) => [pod, rule] as const)),
  )("a pod of %s is none of %s's", (pod, rule) => {
    expect(found(podOf(pod), presetRule(rule))).toBeNull();
  });
});

describe("annotations of one pod, under each preset", () => {
  test.each(PRESETS)("%s: they go before what the project says", (preset) => {
    const pod = podOf(preset);
    const host = `tcp://${pod.status.podIP}`;
    pod.metadata.annotations = {
      "model.aibrix.ai/name": "named/by-hand",
      "model.aibrix.ai/kv-events-port": "7001",
      "model.aibrix.ai/kv-events-replay-port": "7101",
      "model.aibrix.ai/kv-events-dp-size": "2",
      "model.aibrix.ai/kv-events-topic": "kv@a@b",
      "model.aibrix.ai/kv-events-report-mode": "full",
      "model.aibrix.ai/kv-curve-server-key": CURVE_KEY,
    };
    expect(found(pod, presetRule(preset))).toMatchObject({
      kind: "engine",
      engine: {
        model: "named/by-hand",
        topic: "kv@a@b",
        reportMode: "full",
        curveServerKey: CURVE_KEY,
        ranks: [
          { endpoint: `${host}:7001`, replayEndpoint: `${host}:7101` },
          { endpoint: `${host}:7002`, replayEndpoint: `${host}:7102` },
        ],
      },
    });
  });

  test.each([
    ["kv-events-report-mode", "often", 'one of "auto", "delta", "full"'],
    ["kv-events-topic", "x".repeat(300), "at most 256 characters"],
    ["kv-curve-server-key", CURVE_KEY.slice(1), "a CURVE key of 40 characters (Z85)"],
    ["kv-curve-server-key", "#".repeat(40), "a CURVE key of 40 characters (Z85)"],
  ])("%s %j is refused by its name", (name, value, expected) => {
    const pod = podOf("llm-d");
    pod.metadata.annotations = { [`model.aibrix.ai/${name}`]: value };
    const refusal = found(pod, presetRule("llm-d"));
    expect(refusal).toMatchObject({ kind: "malformed", field: `model.aibrix.ai/${name}` });
    expect(refusal).toMatchObject({ message: expect.stringContaining(expected) as string });
  });

  test("a pod whose engine is asked for its model is refused for its ports at once", () => {
    const pod = podOf("production-stack");
    pod.metadata.annotations = { "model.aibrix.ai/kv-events-dp-size": "200" };
    expect(found(pod, presetRule("production-stack"))).toMatchObject({ kind: "malformed" });
  });
});

describe("settings in place of a preset's facts", () => {
  const rule = (more: object) => ruleOf(kubernetesSection.parse({ preset: "llm-d", ...more }));

  test.each([
    [["label:llm-d.ai/model"], "Qwen3-32B"],
    [["annotation:absent", "fixed:mine"], "mine"],
    [["args"], "Qwen/Qwen3-32B"],
    [["topic"], "Qwen/Qwen3-32B"],
  ])("model_from %j", (model_from, model) => {
    expect(found(podOf("llm-d"), rule({ model_from }))).toMatchObject({ engine: { model } });
  });

  test("ports by name go before ports by number, and both before the preset's", () => {
    const ranks = (more: object) => found(podOf("llm-d"), rule(more));
    expect(ranks({ events_port: 6000 })).toMatchObject({
      engine: { ranks: [{ endpoint: "tcp://10.0.1.2:5556" }] },
    });
    expect(
      ranks({ events_port: 6000, events_port_name: "zmq", replay_port: 6100, dp_size: 2 }),
    ).toMatchObject({
      engine: {
        ranks: [
          { endpoint: "tcp://10.0.1.2:6000", replayEndpoint: "tcp://10.0.1.2:6100" },
          { endpoint: "tcp://10.0.1.2:6001", replayEndpoint: "tcp://10.0.1.2:6101" },
        ],
      },
    });
  });

  test("a pod of which no source has a name is refused with every source that was tried", () => {
    const refusal = found(podOf("llm-d"), rule({ model_from: ["label:absent", "annotation:also/absent"] }));
    expect(refusal).toMatchObject({
      kind: "malformed",
      field: "model.aibrix.ai/name",
      message: expect.stringContaining("from the label absent, the annotation also/absent") as string,
    });
  });

  test("only_ready: a pod is an engine while it is ready", () => {
    const pod = podOf("llm-d");
    const [condition] = pod.status.conditions;
    if (condition === undefined) throw new Error("the pod has no condition");
    for (const [status, only_ready, kind] of [
      ["False", true, "waiting"],
      ["True", true, "engine"],
      ["False", false, "engine"],
    ] as const) {
      condition.status = status;
      expect(found(pod, rule({ only_ready }))?.kind).toBe(kind);
    }
  });
});

const marked = fc.constantFrom(
  ...Object.values(PRESET_FACTS).map(({ disabledBy: { label, values } }) => ({
    label,
    values: ["false", "False", "no", "off", "0", "", "disabled", "true", "True"].filter((one) =>
      values.test(one),
    ),
  })),
);

test("P1: a pod that any project's mark disables is no engine under any preset, whatever else it carries", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...PRESETS),
      fc.constantFrom(...PRESETS),
      marked.chain(({ label, values }) =>
        fc.record({ label: fc.constant(label), value: fc.constantFrom(...values) }),
      ),
      fc.subarray([...PRESETS]),
      (shape, preset, { label, value }, others) => {
        const pod = podOf(shape);
        for (const other of others) Object.assign(pod.metadata.labels, podOf(other).metadata.labels);
        pod.metadata.labels[label] = value;
        // Settings that select every pod are the hardest case.
        const rule = { ...presetRule(preset), enabledBy: null };
        expect(readPod(pod, rule)?.found).toEqual({ kind: "waiting", why: "disabled" });
        expect(found(pod, presetRule(preset))?.kind ?? "not selected").toMatch(/waiting|not selected/);
      },
    ),
  );
});

test("P1: no mark is one that a project's own running pods carry", () => {
  for (const preset of PRESETS) expect(found(podOf(preset), presetRule(preset))?.kind).toMatch(/engine|part/);
});
