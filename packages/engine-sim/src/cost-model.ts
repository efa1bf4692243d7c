/**
 * How long a scheduler step takes: a line through what the hardware must at least do. It is a model, not a measurement;
 * it makes prefill, decode, long contexts and host loads cost what they cost relative to each other.
 *
 *     seconds = STEP + tokens × TOKEN + context tokens read × CONTEXT_TOKEN + host blocks loaded × block size × LOAD_TOKEN
 *
 * The model and machine: Llama 3.1 8B in bf16 (8.03 × 10⁹ parameters; 32 layers × 8 KV heads × 128 × 2 × 2 B = 131,072 B
 * of KV per token, from its published config.json) on one H100 SXM (989 TFLOP/s dense bf16, 3.35 TB/s, from NVIDIA's
 * data sheet), with half of the arithmetic and four fifths of the bandwidth attained, and PCIe 5 × 16 at 50 GB/s.
 * Left out: attention's quadratic share of a prefill, which is below a tenth up to 16 k tokens.
 */

const PARAMETER_COUNT = 8.03e9;
const KV_BYTES_PER_TOKEN = 131_072;
const FLOPS_ATTAINED = 989e12 / 2;
const BYTES_PER_SECOND_ATTAINED = 3.35e12 * 0.8;
const HOST_BYTES_PER_SECOND = 50e9;

/** Seconds of a step with nothing in it: every weight (2 bytes each) is read once. */
const STEP_SECONDS = (PARAMETER_COUNT * 2) / BYTES_PER_SECOND_ATTAINED;
/** Seconds per token computed: a multiplication and an addition per parameter. */
const TOKEN_SECONDS = (PARAMETER_COUNT * 2) / FLOPS_ATTAINED;
/** Seconds per token of context whose KV the step reads. */
const CONTEXT_TOKEN_SECONDS = KV_BYTES_PER_TOKEN / BYTES_PER_SECOND_ATTAINED;
/** Seconds per token whose KV comes back from the host. */
const LOAD_TOKEN_SECONDS = KV_BYTES_PER_TOKEN / HOST_BYTES_PER_SECOND;

/**
 * Modelled time of one step.
 *
 * @param tokens - computed in it, prefill and decode.
 * @param contextTokens - tokens of KV that its requests have.
 * @param loadedTokens - tokens of KV loaded from the host for it.
 * @returns seconds.
 */
export function stepSeconds(tokens: number, contextTokens: number, loadedTokens: number): number {
  return (
    STEP_SECONDS +
    tokens * TOKEN_SECONDS +
    contextTokens * CONTEXT_TOKEN_SECONDS +
    loadedTokens * LOAD_TOKEN_SECONDS
  );
}
