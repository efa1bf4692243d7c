/**
 * Reads how busy and how large an engine is from its metrics page, in Prometheus' text format.
 *
 *     page (bytes) ─▶ an engine's names? ─▶ their lines alone ─▶ running, waiting, capacity, KV usage, vLLM's adapters
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

/** Longest line that is read; vLLM's longest has some 700 characters. */
const LINE_BYTES_MAX = 16 * 1024;
/** Samples of one name that are read: one per DP rank, and per priority. */
const SAMPLES_MAX = 4096;
/** More adapters than one engine is told to load. */
const ADAPTERS_MAX = 1024;
/** More than any engine has; books stay whole numbers whatever a page says. */
const REQUESTS_MAX = 1_000_000;
const CAPACITY_TOKENS_MAX = 1_000_000_000_000;
const NEWLINE = 0x0a;
const BRACE = 0x7b;
const SPACE = 0x20;
const TAB = 0x09;

/** One line with a value. */
interface Sample {
  readonly labels: string;
  readonly value: number;
}

/** The names of one engine. */
interface EngineNames {
  readonly running: Buffer;
  readonly waiting: Buffer;
  readonly kvUsage: Buffer;
  /** Tokens of KV on the device; 0 when the page does not say. */
  readonly capacityOf: (page: Buffer) => number;
}

/** Its value is the time of the sample. */
const VLLM_ADAPTERS = Buffer.from("vllm:lora_requests_info");
const VLLM_CACHE = Buffer.from("vllm:cache_config_info");
const SGLANG_CACHE = Buffer.from("sglang:cache_config_info");
const SGLANG_PAGE_SIZE = Buffer.from("sglang:page_size");
const SGLANG_PAGES = Buffer.from("sglang:num_pages");
const TRTLLM_BLOCK_SIZE = Buffer.from("trtllm_kv_cache_tokens_per_block");
const TRTLLM_BLOCKS = Buffer.from("trtllm_kv_cache_max_blocks");

const ENGINES: readonly EngineNames[] = [
  {
    running: Buffer.from("vllm:num_requests_running"),
    waiting: Buffer.from("vllm:num_requests_waiting"),
    kvUsage: Buffer.from("vllm:kv_cache_usage_perc"),
    // With several kinds of attention a block has no fixed number of tokens: vLLM says the tokens too, where it can.
    capacityOf: (page) =>
      sumOf(samplesOf(page, VLLM_CACHE), ({ labels }) => {
        const tokens = label(labels, "kv_cache_size_tokens");
        return tokens > 0 ? tokens : label(labels, "block_size") * label(labels, "num_gpu_blocks");
      }),
  },
  {
    running: Buffer.from("sglang:num_running_reqs"),
    waiting: Buffer.from("sglang:num_queue_reqs"),
    kvUsage: Buffer.from("sglang:token_usage"),
    capacityOf: (page) =>
      product(page, SGLANG_PAGE_SIZE, SGLANG_PAGES) ||
      sumOf(
        samplesOf(page, SGLANG_CACHE),
        ({ labels }) => label(labels, "page_size") * label(labels, "num_pages"),
      ),
  },
  {
    running: Buffer.from("trtllm_num_requests_running"),
    waiting: Buffer.from("trtllm_num_requests_waiting"),
    kvUsage: Buffer.from("trtllm_kv_cache_utilization"),
    capacityOf: (page) => product(page, TRTLLM_BLOCK_SIZE, TRTLLM_BLOCKS),
  },
];

/**
 * Reads a page.
 *
 * @param page - all of it; not changed and not kept.
 * @returns null when it has neither the running nor the waiting requests of an engine that is known.
 */
export function readEngineMetrics(page: Buffer): EngineLoad | null {
  for (const { running, waiting, kvUsage, capacityOf } of ENGINES) {
    const runs = samplesOf(page, running);
    const waits = samplesOf(page, waiting);
    if (runs.length === 0 && waits.length === 0) continue;
    const capacity = Math.min(CAPACITY_TOKENS_MAX, Math.round(capacityOf(page)));
    const usages = samplesOf(page, kvUsage);
    const adapters = adaptersIn(samplesOf(page, VLLM_ADAPTERS));
    return {
      running: requestsIn(runs),
      waiting: requestsIn(waits),
      capacityTokens: capacity > 0 ? capacity : null,
      // Of several ranks the fullest: a request goes to one of them.
      ...(usages.length > 0 && { kvUsage: Math.min(1, Math.max(...usages.map(valueOf))) }),
      ...(adapters !== null && { adapters }),
    };
  }
  return null;
}

/** The lines of one name that have a usable value. */
function samplesOf(page: Buffer, name: Buffer): readonly Sample[] {
  const samples: Sample[] = [];
  let at = page.indexOf(name);
  while (at >= 0 && samples.length < SAMPLES_MAX) {
    const after = at + name.length;
    const found = page.indexOf(NEWLINE, after);
    const end = found < 0 ? page.length : found;
    if (isLineOf(page, at, after) && end - at <= LINE_BYTES_MAX) {
      const sample = sampleIn(page.toString("latin1", after, end));
      if (sample !== null) samples.push(sample);
    }
    at = page.indexOf(name, end);
  }
  return samples;
}

/** Whether the name stands at the beginning of a line, and is the whole name. */
function isLineOf(page: Buffer, at: number, after: number): boolean {
  const next = page[after];
  return (at === 0 || page[at - 1] === NEWLINE) && (next === BRACE || next === SPACE || next === TAB);
}

/** The rest of a line after its name: labels, value, perhaps a time. Null for a part of a total, and for no number of requests or tokens. */
function sampleIn(rest: string): Sample | null {
  const [, labels = "", written = ""] = /^(?:\{(.*)\})?[ \t]+(\S+)/.exec(rest) ?? [];
  const value = written === "" ? Number.NaN : Number(written);
  if (!Number.isFinite(value) || value < 0 || /(?:^|,)priority="[^"]/.test(labels)) return null;
  return { labels, value };
}

/** A number that a label has; 0 when there is none. */
function label(labels: string, name: string): number {
  const [, written = ""] = new RegExp(`(?:^|,)${name}="(\\d{1,15})"`).exec(labels) ?? [];
  return Number(written);
}

/**
 * vLLM keeps a series for each set of adapters that it ever ran, with the time as value: the latest counts. It names those
 * that run or wait, so that one that idles in memory looks not loaded. Null without such a series.
 */
function adaptersIn(samples: readonly Sample[]): readonly string[] | null {
  const [first, ...others] = samples;
  if (first === undefined) return null;
  const { labels } = others.reduce((latest, one) => (one.value > latest.value ? one : latest), first);
  const names = [...labels.matchAll(/(?:^|,)(?:running|waiting)_lora_adapters="([^"]*)"/g)];
  return names
    .flatMap(([, list = ""]) => list.split(","))
    .filter((name) => name !== "")
    .slice(0, ADAPTERS_MAX);
}

function requestsIn(samples: readonly Sample[]): number {
  return Math.min(REQUESTS_MAX, Math.round(sumOf(samples, valueOf)));
}

/** The tokens of a block times all blocks of all ranks. */
function product(page: Buffer, size: Buffer, count: Buffer): number {
  const [perBlock] = samplesOf(page, size);
  return perBlock === undefined ? 0 : perBlock.value * sumOf(samplesOf(page, count), valueOf);
}

function valueOf({ value }: Sample): number {
  return value;
}

function sumOf(samples: readonly Sample[], of: (sample: Sample) => number): number {
  return samples.reduce((sum, sample) => sum + of(sample), 0);
}
