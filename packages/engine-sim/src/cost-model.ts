/**
 * The time of a scheduler step: the sum of the least work of the hardware. It is a model, not a
 * measurement. It gives prefill, decode, long contexts, host loads and tensor parallelism the right
 * costs relative to each other.
 *
 *     seconds = step                                         every weight is read once, and the GPUs meet
 *             + tokens × token                               two operations per weight of the layers
 *             + (query token, earlier token) pairs × pair    attention: what grows with the square of a prompt
 *             + context tokens × context token               the KV of every request in the step is read
 *             + tokens loaded from the host × load token
 *
 * It uses sums instead of the roofline's maximum. A step is never faster than either limit alone
 * allows, and at most twice as slow as that. The attained share of the data sheet's figures is the
 * model's one free choice; it is the same for every preset. Left out: the last layer's vocabulary,
 * kernel launches, sampling, pipeline bubbles.
 *
 * Sources: layers, widths, heads and vocabulary from the models' config.json
 * (meta-llama/Llama-3.1-8B and -70B), which give the published counts of 8.03 and 70.6 billion
 * parameters. From NVIDIA's H100 SXM data sheet: 989 TFLOP/s (dense bf16), 3.35 TB/s, 80 GB, NVLink
 * 450 GB/s in each direction and PCIe 5 × 16. Operations per token and per pair are those of Kaplan
 * and others, "Scaling Laws for Neural Language Models" (2020), table 1.
 */

/** What one model needs, from its config.json. All weights and KV are bf16. */
interface ModelShape {
  readonly layers: number;
  readonly hidden: number;
  readonly attentionHeads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly feedForward: number;
  readonly vocabulary: number;
}

const LLAMA_8B: ModelShape = {
  layers: 32,
  hidden: 4096,
  attentionHeads: 32,
  kvHeads: 8,
  headSize: 128,
  feedForward: 14_336,
  vocabulary: 128_256,
};
const LLAMA_70B: ModelShape = {
  layers: 80,
  hidden: 8192,
  attentionHeads: 64,
  kvHeads: 8,
  headSize: 128,
  feedForward: 28_672,
  vocabulary: 128_256,
};

/** One H100 SXM, from its data sheet. */
const H100 = {
  flops: 989e12,
  bytesPerSecond: 3.35e12,
  memoryBytes: 80e9,
  linkBytesPerSecond: 450e9,
} as const;

const BYTES_PER_VALUE = 2;
/** Of the data sheet's arithmetic, what large matrix products of an inference engine commonly reach. */
const FLOPS_ATTAINED = 0.5;
/** Of the data sheet's bandwidths, likewise. */
const BANDWIDTH_ATTAINED = 0.8;
/** PCIe 5 × 16 has 64 GB/s; this is what is left of it after its own framing and pinned copies. */
const HOST_BYTES_PER_SECOND = 50e9;
/** Of the memory, what vLLM takes by default (--gpu-memory-utilization). */
const MEMORY_USED = 0.9;
/** Per GPU: activations, CUDA graphs, workspace. An assumption, rounded. */
const RESERVED_BYTES = 4e9;
/** A small all-reduce over NVLink; an assumption of its order. Two per layer. */
const ALL_REDUCE_SECONDS = 10e-6;

/** A model on a machine, as prices. */
export interface CostModel {
  readonly name: string;
  /** Seconds of a step with nothing in it. */
  readonly stepSeconds: number;
  /** Seconds per token computed. */
  readonly tokenSeconds: number;
  /** Seconds per pair of a computed token and a token that it attends to. */
  readonly pairSeconds: number;
  /** Seconds per token of context whose KV the step reads. */
  readonly contextTokenSeconds: number;
  /** Seconds per token whose KV comes back from the host. */
  readonly loadTokenSeconds: number;
  /** Tokens whose KV fits beside the weights. */
  readonly kvTokens: number;
}

/** What one step has to do. */
export interface StepWork {
  /** Tokens computed, prefill and decode. */
  tokens: number;
  /** Pairs of a computed token and a token before it, or itself. */
  pairs: number;
  /** Tokens of KV that the step's requests have. */
  contextTokens: number;
  /** Tokens of KV loaded from the host. */
  loadedTokens: number;
}

/** Names of the presets: model, and GPUs that it is spread over. */
export const COST_MODEL_NAMES = ["llama-3.1-8b/1xh100", "llama-3.1-70b/4xh100"] as const;

/** See COST_MODEL_NAMES. */
export type CostModelName = (typeof COST_MODEL_NAMES)[number];

/** The presets. */
export const COST_MODELS: Readonly<Record<CostModelName, CostModel>> = {
  "llama-3.1-8b/1xh100": costModel("llama-3.1-8b/1xh100", LLAMA_8B, 1),
  "llama-3.1-70b/4xh100": costModel("llama-3.1-70b/4xh100", LLAMA_70B, 4),
};

function costModel(name: CostModelName, model: ModelShape, gpus: number): CostModel {
  const { layers, hidden, attentionHeads, kvHeads, headSize, feedForward, vocabulary } = model;
  const attentionWidth = attentionHeads * headSize;
  const layerParameters =
    2 * hidden * attentionWidth + 2 * hidden * kvHeads * headSize + 3 * hidden * feedForward + 2 * hidden;
  const parameters = layers * layerParameters + 2 * vocabulary * hidden + hidden;
  const kvBytesPerToken = 2 * layers * kvHeads * headSize * BYTES_PER_VALUE;
  const flops = gpus * H100.flops * FLOPS_ATTAINED;
  const bytesPerSecond = gpus * H100.bytesPerSecond * BANDWIDTH_ATTAINED;
  // A ring moves every value 2 (n − 1) / n times; two all-reduces of one hidden vector per token and layer.
  const reduceBytesPerToken = ((2 * (gpus - 1)) / gpus) * 2 * layers * hidden * BYTES_PER_VALUE;
  const meetings = gpus > 1 ? 2 * layers * ALL_REDUCE_SECONDS : 0;
  const memoryBytes = gpus * (H100.memoryBytes * MEMORY_USED - RESERVED_BYTES);
  return {
    name,
    stepSeconds: (parameters * BYTES_PER_VALUE) / bytesPerSecond + meetings,
    tokenSeconds:
      (2 * layers * layerParameters) / flops +
      reduceBytesPerToken / (H100.linkBytesPerSecond * BANDWIDTH_ATTAINED),
    pairSeconds: (4 * layers * attentionWidth) / flops,
    contextTokenSeconds: kvBytesPerToken / bytesPerSecond,
    loadTokenSeconds: kvBytesPerToken / (gpus * HOST_BYTES_PER_SECOND),
    kvTokens: Math.floor((memoryBytes - parameters * BYTES_PER_VALUE) / kvBytesPerToken),
  };
}

/**
 * Modelled time of one step.
 *
 * @param model - the prices.
 * @param work - the quantities.
 * @returns seconds.
 */
export function stepSeconds(model: CostModel, work: StepWork): number {
  return (
    model.stepSeconds +
    work.tokens * model.tokenSeconds +
    work.pairs * model.pairSeconds +
    work.contextTokens * model.contextTokenSeconds +
    work.loadedTokens * model.loadTokenSeconds
  );
}
