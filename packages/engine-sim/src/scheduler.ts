/**
 * Continuous batching, as vLLM's V1 scheduler does it, one step at a time:
 *
 *     1  every running request, oldest first, computes its next tokens within the step's token budget: a chunk of its
 *        prompt or one decoded token. Out of blocks: the youngest running request loses its own and waits again.
 *     2  unless that happened, waiting requests are admitted, first come first served, while budget, sequences and
 *        blocks last. What is cached of them is skipped.
 *     3  a request that has computed all its tokens generates one more, or finishes and lets go of its blocks.
 *
 *  D1  A step computes at most `maxBatchedTokens` tokens, and runs at most `maxSequences` requests.
 *  D2  Requests are admitted in the order of submission; a preempted one goes first.
 *  D3  While any request waits or runs, a step computes at least one token: submission refused what can never fit.
 *  D4  A quiet run is several steps in a row in which all requests decode, none waits, and no
 *      request fills or needs a block. It can be made at once, with the result of the single steps.
 *  D5  An aborted request holds no block and counts nowhere from the call on; the others keep their
 *      places (test/abort.test.ts).
 *
 * A step of a quiet run costs a few comparisons per running request.
 *
 * It handles no tokens and no hashes: the cache decides which blocks are cached, and under which
 * names (SchedulerCache).
 *
 * One deviation: a head of the queue that lacked blocks is tried again only after a block was
 * released, not at every step. vLLM detects a little earlier that a running request has meanwhile
 * cached a part of it.
 *
 * Source: vllm/v1/core/sched/scheduler.py (schedule, update_from_output), vllm/v1/core/kv_cache_manager.py.
 */
import { assert } from "@kvsync/core";
import { type CostModel, stepSeconds, type StepWork } from "./cost-model.ts";
import type { FinishedRequest, ScheduledStep } from "./engine-contract.ts";
import type { ScheduledRequest } from "./scheduled-request.ts";

/** The blocks that requests are given, as the scheduler uses them. */
export interface SchedulerCache<Request extends ScheduledRequest> {
  /** Blocks that no request holds. */
  readonly freeCount: number;
  /** Finds what is cached of a request: its ids go to `blocks`, their numbers to `matchedDevice` and `matchedHost`. */
  match(request: Request): void;
  /** Of the matched device blocks, how many are free now. */
  matchedFree(request: Request): number;
  /** Holds what `match` found. */
  retainMatched(request: Request): void;
  /** Takes `count` more blocks; that many must be free. */
  reserve(request: Request, count: number): void;
  /** Names the blocks that are full with `request.computed` tokens. */
  publish(request: Request): void;
  /** Lets go of all its blocks; named ones stay cached. */
  release(request: Request): void;
}

/** What a scheduler is told of its engine. */
export interface SchedulerSettings {
  readonly blockSize: number;
  readonly maxBatchedTokens: number;
  readonly maxSequences: number;
  readonly costModel: CostModel;
  readonly slowness: number;
}

/** How long quiet steps take: the i-th, from 0, `firstSeconds` + i × `growthSeconds`. */
export interface QuietPace {
  firstSeconds: number;
  growthSeconds: number;
}

/** Requests of one engine, waiting and running. */
export class Scheduler<Request extends ScheduledRequest> {
  readonly #settings: SchedulerSettings;
  readonly #cache: SchedulerCache<Request>;
  #running: Request[] = [];
  // Preempted requests, the next to run last; they go before #queue.
  #returned: Request[] = [];
  #queue: Request[] = [];
  #queueHead = 0;
  #waitingTokens = 0;
  // `contextTokens` is kept up over the steps, the rest begins anew with each.
  readonly #work: StepWork = { tokens: 0, pairs: 0, contextTokens: 0, loadedTokens: 0 };
  #blockedOnBlocks = false;

  constructor(settings: SchedulerSettings, cache: SchedulerCache<Request>) {
    this.#settings = settings;
    this.#cache = cache;
  }

  /** Requests that run. */
  get runningCount(): number {
    return this.#running.length;
  }

  /** Requests that wait. */
  get waitingCount(): number {
    return this.#returned.length + this.#queue.length - this.#queueHead;
  }

  /** Tokens that waiting and running requests have yet to prefill, cached prefixes of waiting ones included. */
  get pendingPrefillTokens(): number {
    let tokens = this.#waitingTokens;
    for (const request of this.#running) tokens += Math.max(0, request.promptLength - request.computed);
    return tokens;
  }

  /** Puts a request at the end of the queue. */
  enqueue(request: Request): void {
    this.#waitingTokens += request.tokenCount;
    this.#queue.push(request);
  }

  /**
   * Runs one step.
   *
   * @param nowSeconds - when it begins.
   * @param result - receives what happened.
   */
  step(nowSeconds: number, result: ScheduledStep): void {
    const work = this.#work;
    result.durationSeconds = 0;
    result.preemptionCount = 0;
    result.nextTokenCount = 0;
    result.lateTokenGaps.length = 0;
    result.firstTokens.length = 0;
    result.finished.length = 0;
    work.pairs = 0;
    work.loadedTokens = 0;
    let budget = this.#advanceRunning(result);
    if (result.preemptionCount === 0) budget = this.#admitWaiting(budget, nowSeconds);
    work.tokens = this.#settings.maxBatchedTokens - budget;
    result.tokenCount = work.tokens;
    if (work.tokens === 0) {
      assert(this.#running.length === 0 && this.waitingCount === 0, "a step with work computes a token (D3)");
      return;
    }
    result.durationSeconds = stepSeconds(this.#settings.costModel, work) * this.#settings.slowness;
    this.#generate(nowSeconds, nowSeconds + result.durationSeconds, result);
  }

  /**
   * How many steps from now on are quiet: each only decodes a token for every running request, which neither fills a block nor ends a
   * request. 0 while anybody waits or prefills.
   */
  quietSteps(): number {
    const running = this.#running;
    if (running.length === 0 || running.length > this.#settings.maxBatchedTokens || this.waitingCount > 0)
      return 0;
    let steps = Number.MAX_SAFE_INTEGER;
    for (const request of running) {
      const { tokenCount, computed, quietUntil, promptLength, outputCount } = request;
      // A prompt's last token may be all that is left of it: that is still prefill.
      if (tokenCount - computed !== 1 || request.firstTokenAtSeconds < 0) return 0;
      steps = Math.min(steps, quietUntil - computed, promptLength + outputCount - tokenCount - 1);
    }
    return Math.max(0, steps);
  }

  /**
   * What the first quiet step would take, and by how much each further one is longer, since contexts grow.
   *
   * @param pace - receives both, in seconds.
   */
  quietPace(pace: QuietPace): void {
    const { costModel, slowness } = this.#settings;
    const count = this.#running.length;
    const contextTokens = this.#work.contextTokens + count;
    const first = { tokens: count, pairs: contextTokens, contextTokens, loadedTokens: 0 };
    pace.firstSeconds = stepSeconds(costModel, first) * slowness;
    pace.growthSeconds = count * (costModel.pairSeconds + costModel.contextTokenSeconds) * slowness;
  }

  /**
   * Makes quiet steps.
   *
   * @param steps - at most `quietSteps()`.
   * @param endSeconds - when the last of them ends.
   */
  stepQuietly(steps: number, endSeconds: number): void {
    for (const request of this.#running) {
      request.computed += steps;
      request.tokenCount += steps;
      request.lastTokenAtSeconds = endSeconds;
    }
    this.#work.contextTokens += steps * this.#running.length;
  }

  /**
   * Ends one request before its last token, as when its client leaves, and lets go of its blocks at
   * once. Named blocks stay cached. O(requests).
   *
   * @returns whether the request was waiting or running.
   */
  abort(id: number): boolean {
    const isIt = (request: Request): boolean => request.id === id;
    const running = this.#running.findIndex(isIt);
    const [request] = running >= 0 ? this.#running.splice(running, 1) : [];
    if (request !== undefined) {
      this.#release(request);
      return true;
    }
    const waiting = this.#dropWaiting(isIt);
    if (waiting === undefined) return false;
    this.#waitingTokens -= waiting.tokenCount;
    // It may have been the head of the queue that lacked blocks.
    this.#blockedOnBlocks = false;
    return true;
  }

  /** Forgets every request without a word and lets go of their blocks. @returns their ids. */
  abortAll(): number[] {
    const all = [...this.#running, ...this.#returned, ...this.#queue.slice(this.#queueHead)];
    for (const request of this.#running) this.#release(request);
    this.#running = [];
    this.#returned = [];
    this.#queue = [];
    this.#queueHead = 0;
    this.#waitingTokens = 0;
    this.#blockedOnBlocks = false;
    return all.map((request) => request.id);
  }

  // Part 1. Returns what is left of the token budget.
  #advanceRunning(result: ScheduledStep): number {
    const work = this.#work;
    let budget = this.#settings.maxBatchedTokens;
    for (let index = 0; index < this.#running.length && budget > 0; index++) {
      const request = this.#running[index];
      if (request === undefined) break;
      const pending = request.tokenCount - request.computed;
      if (pending === 1 && request.computed < request.quietUntil) {
        request.computed++;
        work.contextTokens++;
        work.pairs += request.computed;
        budget--;
        continue;
      }
      const tokens = Math.min(pending, budget);
      if (!this.#makeRoom(request, request.computed + tokens, result)) break;
      this.#compute(request, tokens);
      budget -= tokens;
    }
    return budget;
  }

  // Finds blocks for a running request up to `end` tokens; false when it had to preempt that very request.
  #makeRoom(request: Request, end: number, result: ScheduledStep): boolean {
    const needed = Math.ceil(end / this.#settings.blockSize) - request.blockCount;
    while (needed > this.#cache.freeCount) {
      const youngest = this.#running.pop();
      assert(youngest !== undefined, "the request that needs blocks is running");
      this.#release(youngest);
      youngest.preemptions++;
      this.#waitingTokens += youngest.tokenCount;
      this.#returned.push(youngest);
      result.preemptionCount++;
      if (youngest === request) return false;
    }
    if (needed > 0) this.#cache.reserve(request, needed);
    return true;
  }

  // Part 2. Returns what is left of the token budget.
  #admitWaiting(budget: number, nowSeconds: number): number {
    const { blockSize, maxSequences } = this.#settings;
    while (budget > 0 && this.#running.length < maxSequences && !this.#blockedOnBlocks) {
      const request = this.#returned.at(-1) ?? this.#queue[this.#queueHead];
      if (request === undefined) break;
      request.open(blockSize);
      this.#cache.match(request);
      const cachedBlocks = request.matchedDevice + request.matchedHost;
      const tokens = Math.min(request.tokenCount - cachedBlocks * blockSize, budget);
      const end = cachedBlocks * blockSize + tokens;
      const needed = Math.ceil(end / blockSize) - request.matchedDevice;
      if (needed > this.#cache.freeCount - this.#cache.matchedFree(request)) {
        this.#blockedOnBlocks = true;
        break;
      }
      const held = request.blockCount + request.registered + request.computed;
      assert(held === 0, () => `R2: waiting request ${request.id} holds no block`);
      this.#leaveQueue(request);
      this.#cache.retainMatched(request);
      this.#cache.reserve(request, needed);
      request.computed = cachedBlocks * blockSize;
      this.#work.contextTokens += request.computed;
      this.#work.loadedTokens += request.matchedHost * blockSize;
      if (request.cachedBlocks < 0) {
        request.admittedAtSeconds = nowSeconds;
        request.cachedBlocks = cachedBlocks;
        request.cachedHostBlocks = request.matchedHost;
      }
      this.#compute(request, tokens);
      this.#running.push(request);
      budget -= tokens;
    }
    return budget;
  }

  #dropWaiting(isIt: (request: Request) => boolean): Request | undefined {
    const returned = this.#returned.findIndex(isIt);
    if (returned >= 0) return this.#returned.splice(returned, 1)[0];
    const queued = this.#queue.findIndex((request, position) => position >= this.#queueHead && isIt(request));
    return queued >= 0 ? this.#queue.splice(queued, 1)[0] : undefined;
  }

  #leaveQueue(request: Request): void {
    this.#waitingTokens -= request.tokenCount;
    if (this.#returned.length > 0) {
      this.#returned.pop();
      return;
    }
    this.#queueHead++;
    // Compacted when half is dead, so that each entry is moved once on average.
    if (this.#queueHead * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#queueHead);
      this.#queueHead = 0;
    }
  }

  #compute(request: Request, tokens: number): void {
    this.#work.pairs += tokens * request.computed + (tokens * (tokens + 1)) / 2;
    this.#work.contextTokens += tokens;
    request.computed += tokens;
    this.#cache.publish(request);
    assert(
      isWithinBounds(request, this.#settings.blockSize),
      () => `R1: request ${request.id} is within its bounds`,
    );
    // The token that fills the last block must pass here again, to be published.
    request.quietUntil = request.blockCount * this.#settings.blockSize - 1;
  }

  #release(request: Request): void {
    this.#work.contextTokens -= request.computed;
    this.#cache.release(request);
    this.#blockedOnBlocks = false;
  }

  // Part 3.
  #generate(nowSeconds: number, endSeconds: number, result: ScheduledStep): void {
    const running = this.#running;
    let kept = 0;
    for (const request of running) {
      if (request.computed === request.tokenCount) {
        request.tokenCount++;
        if (request.lastTokenAtSeconds === nowSeconds) result.nextTokenCount++;
        else if (request.firstTokenAtSeconds >= 0)
          result.lateTokenGaps.push(endSeconds - request.lastTokenAtSeconds);
        else {
          request.firstTokenAtSeconds = endSeconds;
          result.firstTokens.push(request.id);
        }
        request.lastTokenAtSeconds = endSeconds;
        if (request.tokenCount === request.promptLength + request.outputCount) {
          this.#release(request);
          result.finished.push(report(request, endSeconds, this.#settings.blockSize));
          continue;
        }
      }
      running[kept++] = request;
    }
    running.length = kept;
  }
}

/** R1 of scheduled-request.ts. */
function isWithinBounds(request: ScheduledRequest, blockSize: number): boolean {
  const { registered, computed, tokenCount, blockCount } = request;
  return registered * blockSize <= computed && computed <= Math.min(tokenCount, blockCount * blockSize);
}

function report(request: ScheduledRequest, finishedAtSeconds: number, blockSize: number): FinishedRequest {
  return {
    id: request.id,
    promptTokens: request.promptLength,
    outputTokens: request.outputCount,
    promptBlocks: Math.floor(request.promptLength / blockSize),
    cachedBlocks: request.cachedBlocks,
    cachedHostBlocks: request.cachedHostBlocks,
    preemptions: request.preemptions,
    submittedAtSeconds: request.submittedAtSeconds,
    admittedAtSeconds: request.admittedAtSeconds,
    firstTokenAtSeconds: request.firstTokenAtSeconds,
    finishedAtSeconds,
  };
}
