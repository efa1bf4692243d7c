/**
 * Reads how busy and how large an engine is from its metrics page, in Prometheus' text format.
 *
 *     page (bytes) ─▶ lines of engines' names ─▶ whose names? ─▶ running, waiting, capacity, KV usage, vLLM's adapters
 *
 *               running                      waiting                      tokens of KV on the device
 *     vLLM      vllm:num_requests_running    vllm:num_requests_waiting    vllm:cache_config_info{kv_cache_size_tokens}, else
 *                                                                         {block_size} × {num_gpu_blocks}
 *     SGLang    sglang:num_running_reqs      sglang:num_queue_reqs        sglang:page_size × sglang:num_pages, else
 *                                                                         sglang:cache_config_info{page_size} × {num_pages}
 *     TensorRT  trtllm_num_requests_running  trtllm_num_requests_waiting  trtllm_kv_cache_tokens_per_block × …_max_blocks
 *
 *  N1  The reading is the one that comes of all lines read one by one (engine-metrics.test.ts "N1").
 *  N2  A page of any bytes is read or is none of an engine; nothing throws (engine-metrics.test.ts "N2").
 *
 * The names on a page show whose it is. The samples of a name are summed, over DP ranks behind one port (labels `engine`,
 * `dp_rank`). The greatest KV usage counts. Samples with SGLang's label `priority` are left out: they split the total. No other label counts.
 *
 * Not here: fetching pages (metrics-page.ts), what follows from a reading (load-scrape.ts). SGLang's
 * `--enable-metrics-for-all-schedulers` repeats each figure per TP rank and counts it as often.
 *
 * Sources: vllm-project/vllm vllm/v1/metrics/loggers.py @ 005a810b; sgl-project/sglang
 * python/sglang/srt/observability/metrics_collector.py @ 016d8605, and its 0.5.10 for `cache_config_info`;
 * NVIDIA/TensorRT-LLM tensorrt_llm/metrics/collector.py @ 050f80de.
 */
import type { EngineLoad } from "./endpoint-fleet.ts";
import { LineSearch } from "./line-search.ts";

/** Longest line that is read; vLLM's longest has some 700 characters. */
const LINE_BYTES_MAX = 16 * 1024;
/** Samples of one name that are read: one per DP rank, and per priority. */
const SAMPLES_MAX = 4096;
/** More adapters than one engine is told to load. */
const ADAPTERS_MAX = 1024;
/** More than any engine has; books stay whole numbers whatever a page says. */
const REQUESTS_MAX = 1_000_000;
const CAPACITY_TOKENS_MAX = 1_000_000_000_000;

/** One line with a value. */
interface Sample {
  readonly labels: string;
  readonly value: number;
}

/** The samples of each name that is on a page. */
type Samples = ReadonlyMap<string, readonly Sample[]>;

/** The names of one engine. */
interface EngineNames {
  readonly running: string;
  readonly waiting: string;
  readonly kvUsage: string;
  /** What its capacity is read from. */
  readonly sizes: readonly string[];
  /** Tokens of KV on the device; 0 when the page does not say. */
  readonly capacityOf: (samples: Samples) => number;
}

/** Its value is the time of the sample. */
const VLLM_ADAPTERS = "vllm:lora_requests_info";
const VLLM_CACHE = "vllm:cache_config_info";
const SGLANG_CACHE = "sglang:cache_config_info";
const SGLANG_PAGE_SIZE = "sglang:page_size";
const SGLANG_PAGES = "sglang:num_pages";
const TRTLLM_BLOCK_SIZE = "trtllm_kv_cache_tokens_per_block";
const TRTLLM_BLOCKS = "trtllm_kv_cache_max_blocks";
const KV_TOKENS = labelPattern("kv_cache_size_tokens");
const BLOCK_SIZE = labelPattern("block_size");
const GPU_BLOCKS = labelPattern("num_gpu_blocks");
const PAGE_SIZE = labelPattern("page_size");
const PAGES = labelPattern("num_pages");

const ENGINES: readonly EngineNames[] = [
  {
    running: "vllm:num_requests_running",
    waiting: "vllm:num_requests_waiting",
    kvUsage: "vllm:kv_cache_usage_perc",
    sizes: [VLLM_CACHE],
    // With several kinds of attention a block has no fixed number of tokens: vLLM says the tokens too, where it can.
    capacityOf: (samples) =>
      sumOf(samples.get(VLLM_CACHE), ({ labels }) => {
        const tokens = label(labels, KV_TOKENS);
        return tokens > 0 ? tokens : label(labels, BLOCK_SIZE) * label(labels, GPU_BLOCKS);
      }),
  },
  {
    running: "sglang:num_running_reqs",
    waiting: "sglang:num_queue_reqs",
    kvUsage: "sglang:token_usage",
    sizes: [SGLANG_PAGE_SIZE, SGLANG_PAGES, SGLANG_CACHE],
    capacityOf: (samples) =>
      product(samples.get(SGLANG_PAGE_SIZE), samples.get(SGLANG_PAGES)) ||
      sumOf(samples.get(SGLANG_CACHE), ({ labels }) => label(labels, PAGE_SIZE) * label(labels, PAGES)),
  },
  {
    running: "trtllm_num_requests_running",
    waiting: "trtllm_num_requests_waiting",
    kvUsage: "trtllm_kv_cache_utilization",
    sizes: [TRTLLM_BLOCK_SIZE, TRTLLM_BLOCKS],
    capacityOf: (samples) => product(samples.get(TRTLLM_BLOCK_SIZE), samples.get(TRTLLM_BLOCKS)),
  },
];
const NAMES = [
  ...ENGINES.flatMap(({ running, waiting, kvUsage, sizes }) => [running, waiting, kvUsage, ...sizes]),
  VLLM_ADAPTERS,
];
const SEARCH = new LineSearch(NAMES);

/**
 * Reads a page.
 *
 * @param page - all of it; not changed and not kept.
 * @returns null when it has neither the running nor the waiting requests of an engine that is known.
 */
export function readEngineMetrics(page: Buffer): EngineLoad | null {
  const samples = samplesOf(page);
  for (const { running, waiting, kvUsage, capacityOf } of ENGINES) {
    const [runs, waits] = [samples.get(running), samples.get(waiting)];
    if (runs === undefined && waits === undefined) continue;
    const capacity = Math.min(CAPACITY_TOKENS_MAX, Math.round(capacityOf(samples)));
    const usages = samples.get(kvUsage);
    const adapters = adaptersIn(samples.get(VLLM_ADAPTERS));
    return {
      running: requestsIn(runs),
      waiting: requestsIn(waits),
      capacityTokens: capacity > 0 ? capacity : null,
      // Of several ranks the fullest: a request goes to one of them.
      ...(usages !== undefined && { kvUsage: Math.min(1, Math.max(...usages.map(valueOf))) }),
      ...(adapters !== null && { adapters }),
    };
  }
  return null;
}

/** The lines with a usable value, by name. */
function samplesOf(page: Buffer): Samples {
  const samples = new Map<string, Sample[]>();
  SEARCH.lines(page, (position, after, end) => {
    const name = NAMES[position] ?? "";
    if (end - after > LINE_BYTES_MAX - name.length) return;
    const known = samples.get(name);
    if (known !== undefined && known.length >= SAMPLES_MAX) return;
    const sample = sampleIn(page.toString("latin1", after, end));
    if (sample === null) return;
    if (known === undefined) samples.set(name, [sample]);
    else known.push(sample);
  });
  return samples;
}

/** The rest of a line after its name: labels, value, perhaps a time. Null for a part of a total, and for no number of requests or tokens. */
function sampleIn(rest: string): Sample | null {
  const [, labels = "", written = ""] = /^(?:\{(.*)\})?[ \t]+(\S+)/.exec(rest) ?? [];
  const value = written === "" ? Number.NaN : Number(written);
  if (!Number.isFinite(value) || value < 0 || /(?:^|,)priority="[^"]/.test(labels)) return null;
  return { labels, value };
}

/** A number that a label has; 0 when there is none. */
function label(labels: string, pattern: RegExp): number {
  const [, written = ""] = pattern.exec(labels) ?? [];
  return Number(written);
}

function labelPattern(name: string): RegExp {
  return new RegExp(`(?:^|,)${name}="(\\d{1,15})"`);
}

/**
 * vLLM keeps a series for each set of adapters that it ever ran, with the time as value: the latest counts. It names those
 * that run or wait, so that one that idles in memory looks not loaded. Null without such a series.
 */
function adaptersIn(samples: readonly Sample[] = []): readonly string[] | null {
  const [first, ...others] = samples;
  if (first === undefined) return null;
  const { labels } = others.reduce((latest, one) => (one.value > latest.value ? one : latest), first);
  const names = [...labels.matchAll(/(?:^|,)(?:running|waiting)_lora_adapters="([^"]*)"/g)];
  return names
    .flatMap(([, list = ""]) => list.split(","))
    .filter((name) => name !== "")
    .slice(0, ADAPTERS_MAX);
}

function requestsIn(samples: readonly Sample[] | undefined): number {
  return Math.min(REQUESTS_MAX, Math.round(sumOf(samples, valueOf)));
}

/** The tokens of a block times all blocks of all ranks. */
function product(size: readonly Sample[] | undefined, count: readonly Sample[] | undefined): number {
  return (size?.[0]?.value ?? 0) * sumOf(count, valueOf);
}

function valueOf({ value }: Sample): number {
  return value;
}

function sumOf(samples: readonly Sample[] | undefined, of: (sample: Sample) => number): number {
  return (samples ?? []).reduce((sum, sample) => sum + of(sample), 0);
}
