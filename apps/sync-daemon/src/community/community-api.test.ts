import { expect, test } from "vitest";

import { ENGINE_TYPE_EXPECTED } from "../engine/engine-type.ts";
import { dynamoAnswer, mooncakeAnswer, registerBody } from "./community-api.ts";
import type { WorkerMatch } from "../query/match-answer.ts";

const row = (dp_rank: number, device: number, host = 0, disk = 0): WorkerMatch => ({
  worker: "w",
  dp_rank,
  block_size: 2,
  matched_blocks: device + host + disk,
  matched_tokens: 2 * (device + host + disk),
  held_tokens: 2 * (device + host + disk),
  reusable_tokens: 2 * (device + host + disk),
  tiers: { device, host, disk, remote: 0 },
  trust: "exact",
  trust_reason: null,
  trust_since: "2026-01-01T00:00:00.000Z",
  age_seconds: 1,
});

test("tiers come out as each project defines them: Mooncake per tier, Dynamo cumulative", () => {
  const instances = new Map([
    ["1", [row(0, 2, 1, 1), row(1, 1)]],
    ["2", [row(0, 0)]],
  ]);
  expect(mooncakeAnswer(instances, "default")).toMatchObject({
    default: {
      1: { longest_matched: 8, GPU: 4, DP: { 0: 8, 1: 2 }, CPU: 2, DISK: 2 },
      2: { longest_matched: 0, GPU: 0, DP: { 0: 0 }, CPU: 0, DISK: 0 },
    },
  });
  expect(dynamoAnswer(instances)).toEqual({
    scores: { 1: { 0: 8, 1: 2 } },
    frequencies: [2, 1, 1, 1],
    instances: {
      1: { longest_matched: 8, gpu: 4, dp: { 0: 4, 1: 2 }, cpu: 6, disk: 8 },
      2: { longest_matched: 0, gpu: 0, dp: { 0: 0 }, cpu: 0, disk: 0 },
    },
  });
});

test("no name of an instance is lost, not even that of every object's prototype", () => {
  const instances = new Map([["__proto__", [row(0, 1)]]]);
  const told = JSON.stringify([mooncakeAnswer(instances, "__proto__"), dynamoAnswer(instances)]);
  // By tenant and by name at Mooncake, twice in the first; in scores and instances at Dynamo.
  expect(told.match(/"__proto__":/g)).toHaveLength(5);
});

test("tokens are counted by each rank's own block size", () => {
  const coarse: WorkerMatch = { ...row(1, 1), block_size: 8, matched_tokens: 8 };
  const unmatched: WorkerMatch = { ...row(2, 0), block_size: null };
  const instances = new Map([["1", [row(0, 3), coarse, unmatched]]]);
  expect(mooncakeAnswer(instances, "default")).toMatchObject({
    default: { 1: { longest_matched: 8, GPU: 8, DP: { 0: 6, 1: 8, 2: 0 } } },
  });
  expect(dynamoAnswer(instances)).toMatchObject({
    instances: { 1: { longest_matched: 8, gpu: 8, dp: { 0: 6, 1: 8, 2: 0 } } },
  });
});

test("an integer instance id is its text, and the store's own publisher is refused by its type", () => {
  const body = { instance_id: 1, endpoint: "tcp://127.0.0.1:5557", model_name: "m" };
  expect(registerBody.parse(body).instance_id).toBe("1");
  expect(registerBody.safeParse({ ...body, type: "Mooncake" }).error?.issues[0]).toMatchObject({
    path: ["type"],
    message: ENGINE_TYPE_EXPECTED,
  });
});

test.each(["vLLM", "sglang", "TensorRT-LLM", "TRT-LLM", "trtllm", "tensorrt_llm", "TensorRT LLM"])(
  "an engine's type is taken as %s",
  (type) => {
    const body = { instance_id: 1, endpoint: "tcp://127.0.0.1:5557", model_name: "m", type };
    expect(registerBody.parse(body).type).toBe(type);
  },
);
