/**
 * A simulated inference engine: its cache, the timing of its work, and its events. No sockets and
 * no clock: its owner gives it the time, takes each step's batch to a publisher, and lets the
 * step's modeled duration pass.
 *
 *     submit ─▶ Scheduler ──match, reserve, publish, release──▶ PrefixCache ─▶ EventLog ─▶ step().batch
 *
 *  G1  Every event is in exactly one batch. Batches are numbered 0, 1, 2, … since the last start.
 *      Only `burnSequenceNumber` makes holes.
 *  G2  Replaying batches 0 … n into an exact index gives `contents()` as of batch n.
 *  G3  Equal settings, requests and times give equal batches (with a hash seed; without one the hashes differ).
 *
 * Faithful to vLLM's V1 scheduler and block pool, in the dialect of any engine (dialect.ts). Not simulated: speculative
 * decoding, multimodal inputs, pipeline and context parallelism.
 */
import { assert, PrefixHasher } from "@kvsync/core";
import { ActiveRequest, outputLength } from "./active-request.ts";
import type { BlockNames } from "./block-names.ts";
import { voiceOf, type DialectVoice } from "./dialect.ts";
import type {
  AdaptersInUse,
  EngineContents,
  EngineCounters,
  EnginePressure,
  EngineRequest,
  EngineSettings,
  NumberedBatch,
  StepResult,
} from "./engine-contract.ts";
import { EngineError } from "./engine-error.ts";
import { EngineHasher, KEY_BYTES_MAX } from "./engine-hash.ts";
import { resolveSettings, type ResolvedEngineSettings } from "./engine-settings.ts";
import { EventLog } from "./event-log.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { Scheduler } from "./scheduler.ts";
import { SlidingWindowGroup } from "./sliding-window-group.ts";

const TIER_DEVICE = 0;
const TIER_HOST = 1;

// One kernel serves every engine of a thread: it keeps nothing between calls.
let sharedPrefixHasher: PrefixHasher | undefined;

/** What a restart did. */
export interface RestartResult {
  /** Ids of the requests that were lost. */
  readonly abortedRequests: readonly number[];
  /** SGLang's first message, AllBlocksCleared; null in the other dialects. */
  readonly batch: NumberedBatch | null;
}

/** One engine, that is one (worker, DP rank). Not shared between threads. */
export class SimulatedEngine {
  readonly settings: ResolvedEngineSettings;
  readonly voice: DialectVoice;
  readonly #log: EventLog;
  readonly #cache: PrefixCache;
  readonly #scheduler: Scheduler<ActiveRequest>;
  readonly #active = new Map<number, ActiveRequest>();
  readonly #result: StepResult = {
    durationSeconds: 0,
    batch: null,
    firstTokens: [],
    nextTokenCount: 0,
    lateTokenGaps: [],
    finished: [],
    tokenCount: 0,
    preemptionCount: 0,
  };
  #nextSequenceNumber = 0;
  #announcedStart = false;
  #counts = {
    steps: 0,
    batches: 0,
    clears: 0,
    preemptions: 0,
    requestsFinished: 0,
    requestsAborted: 0,
    prefilledTokens: 0,
    generatedTokens: 0,
    promptTokens: 0,
    cachedTokens: 0,
    promptBlocks: 0,
    cachedBlocks: 0,
  };

  /**
   * @param settings - see `EngineSettings`.
   * @throws EngineError `invalid_setting`.
   */
  constructor(settings: EngineSettings) {
    this.settings = resolveSettings(settings);
    this.voice = voiceOf(this.settings.dialect);
    const { slidingWindowTokens, blockSize, maxSequences } = this.settings;
    const windowBlocks = Math.ceil(slidingWindowTokens / blockSize) * maxSequences;
    const window = windowBlocks > 0 ? new SlidingWindowGroup(slidingWindowTokens, windowBlocks) : null;
    this.#log = new EventLog(this.voice, window);
    sharedPrefixHasher ??= PrefixHasher.create();
    this.#cache = new PrefixCache(this.settings, {
      hasher: this.#newHasher(),
      prefixHasher: sharedPrefixHasher,
      log: this.#log,
      voice: this.voice,
    });
    this.#scheduler = new Scheduler(this.settings, this.#cache);
  }

  /** Counts since the engine was made; a restart does not reset them. A new object. */
  get counters(): EngineCounters {
    return { ...this.#counts, ...this.#cache.counters };
  }

  /** Last number given to a message; −1 when none was. */
  get lastSequenceNumber(): number {
    return this.#nextSequenceNumber - 1;
  }

  /** Whether a request waits or runs. */
  get hasWork(): boolean {
    return this.#scheduler.runningCount > 0 || this.#scheduler.waitingCount > 0;
  }

  /**
   * Puts a request into the queue.
   *
   * @param request - kept until it has finished.
   * @param nowSeconds - when it arrived.
   * @throws EngineError `request_too_long`, `empty_request`, `duplicate_request`, `too_many_waiting`, `unknown_lora`,
   * `unsupported_by_dialect`, `invalid_setting` (a salt that is too long). Nothing was changed then.
   */
  submit(request: EngineRequest, nowSeconds: number): void {
    const context = this.#contextOf(request.loraName ?? null);
    this.#checkSalt(request.cacheSalt ?? null);
    this.#checkSize(request);
    if (this.#active.has(request.id))
      throw new EngineError(
        { code: "duplicate_request", requestId: request.id },
        `request ${request.id} has not finished yet; its id cannot be used again`,
      );
    if (this.#scheduler.waitingCount >= this.settings.maxWaiting)
      throw new EngineError(
        { code: "too_many_waiting", waitingMax: this.settings.maxWaiting },
        `engine ${this.settings.id} has ${this.settings.maxWaiting} requests waiting, its limit`,
      );
    const active = new ActiveRequest(request, context, nowSeconds);
    this.#active.set(request.id, active);
    this.#scheduler.enqueue(active);
  }

  /**
   * Ends a request now, as when its client leaves: its blocks are free, and the named ones stay cached.
   *
   * @returns false, and nothing happened, for a request that has finished or was never submitted.
   */
  abort(id: number): boolean {
    if (!this.#active.delete(id)) return false;
    const isHeld = this.#scheduler.abort(id);
    assert(isHeld, () => `unfinished request ${id} waits or runs`);
    this.#counts.requestsAborted++;
    return true;
  }

  /** Output tokens that an unfinished request has generated by the end of the last step; −1 for any other. */
  outputCount(id: number): number {
    const active = this.#active.get(id);
    return active === undefined ? -1 : active.tokenCount - active.promptLength;
  }

  /** Adapters of unfinished requests. O(requests). */
  adaptersInUse(): AdaptersInUse {
    const running = new Set<string>();
    const waiting = new Set<string>();
    for (const { loraName, blockCount } of this.#active.values())
      if (loraName !== null) (blockCount > 0 ? running : waiting).add(loraName);
    return { running: [...running], waiting: [...waiting] };
  }

  /**
   * Runs one scheduler step.
   *
   * @param nowSeconds - when it begins. The batch bears the time of its end; give wall-clock seconds where real listeners
   * read them. Must not go backwards between restarts.
   * @returns what happened; the object is reused by the next step. Without work it is all zeros.
   */
  step(nowSeconds: number): StepResult {
    const result = this.#result;
    const counts = this.#counts;
    this.#cache.sequenceNumber = this.#nextSequenceNumber;
    if (!this.#announcedStart) this.#announceStart();
    this.#scheduler.step(nowSeconds, result);
    counts.steps++;
    counts.preemptions += result.preemptionCount;
    counts.generatedTokens += result.firstTokens.length + result.nextTokenCount + result.lateTokenGaps.length;
    for (const id of result.firstTokens) counts.prefilledTokens += this.#active.get(id)?.promptLength ?? 0;
    for (const finished of result.finished) {
      this.#active.delete(finished.id);
      counts.requestsFinished++;
      counts.promptTokens += finished.promptTokens;
      counts.cachedTokens += finished.cachedBlocks * this.settings.blockSize;
      counts.promptBlocks += finished.promptBlocks;
      counts.cachedBlocks += finished.cachedBlocks;
    }
    result.batch = this.#takeBatch(nowSeconds + result.durationSeconds);
    return result;
  }

  /** How busy the engine is. O(running requests). */
  pressure(): EnginePressure {
    return {
      running: this.#scheduler.runningCount,
      waiting: this.#scheduler.waitingCount,
      pendingPrefillTokens: this.#scheduler.pendingPrefillTokens,
      freeBlocks: this.#cache.pool.freeCount,
      blockCount: this.settings.blockCount,
    };
  }

  /** Exactly what is announced and not taken back; see `EngineContents`. O(blocks of the engine). */
  contents(): EngineContents {
    const { pool, host } = this.#cache;
    const device = namedIds(pool.blockCount, (id) => pool.isNamed(id));
    const offloaded = namedIds(host.capacity, (id) => host.isNamed(id));
    const rowCount = device.length + offloaded.length;
    const contents = {
      contexts: [
        { loraName: null, loraId: null },
        ...this.settings.loraNames.map((loraName, index) => ({ loraName, loraId: index + 1 })),
      ],
      rowCount,
      prefixHashes: new Uint32Array(rowCount * 2),
      engineHashes: new Uint32Array(rowCount * 2),
      contextOf: new Uint16Array(rowCount),
      tierOf: new Uint8Array(rowCount),
      announcedIn: new Float64Array(rowCount),
      lastSequenceNumber: this.lastSequenceNumber,
    };
    copyRows(contents, 0, TIER_DEVICE, pool.names, device);
    copyRows(contents, device.length, TIER_HOST, host.names, offloaded);
    return contents;
  }

  /**
   * Leading blocks that a request would find cached now, on the device or after it on the host. Changes nothing.
   *
   * @param promptTokens - its prompt.
   * @param loraName - its adapter.
   * @param cacheSalt - its salt.
   * @returns blocks, at most ⌊(prompt length − 1) / block size⌋. Costs a SHA-256 per matched block.
   * @throws EngineError `unknown_lora`, `unsupported_by_dialect`.
   */
  cachedPrefixBlocks(
    promptTokens: Uint32Array,
    loraName: string | null = null,
    cacheSalt: string | null = null,
  ): number {
    if (promptTokens.length === 0) return 0;
    this.#checkSalt(cacheSalt);
    const output = { count: 0, seed: 0 };
    const probe = new ActiveRequest(
      { id: -1, promptTokens, output, loraName, cacheSalt },
      this.#contextOf(loraName),
      0,
    );
    probe.open(this.settings.blockSize);
    this.#cache.match(probe);
    return probe.matchedDevice + probe.matchedHost;
  }

  /**
   * Empties the cache, as vLLM's /reset_prefix_cache.
   *
   * @param nowSeconds - time of the message.
   * @returns the batch with AllBlocksCleared; null, and nothing happened, while requests hold blocks.
   */
  reset(nowSeconds: number): NumberedBatch | null {
    this.#cache.sequenceNumber = this.#nextSequenceNumber;
    if (!this.#cache.reset()) return null;
    this.#counts.clears++;
    return this.#takeBatch(nowSeconds);
  }

  /**
   * The process dies and starts anew: requests lost, blocks gone, numbers from 0, a random hash root drawn again.
   *
   * @param nowSeconds - time of the new process's first message, if it sends one.
   * @returns what was lost, and the first message if there is one.
   */
  restart(nowSeconds: number): RestartResult {
    const abortedRequests = this.#scheduler.abortAll();
    this.#active.clear();
    this.#cache.reset();
    this.#log.take();
    this.#cache.hasher = this.#newHasher();
    this.#nextSequenceNumber = 0;
    this.#announcedStart = false;
    return { abortedRequests, batch: this.start(nowSeconds) };
  }

  /**
   * What a fresh process announces before any request; otherwise that goes with the first step's events.
   *
   * @param nowSeconds - time of the message.
   * @returns SGLang's AllBlocksCleared; null in the other dialects, and when it was announced already.
   */
  start(nowSeconds: number): NumberedBatch | null {
    this.#announceStart();
    return this.#takeBatch(nowSeconds);
  }

  /** Uses up a sequence number. @returns it; the caller may send anything under it, or nothing. */
  burnSequenceNumber(): number {
    return this.#nextSequenceNumber++;
  }

  #announceStart(): void {
    if (!this.#announcedStart && this.voice.startsWithClear) this.#log.cleared();
    this.#announcedStart = true;
  }

  #takeBatch(timestampSeconds: number): NumberedBatch | null {
    if (this.#log.empty) return null;
    this.#counts.batches++;
    return {
      sequenceNumber: this.#nextSequenceNumber++,
      batch: { timestampSeconds, events: this.#log.take(), dataParallelRank: this.settings.dpRank },
    };
  }

  #newHasher(): EngineHasher {
    return new EngineHasher(this.settings.hashAlgorithm, this.settings.hashSeed);
  }

  #contextOf(loraName: string | null): number {
    if (loraName === null) return 0;
    const index = this.settings.loraNames.indexOf(loraName);
    if (index < 0)
      throw new EngineError(
        { code: "unknown_lora", loraName },
        `adapter ${JSON.stringify(loraName)} is not served; known: ${this.settings.loraNames.join(", ") || "none"}`,
      );
    return index + 1;
  }

  #checkSalt(salt: string | null): void {
    if (salt === null) return;
    if (!this.voice.extraKeys && !this.voice.salts)
      throw new EngineError(
        { code: "unsupported_by_dialect", feature: "cacheSalt", dialect: this.settings.dialect },
        `${this.settings.dialect} does not announce salts, so salted blocks would pass for unsalted ones`,
      );
    if (salt.length === 0 || Buffer.byteLength(salt) > KEY_BYTES_MAX)
      throw new EngineError(
        { code: "invalid_setting", setting: "cacheSalt", value: salt.slice(0, 64) },
        `a cache salt has 1 to ${KEY_BYTES_MAX} bytes, not ${Buffer.byteLength(salt)}`,
      );
  }

  #checkSize(request: EngineRequest): void {
    const output = outputLength(request);
    if (request.promptTokens.length === 0 || !Number.isInteger(output) || output < 1)
      throw new EngineError(
        { code: "empty_request", requestId: request.id },
        `request ${request.id} has ${request.promptTokens.length} prompt and ${output} output tokens; at least 1 of each is needed`,
      );
    const tokens = request.promptTokens.length + output;
    const tokensMax = this.settings.blockCount * this.settings.blockSize;
    if (tokens > tokensMax)
      throw new EngineError(
        { code: "request_too_long", tokens, tokensMax },
        `request ${request.id} needs ${tokens} tokens of KV, and the whole pool has ${tokensMax}`,
      );
  }
}

function namedIds(count: number, isNamed: (id: number) => boolean): number[] {
  const ids: number[] = [];
  for (let id = 0; id < count; id++) if (isNamed(id)) ids.push(id);
  return ids;
}

function copyRows(
  contents: EngineContents,
  firstRow: number,
  tier: number,
  names: BlockNames,
  ids: readonly number[],
): void {
  let row = firstRow;
  for (const id of ids) {
    for (let word = 0; word < 2; word++) {
      contents.prefixHashes[row * 2 + word] = names.prefixWords[id * 2 + word] ?? 0;
      contents.engineHashes[row * 2 + word] = names.engineWords[id * 2 + word] ?? 0;
    }
    contents.contextOf[row] = names.contextOf[id] ?? 0;
    contents.tierOf[row] = tier;
    contents.announcedIn[row] = names.announcedIn[id] ?? 0;
    row++;
  }
}
