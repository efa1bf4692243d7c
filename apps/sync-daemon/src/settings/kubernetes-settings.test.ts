import { expect, test } from "vitest";

import { modelSource } from "./kubernetes-settings.ts";
import { readSettings } from "./read-settings.ts";

const kubernetes = (...argv: readonly string[]) => readSettings(argv, {}).settings.discovery.kubernetes;

test("without settings the pods are AIBrix's, and nothing of its preset is replaced", () => {
  expect(kubernetes()).toMatchObject({
    preset: "aibrix",
    enabled_by: null,
    model_from: [],
    events_port: null,
    replay_port: null,
    dp_size: null,
    only_ready: false,
  });
});

test("lists and ports come from flags too", () => {
  expect(
    kubernetes(
      "--discovery-kubernetes-model-from",
      "label:model,served",
      "--discovery-kubernetes-replay-port",
      "0",
      "--discovery-kubernetes-enabled-by",
      "app=vllm",
    ),
  ).toMatchObject({ model_from: ["label:model", "served"], replay_port: 0, enabled_by: "app=vllm" });
});

test.each([
  ["preset", "llmd", "one of aibrix, llm-d, production-stack, dynamo"],
  ["enabled-by", "app in vllm", "a label selector"],
  ["selector", "app=a b", "a label selector"],
  ["model-from", "served,topic", "served last"],
  ["model-from", "label:a/b/c", "label:KEY"],
  ["model-from", "name", "label:KEY"],
  ["model-from", "fixed:", "fixed:NAME"],
  ["events-port", "0", "an integer from 1 to 65535"],
  ["replay-port", "65536", "an integer from 0 to 65535"],
  ["events-port-name", "KV", "the name of a container's port"],
  ["http-port-name", "a-name-that-is-too-long", "up to 15"],
  ["pools", "a,*", "or \\* alone"],
  ["services", "*", "names of Services"],
  ["services", "a,a", "names of Services"],
  ["namespace-selector", "team=a b", "a label selector"],
  ["group-label", "a/b/c", "the key of a label"],
  ["group-publishing", "some", "all or first"],
  ["group-rank-ports", "none", "global or local"],
  ["dp-size", "1025", "an integer from 1 to 1024"],
])("%s %j is refused with the setting's name and what was expected", (name, value, expected) => {
  const setting = `discovery.kubernetes.${name.replace(/^group-/, "group.").replaceAll("-", "_")}`;
  expect(() => kubernetes(`--discovery-kubernetes-${name}`, value)).toThrow(
    new RegExp(`flag --discovery-kubernetes-${name}: ${setting.replaceAll(".", "\\.")}: .*${expected}`),
  );
});

test("a source of names is what it says", () => {
  expect(modelSource("label:llm-d.ai/model")).toEqual({ from: "label", key: "llm-d.ai/model" });
  expect(modelSource("fixed:org/model:v1")).toEqual({ from: "fixed", name: "org/model:v1" });
  expect(modelSource("fixed:\ud800")).toBeNull();
});
