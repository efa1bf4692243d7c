/**
 * What a router knows without any event: where it sent which prefixes lately.
 *
 *     prompt   │ chunk 0 │ chunk 1 │ chunk 2 │ rest │      chunks of some tokens, named by the prefix hash at their ends
 *     table    prefix hash ─▶ worker, until; worker, until; …
 *
 *  D1  `match` gives a worker the chunks that all were sent to it and have not expired, without a hole.
 *  D2  A prefix sent to a worker again lives on from then.
 *  D3  At most CHUNKS_MAX entries live; the oldest go first.
 *
 * Source of the idea, of the two minutes and of the limit: Dynamo's approximate indexer, ai-dynamo/dynamo
 * lib/kv-router/src/approx.rs @ 209c9e83 (PruneConfig).
 */
import type { RoutingRequest } from "./policy.ts";
import { PromptPrefixes } from "./prompt-prefixes.ts";

const CHUNKS_MAX = 2 ** 20;

/** See the header. */
export class DecisionHistory {
  readonly #lifeSeconds: number;
  readonly #prefixes: PromptPrefixes;
  /** Worker, until, worker, until, … by prefix. */
  readonly #chunks = new Map<number, number[]>();
  /** Prefixes and their ends of life in order of decision, as a ring of two columns. */
  #keys = new Float64Array(1024);
  #until = new Float64Array(1024);
  #first = 0;
  #count = 0;
  #prompt: readonly number[] = [];

  /**
   * @param lifeSeconds - how long a decision counts.
   * @param chunkTokens - how finely prompts are remembered: each chunk costs a table entry and about a microsecond.
   */
  constructor(lifeSeconds: number, chunkTokens: number) {
    this.#lifeSeconds = lifeSeconds;
    this.#prefixes = new PromptPrefixes(chunkTokens);
  }

  /**
   * Finds what of a prompt was sent where.
   *
   * @param request - see RoutingRequest; `record` means this one afterwards.
   * @param matched - receives tokens by worker; its length is the number of workers.
   * @param nowSeconds - decisions that ended before do not count.
   */
  match(request: RoutingRequest, matched: Float64Array, nowSeconds: number): void {
    this.#expire(nowSeconds);
    matched.fill(0);
    const { prefixes, chunkTokens } = this.#prefixes.of(request);
    this.#prompt = prefixes;
    for (const [position, key] of this.#prompt.entries()) {
      const entry = this.#chunks.get(key);
      if (entry === undefined) break;
      for (let i = 0; i < entry.length; i += 2) {
        const worker = entry[i] ?? 0;
        const isUnbroken = matched[worker] === position * chunkTokens;
        if (isUnbroken && (entry[i + 1] ?? 0) > nowSeconds) matched[worker] = (position + 1) * chunkTokens;
      }
    }
  }

  /** Books that the prompt of the last `match` goes to a worker. */
  record(worker: number, nowSeconds: number): void {
    const until = nowSeconds + this.#lifeSeconds;
    for (const key of this.#prompt) {
      const entry = this.#chunks.get(key);
      if (entry === undefined) this.#chunks.set(key, [worker, until]);
      else prolong(entry, worker, until);
      this.#push(key, until);
    }
  }

  #push(key: number, until: number): void {
    if (this.#count === this.#keys.length) this.#grow();
    const at = (this.#first + this.#count) % this.#keys.length;
    this.#keys[at] = key;
    this.#until[at] = until;
    this.#count++;
    if (this.#count > CHUNKS_MAX) this.#dropOldest();
  }

  #grow(): void {
    const size = this.#keys.length;
    const [keys, until] = [new Float64Array(2 * size), new Float64Array(2 * size)];
    for (let i = 0; i < this.#count; i++) {
      keys[i] = this.#keys[(this.#first + i) % size] ?? 0;
      until[i] = this.#until[(this.#first + i) % size] ?? 0;
    }
    [this.#keys, this.#until, this.#first] = [keys, until, 0];
  }

  #expire(nowSeconds: number): void {
    while (this.#count > 0 && (this.#until[this.#first] ?? 0) <= nowSeconds) this.#dropOldest();
  }

  /** Takes the oldest decision's worker out, unless a younger decision prolonged it. */
  #dropOldest(): void {
    const key = this.#keys[this.#first] ?? 0;
    const until = this.#until[this.#first] ?? 0;
    this.#first = (this.#first + 1) % this.#keys.length;
    this.#count--;
    const entry = this.#chunks.get(key);
    if (entry === undefined) return;
    for (let i = entry.length - 2; i >= 0; i -= 2) if ((entry[i + 1] ?? 0) <= until) entry.splice(i, 2);
    if (entry.length === 0) this.#chunks.delete(key);
  }
}

function prolong(entry: number[], worker: number, until: number): void {
  for (let i = 0; i < entry.length; i += 2) {
    if (entry[i] !== worker) continue;
    entry[i + 1] = until;
    return;
  }
  entry.push(worker, until);
}
