/**
 * The inputs and outputs of a simulated engine, in types. `SimulatedEngine` keeps these promises;
 * `EngineServer` puts them on the wire.
 *
 * One engine is one publisher: one (worker, DP rank). A worker with DP size 2 is two engines with one id.
 *
 * Numbers that every reader needs:
 *  - a *batch* is one scheduler step's events and takes one sequence number; a step without events takes none;
 *  - the engine, not the publisher, gives the numbers, so that its `contents()` can name the
 *    message that announced each block.
 */
import type { Dialect, EventBatch } from "@kvsync/core";
import type { CostModel } from "./cost-model.ts";
import type { HashAlgorithm } from "./engine-hash.ts";

/** How an engine is made. Everything optional has a named default in engine-settings.ts. */
export interface EngineSettings {
  /** Worker id, as the daemon's registry knows it. */
  readonly id: string;
  readonly model: string;
  /** Tokens per KV block, ≥ 1. */
  readonly blockSize: number;
  /** Physical KV blocks on the device. */
  readonly blockCount: number;
  /** Data-parallel rank, 0 … 255; the publisher's ports are offset by it. */
  readonly dpRank?: number | undefined;
  /** Token budget of one scheduler step; a longer prompt is prefilled in chunks. */
  readonly maxBatchedTokens?: number | undefined;
  /** Requests running at once. */
  readonly maxSequences?: number | undefined;
  /** Requests waiting at most; `submit` refuses beyond. */
  readonly maxWaiting?: number | undefined;
  /** Default: the one of the dialect's engine. */
  readonly hashAlgorithm?: HashAlgorithm | undefined;
  /**
   * What PYTHONHASHSEED would be: engines with equal algorithm and seed name blocks alike. Null draws 32 random bytes
   * at every start, as vLLM does without it. SGLang's algorithm has no seed.
   */
  readonly hashSeed?: string | null | undefined;
  /** Engine version whose bytes are spoken. */
  readonly dialect?: Dialect | undefined;
  /** Block hashes on the wire as u64 or as the whole digest (vLLM only). */
  readonly hashForm?: "int" | "bytes" | undefined;
  /** Adapters a request may name; the position + 1 is the `lora_id`. */
  readonly loraNames?: readonly string[] | undefined;
  /** Blocks of the host tier; 0 (the default) for none. */
  readonly hostBlockCount?: number | undefined;
  /**
   * Host stores carry tokens and parent (true, and always so in SGLang), or are placeholders as vLLM's offloading connector
   * sends them (false, the default).
   */
  readonly hostSelfDescribing?: boolean | undefined;
  /**
   * A second, sliding-window KV group beside the main one: tokens of its window; 0 (the default) for none. Its events
   * bear `group_idx` 1 and the main group's hashes.
   */
  readonly slidingWindowTokens?: number | undefined;
  /**
   * `full` announces the cached blocks of a request again when it is admitted, without a removal to match (vLLM's
   * kv_cache_report_mode, vllm-project/vllm#45261); `delta`, the default, announces changes only.
   */
  readonly reportMode?: "delta" | "full" | undefined;
  /** What steps cost; the 8B model on one H100 unless given. */
  readonly costModel?: CostModel | undefined;
  /** Factor on every modelled duration; 2 is an engine half as fast. */
  readonly slowness?: number | undefined;
}

/** A request to an engine. */
export interface EngineRequest {
  /** Chosen by the caller, unique among the engine's unfinished requests. */
  readonly id: number;
  /** Prompt; kept, never written to, and not to be changed until the request has finished. */
  readonly promptTokens: Uint32Array;
  /** The tokens it will generate (≥ 1), or how many of them, drawn from a seeded generator. */
  readonly output: Uint32Array | { readonly count: number; readonly seed: number };
  readonly loraName?: string | null | undefined;
  readonly cacheSalt?: string | null | undefined;
}

/** One batch of events under the number that the publisher must send it with. */
export interface NumberedBatch {
  readonly sequenceNumber: number;
  readonly batch: EventBatch;
}

/** What is told of a request when it is done. */
export interface FinishedRequest {
  readonly id: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Full blocks of the prompt. */
  readonly promptBlocks: number;
  /** Leading blocks whose prefill was skipped at first admission, of any tier. */
  readonly cachedBlocks: number;
  /** Of these, how many came from the host tier. */
  readonly cachedHostBlocks: number;
  /** Times it lost its blocks and started over. */
  readonly preemptions: number;
  readonly submittedAtSeconds: number;
  /** Begin of the step that took it up first. */
  readonly admittedAtSeconds: number;
  readonly firstTokenAtSeconds: number;
  readonly finishedAtSeconds: number;
}

/** What a scheduler did in one step. Reused by the engine: valid until the next `step`. */
export interface ScheduledStep {
  /** Modelled time that the step takes; 0 when there was nothing to do. */
  durationSeconds: number;
  /** Requests whose first output token appears at the end of this step. */
  readonly firstTokens: number[];
  /** Requests whose next output token appears `durationSeconds` after their last one. */
  nextTokenCount: number;
  /** Seconds since their last output token, of the requests that had to wait longer for this one (preempted ones, mostly). */
  readonly lateTokenGaps: number[];
  readonly finished: FinishedRequest[];
  /** Tokens computed in this step, prefill and decode. */
  tokenCount: number;
  preemptionCount: number;
}

/** One step of an engine that announces what it caches. */
export interface StepResult extends ScheduledStep {
  /** The step's events, or null when it changed nothing that is announced. */
  batch: NumberedBatch | null;
}

/** Adapters of unfinished requests, each once, in order of first use. */
export interface AdaptersInUse {
  readonly running: readonly string[];
  readonly waiting: readonly string[];
}

/** How busy an engine is. */
export interface EnginePressure {
  readonly running: number;
  readonly waiting: number;
  /** Tokens that waiting and running requests still have to prefill, cached prefixes not subtracted. */
  readonly pendingPrefillTokens: number;
  /** Blocks that no running request holds (cached ones included). */
  readonly freeBlocks: number;
  readonly blockCount: number;
}

/**
 * Exactly what an engine holds, one row per physical copy: a block that lies in the pool twice has two rows. Only what
 * was announced and not yet taken back is listed. Row order means nothing. A fresh snapshot, owned by the caller.
 */
export interface EngineContents {
  /** Contexts that rows refer to by position; the first is the base model. */
  readonly contexts: readonly { readonly loraName: string | null; readonly loraId: number | null }[];
  readonly rowCount: number;
  /** Our prefix hash (core's PrefixHasher), shape [2 × rowCount], low then high. */
  readonly prefixHashes: Uint32Array;
  /** The engine's own hash in its u64 form, shape [2 × rowCount], low then high. */
  readonly engineHashes: Uint32Array;
  /** Position in `contexts`, by row. */
  readonly contextOf: Uint16Array;
  /** Core's tier number, by row: 0 device, 1 host. */
  readonly tierOf: Uint8Array;
  /** Sequence number of the message that announced this copy, by row. */
  readonly announcedIn: Float64Array;
  /** Last number given to a message; −1 when none was. */
  readonly lastSequenceNumber: number;
}

/** Counters since the engine was made; restarts do not reset them. */
export interface EngineCounters {
  readonly steps: number;
  readonly batches: number;
  readonly storedBlocks: number;
  readonly removedBlocks: number;
  readonly storedHostBlocks: number;
  readonly removedHostBlocks: number;
  /** Prompt tokens looked up in the cache when their request was admitted first. */
  readonly queriedTokens: number;
  /** Of these, the ones found on the device, and on the host after them. */
  readonly hitTokens: number;
  readonly hostHitTokens: number;
  readonly clears: number;
  readonly preemptions: number;
  readonly requestsFinished: number;
  /** Requests ended by `abort` before their last token; a restart's are not among them. */
  readonly requestsAborted: number;
  /** Prompt tokens of requests whose first output token has come. */
  readonly prefilledTokens: number;
  readonly generatedTokens: number;
  /** These are of finished requests. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly promptBlocks: number;
  readonly cachedBlocks: number;
}
