/** `/metrics` in the names of each engine, against what was done, and as promtool reads it. */
import { spawnSync } from "node:child_process";

import type { Dialect } from "@kvsync/core";
import { afterEach, describe, expect, test } from "vitest";

import { EngineWorker } from "../src/engine-worker.ts";
import { complete, send } from "./http-client.ts";
import { until } from "./listener.ts";

const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;

let worker: EngineWorker | null = null;
afterEach(() => worker?.stop());

async function start(
  dialect: Dialect,
  more: { dpSize?: number; loraNames?: string[]; speed?: number } = {},
): Promise<string> {
  const { loraNames = [], dpSize = 1, speed = 1e6 } = more;
  const engine = {
    id: "e",
    model: 'a "model"',
    blockSize: 4,
    blockCount: 100,
    dialect,
    loraNames,
    maxSequences: 2,
  };
  worker = await EngineWorker.start({ engine, speed, dpSize });
  return worker.httpUrls[0] ?? "";
}

/** Samples of a page by name and labels. */
async function scrape(url: string, path = "/metrics"): Promise<Map<string, number>> {
  const response = await fetch(`${url}${path}`);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const page = await response.text();
  if (hasPromtool) {
    const { status, stderr, error } = spawnSync("promtool", ["check", "metrics"], {
      input: page,
      encoding: "utf8",
    });
    // Its only complaint is the colon in the real engines' names: 3 is the status of such, 1 of a page it cannot read.
    const complaints = stderr
      .split("\n")
      .filter((line) => line !== "" && !line.endsWith("should not contain ':'"));
    expect([complaints, status === 0 || status === 3, error]).toEqual([[], true, undefined]);
  }
  return new Map(
    page
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  );
}

/** Samples with a value, by their names without labels that all have. */
function valuesOf(samples: Map<string, number>, common: string): Record<string, number> {
  return Object.fromEntries(
    [...samples]
      .filter(([name]) => !name.includes("_seconds"))
      .map(([name, value]) => [name.replace(common, "").replace("{}", "").replace("{,", "{"), value]),
  );
}

/** One prompt of 41 tokens twice, then a shorter one; 5, 5 and 3 output tokens. */
async function work(url: string): Promise<void> {
  const prompt = Array.from({ length: 41 }, (_, i) => i);
  for (const [tokens, count] of [
    [prompt, 5],
    [prompt, 5],
    [prompt.slice(1, 10), 3],
  ] as const)
    await complete(`${url}/v1/completions`, { prompt: tokens, max_tokens: count });
}

describe("as vLLM", () => {
  test("counts tokens, hits and ends under vLLM's names", async () => {
    const url = await start("vllm-0.26");
    await work(url);
    expect(valuesOf(await scrape(url), 'model_name="a \\"model\\"",engine="0"')).toEqual({
      "vllm:num_requests_running": 0,
      "vllm:num_requests_waiting": 0,
      "vllm:kv_cache_usage_perc": 0,
      'vllm:cache_config_info{block_size="4",enable_prefix_caching="True",engine="0",num_gpu_blocks="100"}': 1,
      "vllm:prefix_cache_queries_total": 91,
      "vllm:prefix_cache_hits_total": 40,
      "vllm:external_prefix_cache_hits_total": 0,
      "vllm:num_preemptions_total": 0,
      "vllm:prompt_tokens_total": 91,
      "vllm:generation_tokens_total": 13,
      'vllm:request_success_total{finished_reason="stop"}': 0,
      'vllm:request_success_total{finished_reason="length"}': 3,
      'vllm:request_success_total{finished_reason="abort"}': 0,
    });
    const samples = await scrape(url);
    const labels = 'model_name="a \\"model\\"",engine="0"';
    expect(samples.get(`vllm:time_to_first_token_seconds_count{${labels}}`)).toBe(3);
    expect(samples.get(`vllm:e2e_request_latency_seconds_bucket{${labels},le="+Inf"}`)).toBe(3);
  });

  test("shows requests that run and wait, their memory, and their adapters, on the rank that has them", async () => {
    const url = await start("vllm-0.26", { dpSize: 2, loraNames: ["sql", "chat"], speed: 1 });
    const left = new AbortController();
    const ask = (model: string, first: number) =>
      send(
        `${url}/v1/completions`,
        { model, prompt: [first, 2, 3, 4, 5, 6, 7, 8], max_tokens: 300, ignore_eos: true },
        { "x-data-parallel-rank": "1" },
        left.signal,
      ).catch(() => undefined);
    const requests = [ask("sql", 1), ask("sql", 2)];
    const pressure = () => worker!.ranks[1]!.engine.pressure();
    await until("two run", () => pressure().running === 2);
    requests.push(ask("chat", 3));
    await until("one waits", () => pressure().waiting === 1);
    const busy = await scrape(url);
    const of = (samples: Map<string, number>, name: string): (number | undefined)[] =>
      [0, 1].map((rank) => samples.get(`vllm:${name}{model_name="a \\"model\\"",engine="${rank}"}`));
    expect(of(busy, "num_requests_running")).toEqual([0, 2]);
    expect(of(busy, "num_requests_waiting")).toEqual([0, 1]);
    const [idle, used] = of(busy, "kv_cache_usage_perc");
    expect([idle, used! >= 0.04 && used! < 1]).toEqual([0, true]);
    const adapters = [...busy].filter(([name]) => name.startsWith("vllm:lora_requests_info"));
    expect(adapters.map(([name]) => name)).toEqual([
      'vllm:lora_requests_info{max_lora="2",running_lora_adapters="sql",waiting_lora_adapters="chat"}',
    ]);
    expect(Math.abs(adapters[0]![1] - Date.now() / 1000)).toBeLessThan(60);
    left.abort();
    await Promise.all(requests);
    await until("all are gone", () => pressure().running + pressure().waiting === 0);
    const after = await scrape(url);
    expect(of(after, "num_requests_running")).toEqual([0, 0]);
    expect(of(after, "kv_cache_usage_perc")).toEqual([0, 0]);
    const ends = [...after].filter(([name]) => name.includes('engine="1",finished_reason="abort"'));
    expect(ends.map(([, value]) => value)).toEqual([3]);
  });
});

test("as SGLang it counts the same under SGLang's names", async () => {
  const url = await start("sglang-map", { dpSize: 2 });
  await Promise.all([]);
  const prompt = Array.from({ length: 41 }, (_, i) => i);
  for (const count of [5, 5])
    await complete(`${url}/v1/completions`, { prompt, max_tokens: count }, { "x-data-parallel-rank": "1" });
  const samples = await scrape(url);
  const common =
    'model_name="a \\"model\\"",engine_type="unified",tp_rank="0",pp_rank="0",moe_ep_rank="0",dp_rank="1"';
  const own = new Map([...samples].filter(([name]) => name.includes('dp_rank="1"')));
  expect(valuesOf(own, common)).toEqual({
    "sglang:num_running_reqs": 0,
    "sglang:num_queue_reqs": 0,
    "sglang:token_usage": 0,
    "sglang:num_used_tokens": 0,
    "sglang:cache_hit_rate": 40 / 82,
    "sglang:max_total_num_tokens": 400,
    "sglang:page_size": 4,
    "sglang:num_pages": 100,
    'sglang:cache_config_info{page_size="4",num_pages="100"}': 1,
    "sglang:prompt_tokens_total": 82,
    "sglang:generation_tokens_total": 10,
    'sglang:cached_tokens_total{cache_source="device"}': 40,
    'sglang:cached_tokens_total{cache_source="host"}': 0,
    "sglang:num_requests_total": 2,
    "sglang:num_aborted_requests_total": 0,
    "sglang:num_retracted_requests_total": 0,
  });
  expect(samples.get(`sglang:num_requests_total{${common.replace('"1"', '"0"')}}`)).toBe(0);
});

test("as trtllm-serve it counts blocks under trtllm-serve's names, at its path too", async () => {
  const url = await start("trtllm");
  await work(url);
  const samples = await scrape(url, "/prometheus/metrics");
  expect(valuesOf(samples, 'model_name="a \\"model\\"",engine_type="trtllm"')).toEqual({
    trtllm_num_requests_running: 0,
    trtllm_num_requests_waiting: 0,
    trtllm_kv_cache_utilization: 0,
    trtllm_kv_cache_hit_rate: 40 / 91,
    trtllm_kv_cache_max_blocks: 100,
    trtllm_kv_cache_free_blocks: 100,
    trtllm_kv_cache_used_blocks: 0,
    trtllm_kv_cache_tokens_per_block: 4,
    trtllm_kv_cache_reused_blocks_total: 10,
    trtllm_kv_cache_missed_blocks_total: 13,
    trtllm_prompt_tokens_total: 91,
    trtllm_generation_tokens_total: 13,
    trtllm_num_requests_completed_total: 3,
    'trtllm_request_success_total{finished_reason="stop"}': 0,
    'trtllm_request_success_total{finished_reason="length"}': 3,
    'trtllm_request_success_total{finished_reason="abort"}': 0,
  });
});
