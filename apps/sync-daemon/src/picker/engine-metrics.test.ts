/** Pages as the engines write them, and pages of anything against a reader that takes line by line. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { EngineLoad } from "./endpoint-fleet.ts";
import { readEngineMetrics } from "./engine-metrics.ts";

function read(...lines: readonly string[]): EngineLoad | null {
  return readEngineMetrics(Buffer.from(lines.map((line) => `${line}\n`).join("")));
}

/** As vLLM 0.26 writes it, with what stands beside the names that count. */
const VLLM = [
  "# HELP python_gc_objects_collected_total Objects collected during gc",
  "# TYPE python_gc_objects_collected_total counter",
  'python_gc_objects_collected_total{generation="0"} 146351.0',
  "# HELP vllm:num_requests_running Number of requests in model execution batches.",
  "# TYPE vllm:num_requests_running gauge",
  'vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 3.0',
  "# HELP vllm:num_requests_waiting Number of requests waiting to be processed.",
  "# TYPE vllm:num_requests_waiting gauge",
  'vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 2.0',
  "# HELP vllm:num_requests_waiting_by_reason Number of requests waiting, by reason.",
  "# TYPE vllm:num_requests_waiting_by_reason gauge",
  'vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="capacity"} 2.0',
  'vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="deferred"} 0.0',
  "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig",
  "# TYPE vllm:cache_config_info gauge",
  'vllm:cache_config_info{block_size="16",cache_dtype="auto",cpu_kvcache_space_bytes="None",enable_prefix_caching="True",engine="0",gpu_memory_utilization="0.9",mamba_block_size="32",num_cpu_blocks="None",num_gpu_blocks="74272",num_gpu_blocks_override="None",sliding_window="None"} 1.0',
];

const SGLANG_LABELS = 'engine_type="unified",model_name="m",moe_ep_rank="0",pp_rank="0",tp_rank="0"';

describe("the page of an engine", () => {
  it("of vLLM has its requests and its blocks", () => {
    expect(read(...VLLM)).toEqual({ running: 3, waiting: 2, capacityTokens: 16 * 74272 });
  });

  it("of vLLM with several ranks behind one port has the sums", () => {
    const ranks = [0, 1].flatMap((engine) =>
      VLLM.map((line) => line.replace('engine="0"', `engine="${engine}"`)),
    );
    expect(read(...ranks)).toEqual({ running: 6, waiting: 4, capacityTokens: 2 * 16 * 74272 });
  });

  it("of vLLM has its KV usage, of the fullest rank, and the adapters of the latest series", () => {
    expect(
      read(
        "vllm:num_requests_running 1",
        'vllm:kv_cache_usage_perc{engine="0"} 0.25',
        'vllm:kv_cache_usage_perc{engine="1"} 0.75',
        'vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""} 1790347303.1',
        'vllm:lora_requests_info{max_lora="4",running_lora_adapters="a,b",waiting_lora_adapters="c"} 1790347304.2',
        'vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1790347300.0',
      ),
    ).toEqual({ running: 1, waiting: 0, capacityTokens: null, kvUsage: 0.75, adapters: ["a", "b", "c"] });
  });

  it("of SGLang and of TensorRT-LLM has its KV usage", () => {
    expect(read("sglang:num_running_reqs 1", "sglang:token_usage 0.5")?.kvUsage).toBe(0.5);
    expect(read("trtllm_num_requests_running 1", "trtllm_kv_cache_utilization 7")?.kvUsage).toBe(1);
  });

  it("of vLLM says the tokens itself where blocks are of several kinds", () => {
    expect(
      read(
        "vllm:num_requests_running 1",
        'vllm:cache_config_info{block_size="8",kv_cache_size_tokens="463459",num_gpu_blocks="320"} 1.0',
      ),
    ).toEqual({ running: 1, waiting: 0, capacityTokens: 463_459 });
  });

  it("of vLLM before the blocks are counted has no capacity", () => {
    expect(
      read(
        "vllm:num_requests_waiting 1",
        'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0',
      ),
    ).toEqual({ running: 0, waiting: 1, capacityTokens: null });
  });

  it("of SGLang has its pages in labels, before 0.5.16", () => {
    expect(
      read(
        `sglang:num_running_reqs{${SGLANG_LABELS}} 162.0`,
        `sglang:num_queue_reqs{${SGLANG_LABELS}} 2826.0`,
        `sglang:cache_config_info{${SGLANG_LABELS},num_pages="12500",page_size="16"} 1.0`,
      ),
    ).toEqual({ running: 162, waiting: 2826, capacityTokens: 200_000 });
  });

  it("of SGLang has its pages in gauges, of each rank, and both forms count once", () => {
    const rank = (dp: number): string[] => [
      `sglang:num_running_reqs{dp_rank="${dp}",${SGLANG_LABELS}} 1.0`,
      `sglang:num_queue_reqs{dp_rank="${dp}",${SGLANG_LABELS}} 2.0`,
      `sglang:page_size{dp_rank="${dp}",${SGLANG_LABELS}} 16.0`,
      `sglang:num_pages{dp_rank="${dp}",${SGLANG_LABELS}} 1000.0`,
      `sglang:cache_config_info{dp_rank="${dp}",num_pages="1000",page_size="16"} 1.0`,
    ];
    expect(read(...rank(0), ...rank(1))).toEqual({ running: 2, waiting: 4, capacityTokens: 32_000 });
  });

  it("of SGLang with priorities has each request once: samples with a priority split the total", () => {
    const of = (priority: string, running: number): string =>
      `sglang:num_running_reqs{${SGLANG_LABELS},priority="${priority}"} ${running}`;
    expect(read(of("", 3), of("10", 2), of("20", 1))?.running).toBe(3);
  });

  it("of trtllm-serve has its blocks", () => {
    const labels = 'engine_type="undefined",model_name="Qwen3-0.6B"';
    expect(
      read(
        `trtllm_num_requests_running{${labels}} 4.0`,
        `trtllm_num_requests_waiting{${labels}} 1.0`,
        `trtllm_kv_cache_max_blocks{${labels}} 19960.0`,
        `trtllm_kv_cache_tokens_per_block{${labels}} 32.0`,
      ),
    ).toEqual({ running: 4, waiting: 1, capacityTokens: 32 * 19960 });
  });

  it("has no labels, or any: quotes and braces in them do not end it", () => {
    expect(read("vllm:num_requests_running 7")?.running).toBe(7);
    expect(read('vllm:num_requests_running{model_name="a \\"}\\" 9"} 7 1790347303000')?.running).toBe(7);
    expect(read('vllm:num_requests_running{a=",priority=\\"1\\"",b="block_size"} 7', "x 1")?.running).toBe(7);
  });

  it("is none of an engine: JSON, HTML, nothing, other names, values that are no numbers of requests", () => {
    for (const page of [
      "",
      '[{"numActiveRequests": 3}]',
      "<html>vllm:num_requests_running 3</html>",
      "xvllm:num_requests_running 3",
      "vllm:num_requests_running_total 3",
      "# TYPE vllm:num_requests_running gauge",
      "vllm:num_requests_running NaN",
      "vllm:num_requests_running -1",
      "vllm:num_requests_running +Inf",
      "vllm:num_requests_running",
    ])
      expect([page, read(page)]).toEqual([page, null]);
  });

  it("is read to bounds: whole numbers, and no longer line than engines write", () => {
    expect(read("vllm:num_requests_running 1e300", "vllm:num_requests_waiting 1.4")).toMatchObject({
      running: 1_000_000,
      waiting: 1,
    });
    expect(read(`vllm:num_requests_running{a="${"x".repeat(20_000)}"} 3`)).toBeNull();
  });
});

/** Reads labels character by character. */
function labelsIn(text: string): { labels: Map<string, string>; rest: string } {
  const labels = new Map<string, string>();
  let at = 1;
  while (at < text.length && text[at] !== "}") {
    const equals = text.indexOf('="', at);
    const name = text.slice(at, equals).replace(/^,/, "");
    let value = "";
    for (at = equals + 2; text[at] !== '"'; at += 1) {
      if (text[at] === "\\") at += 1;
      value += text[at] ?? "";
    }
    labels.set(name, value);
    at += 1;
  }
  return { labels, rest: text.slice(at + 1) };
}

interface Line {
  readonly name: string;
  readonly labels: Map<string, string>;
  readonly value: number;
}

/** Every line of a page, read one by one. */
function linesOf(page: string): Line[] {
  return page.split("\n").flatMap((line) => {
    const name = /^[^{ #]+/.exec(line)?.[0];
    if (name === undefined) return [];
    const after = line.slice(name.length);
    const { labels, rest } = after.startsWith("{")
      ? labelsIn(after)
      : { labels: new Map<string, string>(), rest: after };
    const value = Number(rest.trim().split(" ")[0] ?? "");
    return (labels.get("priority") ?? "") === "" ? [{ name, labels, value }] : [];
  });
}

function naive(page: string): EngineLoad | null {
  const lines = linesOf(page);
  const of = (name: string): Line[] => lines.filter((line) => line.name === name);
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
  const values = (name: string): number[] => of(name).map(({ value }) => value);
  const products = (name: string, size: string, count: string): number =>
    sum(of(name).map(({ labels }) => Number(labels.get(size) ?? 0) * Number(labels.get(count) ?? 0)));
  const gauges = (size: string, count: string): number => (values(size)[0] ?? 0) * sum(values(count));
  const engines = [
    [
      "vllm:num_requests_running",
      "vllm:num_requests_waiting",
      () => products("vllm:cache_config_info", "block_size", "num_gpu_blocks"),
    ],
    [
      "sglang:num_running_reqs",
      "sglang:num_queue_reqs",
      () =>
        gauges("sglang:page_size", "sglang:num_pages") ||
        products("sglang:cache_config_info", "page_size", "num_pages"),
    ],
    [
      "trtllm_num_requests_running",
      "trtllm_num_requests_waiting",
      () => gauges("trtllm_kv_cache_tokens_per_block", "trtllm_kv_cache_max_blocks"),
    ],
  ] as const;
  for (const [running, waiting, capacity] of engines)
    if (of(running).length + of(waiting).length > 0) {
      const tokens = capacity();
      return {
        running: sum(values(running)),
        waiting: sum(values(waiting)),
        capacityTokens: tokens > 0 ? tokens : null,
      };
    }
  return null;
}

const NAMES = [
  "vllm:num_requests_running",
  "vllm:num_requests_waiting",
  "vllm:num_requests_waiting_by_reason",
  "vllm:cache_config_info",
  "sglang:num_running_reqs",
  "sglang:num_queue_reqs",
  "sglang:page_size",
  "sglang:num_pages",
  "sglang:cache_config_info",
  "trtllm_num_requests_running",
  "trtllm_num_requests_waiting",
  "trtllm_kv_cache_max_blocks",
  "trtllm_kv_cache_tokens_per_block",
  "up",
];
const number = fc.nat(5000);
const labelText = fc.string({ unit: fc.constantFrom("a", '\\"', "}", "{", ",", "\\\\", " ", "=", "ü") });
const labels = fc
  .record(
    {
      engine: fc.nat(3).map(String),
      priority: fc.constantFrom("", "10"),
      mamba_block_size: number.map(String),
      block_size: number.map(String),
      num_gpu_blocks: number.map(String),
      page_size: number.map(String),
      num_pages: number.map(String),
      model_name: labelText,
    },
    { requiredKeys: [] },
  )
  .map((known) => Object.entries(known).map(([name, value]) => `${name}="${value}"`));
const line = fc.oneof(
  fc
    .record({ name: fc.constantFrom(...NAMES), labels, value: number, time: fc.boolean() })
    .map(
      (one) =>
        `${one.name}${one.labels.length > 0 ? `{${one.labels.join(",")}}` : ""} ${one.value}${one.time ? " 1790347303000" : ""}`,
    ),
  fc.constantFrom(...NAMES).map((name) => `# HELP ${name} Text with ${name} in it`),
  fc.constant(""),
);

describe("any page", () => {
  it("N1: is read as if each of its lines were read", () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), fc.boolean(), (lines, ends) => {
        const page = lines.join("\n") + (ends ? "\n" : "");
        expect(readEngineMetrics(Buffer.from(page))).toEqual(naive(page));
      }),
      { numRuns: 2000 },
    );
  });

  it("N2: of any bytes, cut anywhere, is read or is none", () => {
    const piece = fc.oneof(
      fc.constantFrom(...NAMES, "{", "}", '"', " ", "\n", "\t", "9e9", "-", "#", 'a="', ","),
      fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), fc.nat(200), (pieces, cut) => {
        const load = readEngineMetrics(Buffer.from(pieces.join(""), "latin1").subarray(0, cut));
        for (const count of load === null ? [] : [load.running, load.waiting])
          expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });
});
