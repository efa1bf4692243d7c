/**
 * `/metrics` of a simulated engine, in the names and labels of the engine whose dialect it speaks. One
 * sample per data-parallel rank.
 *
 *     vLLM          vllm:…      model_name, engine
 *     SGLang        sglang:…    model_name, engine_type, tp_rank, pp_rank, moe_ep_rank, dp_rank
 *     TensorRT-LLM  trtllm_…    model_name, engine_type, dp_rank (trtllm-serve has no rank label)
 *
 * The part of an engine's page that a router or a dashboard of ours reads, not the whole page. SGLang
 * moved page size and pages from labels of `cache_config_info` to gauges of their own; both forms
 * are here.
 *
 * Sources: vllm-project/vllm vllm/v1/metrics/loggers.py @ 005a810b; sgl-project/sglang
 * python/sglang/srt/observability/metrics_collector.py @ 016d8605, and its 0.5.10 for `cache_config_info`;
 * NVIDIA/TensorRT-LLM tensorrt_llm/metrics/collector.py @ 050f80de. Counters have the `_total` that Python's client adds.
 */
import type { DriverTally, Histogram } from "../driver-tally.ts";
import type { EngineCounters, EnginePressure } from "../engine-contract.ts";
import type { SimulatedEngine } from "../simulated-engine.ts";
import { exposition, type Family, type Labels } from "./exposition.ts";

/** A rank as its metrics see it. */
export interface MeasuredRank {
  readonly engine: SimulatedEngine;
  /** `null` when no driver runs it: then the ends of requests are not counted. */
  readonly tally: DriverTally | null;
}

/** What one rank's samples are made of. */
interface Reading {
  readonly labels: Labels;
  readonly rank: MeasuredRank;
  readonly pressure: EnginePressure;
  readonly counters: EngineCounters;
}

type Value = (reading: Reading) => number;

/**
 * The page.
 *
 * @param ranks - of one port, at least one; all of one model and dialect.
 * @param nowSeconds - wall clock, for the timestamp of `vllm:lora_requests_info`.
 */
export function engineMetrics(ranks: readonly MeasuredRank[], nowSeconds: number): string {
  const family = ranks[0]?.engine.voice.family ?? "vllm";
  const readings = ranks.map((rank) => ({
    labels: labelsOf(rank.engine, ranks.length),
    rank,
    pressure: rank.engine.pressure(),
    counters: rank.engine.counters,
  }));
  if (family === "sglang") return exposition(sglangFamilies(readings));
  if (family === "trtllm") return exposition(trtllmFamilies(readings));
  return exposition([...vllmFamilies(readings), ...vllmAdapters(ranks, nowSeconds)]);
}

function labelsOf({ settings, voice }: SimulatedEngine, rankCount: number): Labels {
  const { model, dpRank } = settings;
  if (voice.family === "vllm") return { model_name: model, engine: String(dpRank) };
  const rank: Labels = rankCount > 1 || dpRank > 0 ? { dp_rank: String(dpRank) } : {};
  if (voice.family === "trtllm") return { model_name: model, engine_type: "trtllm", ...rank };
  return { model_name: model, engine_type: "unified", tp_rank: "0", pp_rank: "0", moe_ep_rank: "0", ...rank };
}

function vllmFamilies(readings: readonly Reading[]): Family[] {
  const { gauge, counter, histogram, info, ends } = familiesOf(readings);
  return [
    gauge("vllm:num_requests_running", "Number of requests in model execution batches.", running),
    gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", waiting),
    gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", usage),
    info("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", ({ rank: { engine } }) => ({
      block_size: String(engine.settings.blockSize),
      enable_prefix_caching: "True",
      engine: String(engine.settings.dpRank),
      num_gpu_blocks: String(engine.settings.blockCount),
    })),
    counter(
      "vllm:prefix_cache_queries_total",
      "Prefix cache queries, in terms of number of queried tokens.",
      ({ counters }) => counters.queriedTokens,
    ),
    counter(
      "vllm:prefix_cache_hits_total",
      "Prefix cache hits, in terms of number of cached tokens.",
      ({ counters }) => counters.hitTokens,
    ),
    counter(
      "vllm:external_prefix_cache_hits_total",
      "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.",
      ({ counters }) => counters.hostHitTokens,
    ),
    counter(
      "vllm:num_preemptions_total",
      "Cumulative number of preemption from the engine.",
      ({ counters }) => counters.preemptions,
    ),
    counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.", prefilled),
    counter("vllm:generation_tokens_total", "Number of generation tokens processed.", generated),
    ends("vllm:request_success_total", "Count of successfully processed requests."),
    histogram(
      "vllm:time_to_first_token_seconds",
      "Histogram of time to first token in seconds.",
      (tally) => tally.firstTokenSeconds,
    ),
    histogram(
      "vllm:e2e_request_latency_seconds",
      "Histogram of e2e request latency in seconds.",
      (tally) => tally.requestSeconds,
    ),
  ];
}

// One series for the server, as there: its labels name adapters, and its value is the time.
function vllmAdapters(ranks: readonly MeasuredRank[], nowSeconds: number): Family[] {
  const served = ranks[0]?.engine.settings.loraNames ?? [];
  if (served.length === 0) return [];
  const inUse = ranks.map(({ engine }) => engine.adaptersInUse());
  const names = (kind: "running" | "waiting"): string =>
    [...new Set(inUse.flatMap((one) => one[kind]))].join(",");
  const labels = {
    max_lora: String(served.length),
    running_lora_adapters: names("running"),
    waiting_lora_adapters: names("waiting"),
  };
  return [
    {
      name: "vllm:lora_requests_info",
      type: "gauge",
      help: "Running stats on lora requests.",
      samples: [[labels, nowSeconds]],
    },
  ];
}

function sglangFamilies(readings: readonly Reading[]): Family[] {
  const { gauge, counter, histogram, info } = familiesOf(readings);
  return [
    gauge("sglang:num_running_reqs", "The number of running requests.", running),
    gauge("sglang:num_queue_reqs", "The number of requests in the waiting queue.", waiting),
    gauge("sglang:token_usage", "The token usage.", usage),
    gauge("sglang:num_used_tokens", "The number of used tokens.", (one) => usedBlocks(one) * blockSize(one)),
    gauge("sglang:cache_hit_rate", "The prefix cache hit rate.", hitRate),
    gauge(
      "sglang:max_total_num_tokens",
      "Maximum total number of tokens in the KV cache pool.",
      (one) => one.pressure.blockCount * blockSize(one),
    ),
    gauge("sglang:page_size", "KV cache page size in tokens.", blockSize),
    gauge("sglang:num_pages", "Number of KV cache pages.", ({ pressure }) => pressure.blockCount),
    info("sglang:cache_config_info", "Information of the cache config.", (one) => ({
      ...one.labels,
      page_size: String(blockSize(one)),
      num_pages: String(one.pressure.blockCount),
    })),
    counter("sglang:prompt_tokens_total", "Number of prefill tokens processed.", prefilled),
    counter("sglang:generation_tokens_total", "Number of generation tokens processed.", generated),
    cachedTokens(readings),
    counter("sglang:num_requests_total", "Number of requests processed.", finishedCount),
    counter("sglang:num_aborted_requests_total", "Number of requests aborted.", abortedCount),
    counter(
      "sglang:num_retracted_requests_total",
      "Total number of retracted requests.",
      ({ counters }) => counters.preemptions,
    ),
    histogram(
      "sglang:time_to_first_token_seconds",
      "Histogram of time to first token in seconds.",
      (tally) => tally.firstTokenSeconds,
    ),
    histogram(
      "sglang:e2e_request_latency_seconds",
      "Histogram of End-to-end request latency in seconds",
      (tally) => tally.requestSeconds,
    ),
  ];
}

function cachedTokens(readings: readonly Reading[]): Family {
  return {
    name: "sglang:cached_tokens_total",
    type: "counter",
    help: "Number of cached prompt tokens by source (device/host/storage).",
    samples: readings.flatMap(({ labels, counters }) => [
      [{ ...labels, cache_source: "device" }, counters.hitTokens] as const,
      [{ ...labels, cache_source: "host" }, counters.hostHitTokens] as const,
    ]),
  };
}

function trtllmFamilies(readings: readonly Reading[]): Family[] {
  const { gauge, counter, histogram, ends } = familiesOf(readings);
  const blocks = (one: Reading, tokens: number): number => tokens / blockSize(one);
  return [
    gauge("trtllm_num_requests_running", "Number of active requests", running),
    gauge("trtllm_num_requests_waiting", "Number of queued requests", waiting),
    gauge("trtllm_kv_cache_utilization", "KV cache utilization", usage),
    gauge("trtllm_kv_cache_hit_rate", "KV cache hit rate", hitRate),
    gauge(
      "trtllm_kv_cache_max_blocks",
      "Maximum number of KV cache blocks",
      (one) => one.pressure.blockCount,
    ),
    gauge("trtllm_kv_cache_free_blocks", "Number of free KV cache blocks", (one) => one.pressure.freeBlocks),
    gauge("trtllm_kv_cache_used_blocks", "Number of used KV cache blocks", usedBlocks),
    gauge("trtllm_kv_cache_tokens_per_block", "Tokens per KV cache block", blockSize),
    counter(
      "trtllm_kv_cache_reused_blocks_total",
      "Cumulative number of KV cache blocks reused (cache hits)",
      (one) => blocks(one, one.counters.hitTokens + one.counters.hostHitTokens),
    ),
    counter(
      "trtllm_kv_cache_missed_blocks_total",
      "Cumulative number of KV cache blocks missed (cache misses)",
      (one) =>
        Math.ceil(
          blocks(one, one.counters.queriedTokens - one.counters.hitTokens - one.counters.hostHitTokens),
        ),
    ),
    counter("trtllm_prompt_tokens_total", "Cumulative number of prompt (input) tokens processed.", prefilled),
    counter(
      "trtllm_generation_tokens_total",
      "Cumulative number of generation (output) tokens produced.",
      generated,
    ),
    counter(
      "trtllm_num_requests_completed_total",
      "Total number of completed requests across iterations",
      finishedCount,
    ),
    ends("trtllm_request_success_total", "Count of successfully processed requests."),
    histogram(
      "trtllm_time_to_first_token_seconds",
      "Histogram of time to first token in seconds.",
      (tally) => tally.firstTokenSeconds,
    ),
    histogram(
      "trtllm_e2e_request_latency_seconds",
      "Histogram of end to end request latency in seconds.",
      (tally) => tally.requestSeconds,
    ),
  ];
}

const running: Value = ({ pressure }) => pressure.running;
const waiting: Value = ({ pressure }) => pressure.waiting;
const usedBlocks: Value = ({ pressure }) => pressure.blockCount - pressure.freeBlocks;
const usage: Value = (one) => usedBlocks(one) / one.pressure.blockCount;
const blockSize: Value = ({ rank }) => rank.engine.settings.blockSize;
const prefilled: Value = ({ counters }) => counters.prefilledTokens;
const generated: Value = ({ counters }) => counters.generatedTokens;
const finishedCount: Value = ({ counters }) => counters.requestsFinished;
const abortedCount: Value = ({ counters }) => counters.requestsAborted;
const hitRate: Value = ({ counters: { queriedTokens, hitTokens, hostHitTokens } }) =>
  queriedTokens === 0 ? 0 : (hitTokens + hostHitTokens) / queriedTokens;

/** Makers of families over all ranks. */
interface FamilyMakers {
  readonly gauge: (name: string, help: string, valueOf: Value) => Family;
  readonly counter: (name: string, help: string, valueOf: Value) => Family;
  readonly histogram: (name: string, help: string, of: (tally: DriverTally) => Histogram) => Family;
  readonly info: (name: string, help: string, labelsFor: (reading: Reading) => Labels) => Family;
  readonly ends: (name: string, help: string) => Family;
}

function familiesOf(readings: readonly Reading[]): FamilyMakers {
  const plain =
    (type: "gauge" | "counter") =>
    (name: string, help: string, valueOf: Value): Family => ({
      name,
      type,
      help,
      samples: readings.map((one) => [one.labels, valueOf(one)] as const),
    });
  return {
    gauge: plain("gauge"),
    counter: plain("counter"),
    histogram: (name, help, of) => ({
      name,
      type: "histogram",
      help,
      samples: readings.flatMap(({ labels, rank: { tally } }) =>
        tally === null ? [] : [[labels, of(tally)] as const],
      ),
    }),
    info: (name, help, labelsFor) => ({
      name,
      type: "gauge",
      help,
      samples: readings.map((one) => [labelsFor(one), 1] as const),
    }),
    ends: (name, help) => ({
      name,
      type: "counter",
      help,
      samples: readings.flatMap(({ labels, rank: { tally } }) =>
        tally === null
          ? []
          : (
              [
                ["stop", tally.stopped],
                ["length", tally.limited],
                ["abort", tally.aborted],
              ] as const
            ).map(([reason, value]) => [{ ...labels, finished_reason: reason }, value] as const),
      ),
    }),
  };
}
