/**
 * An engine for simulations of many: it has the scheduler, block pool and host tier of
 * `SimulatedEngine`. Blocks come with names instead of tokens (named-block-cache.ts), and events go
 * to a listener as they happen instead of into batches. It costs some hundred nanoseconds per block
 * where the other hashes for microseconds; test/engine-agreement.test.ts holds the two to the same
 * decisions, step by step.
 *
 * The owner keeps the time, names the blocks, and turns the listener's events into messages.
 */
import { COST_MODELS, type CostModel } from "./cost-model.ts";
import type { ScheduledStep } from "./engine-contract.ts";
import { checkInteger, DEFAULT_BATCHED_TOKENS, DEFAULT_SEQUENCES } from "./engine-settings.ts";
import {
  type BlockListener,
  NamedBlockCache,
  NamedRequest,
  type NamedRequestSource,
} from "./named-block-cache.ts";
import { type QuietPace, Scheduler } from "./scheduler.ts";

/** A pool of 10⁷ blocks is a gigabyte of columns. */
const BLOCKS_MAX = 10_000_000;
const BLOCK_SIZE_MAX = 65_536;
const TOKENS_MAX = 10_000_000;
const SEQUENCES_MAX = 100_000;

/** How such an engine is made. */
export interface NamedBlockEngineSettings {
  /** Tokens per KV block. */
  readonly blockSize: number;
  /** Device KV blocks; what the cost model has room for unless given. */
  readonly blockCount?: number | undefined;
  /** Host KV blocks; 0 unless given. */
  readonly hostBlockCount?: number | undefined;
  /** Token budget of a step; vLLM's default unless given. */
  readonly maxBatchedTokens?: number | undefined;
  /** Requests running at once; vLLM's default unless given. */
  readonly maxSequences?: number | undefined;
  /** The 8B model on one H100 unless given. */
  readonly costModel?: CostModel | undefined;
  /** Factor on every modelled duration; 1 unless given. */
  readonly slowness?: number | undefined;
}

/** One engine. See the header. */
export class NamedBlockEngine {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly #cache: NamedBlockCache;
  readonly #scheduler: Scheduler<NamedRequest>;
  readonly #step: ScheduledStep = {
    durationSeconds: 0,
    firstTokens: [],
    nextTokenCount: 0,
    lateTokenGaps: [],
    finished: [],
    tokenCount: 0,
    preemptionCount: 0,
  };

  /**
   * @param settings - see NamedBlockEngineSettings.
   * @param listener - told of every change.
   * @throws EngineError `invalid_setting`.
   */
  constructor(settings: NamedBlockEngineSettings, listener: BlockListener) {
    const costModel = settings.costModel ?? COST_MODELS["llama-3.1-8b/1xh100"];
    const { blockSize, hostBlockCount = 0 } = settings;
    checkInteger("blockSize", blockSize, 1, BLOCK_SIZE_MAX);
    const blockCount = settings.blockCount ?? Math.floor(costModel.kvTokens / blockSize);
    const maxBatchedTokens = settings.maxBatchedTokens ?? DEFAULT_BATCHED_TOKENS;
    const maxSequences = settings.maxSequences ?? DEFAULT_SEQUENCES;
    checkInteger("blockCount", blockCount, 1, BLOCKS_MAX);
    checkInteger("hostBlockCount", hostBlockCount, 0, BLOCKS_MAX);
    checkInteger("maxBatchedTokens", maxBatchedTokens, 1, TOKENS_MAX);
    checkInteger("maxSequences", maxSequences, 1, SEQUENCES_MAX);
    this.blockSize = blockSize;
    this.blockCount = blockCount;
    this.#cache = new NamedBlockCache(blockSize, blockCount, hostBlockCount, listener);
    this.#scheduler = new Scheduler(
      { blockSize, maxBatchedTokens, maxSequences, costModel, slowness: settings.slowness ?? 1 },
      this.#cache,
    );
  }

  /** Whether a request waits or runs. */
  get hasWork(): boolean {
    return this.#scheduler.runningCount > 0 || this.#scheduler.waitingCount > 0;
  }

  /** Requests that run. */
  get runningCount(): number {
    return this.#scheduler.runningCount;
  }

  /** Requests that wait. */
  get waitingCount(): number {
    return this.#scheduler.waitingCount;
  }

  /**
   * Puts a request into the queue.
   *
   * @param source - kept until it has finished.
   * @param nowSeconds - when it arrived.
   * @returns false, and nothing happened, when prompt and answer together are longer than the whole pool.
   */
  submit(source: NamedRequestSource, nowSeconds: number): boolean {
    if (source.promptTokens + source.outputTokens > this.blockCount * this.blockSize) return false;
    this.#scheduler.enqueue(new NamedRequest(source, nowSeconds));
    return true;
  }

  /**
   * Runs one scheduler step; the listener hears of its changes while it runs.
   *
   * @param nowSeconds - when it begins; the end of the step before, while there is work.
   * @returns what happened; reused by the next step.
   */
  step(nowSeconds: number): ScheduledStep {
    this.#scheduler.step(nowSeconds, this.#step);
    return this.#step;
  }

  /** How many steps from now on only decode: a quiet run, which can be made at once. 0 while anybody waits or prefills. */
  quietSteps(): number {
    return this.#scheduler.quietSteps();
  }

  /** What quiet steps would take; `pace` receives it. */
  quietPace(pace: QuietPace): void {
    this.#scheduler.quietPace(pace);
  }

  /**
   * Makes quiet steps; nothing is stored, nothing ends, the listener hears nothing.
   *
   * @param steps - at most `quietSteps()`.
   * @param endSeconds - when the last of them ends.
   */
  stepQuietly(steps: number, endSeconds: number): void {
    this.#scheduler.stepQuietly(steps, endSeconds);
  }

  /**
   * Leading blocks that a prompt would find cached now.
   *
   * @param words - names of its full blocks, shape [2 × blocks], low then high.
   * @param blocksMax - of these, how many count; a request never hits its last token's block.
   * @param atLeast - when the answer is known to be uninteresting below it, saves work: what lacks block `atLeast` − 1
   * is answered with 0.
   */
  cachedBlocks(words: Uint32Array, blocksMax: number, atLeast = 0): number {
    const last = atLeast - 1;
    if (atLeast > blocksMax) return 0;
    if (atLeast > 0 && !this.#cache.holds(words[last * 2] ?? 0, words[last * 2 + 1] ?? 0)) return 0;
    return this.#cache.leadingBlocks(words, blocksMax);
  }

  /** Visits every copy held, by tier and name. O(blocks of the engine). */
  forEachHeld(visit: (tier: 0 | 1, low: number, high: number) => void): void {
    this.#cache.forEachHeld(visit);
  }

  /**
   * The process dies and starts anew: requests lost, blocks gone. The listener is not told, as nobody is in reality.
   *
   * @returns ids of the requests that were lost.
   */
  restart(): number[] {
    const aborted = this.#scheduler.abortAll();
    this.#cache.clear();
    return aborted;
  }
}
