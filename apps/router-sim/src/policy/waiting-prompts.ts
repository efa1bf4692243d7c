/**
 * The prompts that will soon be in the engines' caches: those of each worker's requests whose first
 * token has not come.
 *
 *     worker   │ oldest │ … │ youngest │     as many as its view says are waiting; they are taken up in the order they were sent
 *     table    prefix ─▶ worker: how many of its waiting prompts begin so
 *
 *  H1  `match` gives a worker the chunks that its waiting prompts have in common with this one, from the begin.
 *  H2  A prompt counts until its worker has fewer waiting than were sent after it. From then on the
 *      engine holds it, or has refused it.
 *      When requests end out of order, an older one is taken for the one that ended.
 *
 * Memory: a number per chunk of the waiting prompts.
 */
import { namePrefixes, type RoutingRequest, type WorkerView } from "@kvsync/routing";

/** One worker's waiting prompts. */
interface Line {
  readonly prompts: (readonly number[])[];
  /** Of `prompts`, those that have left. */
  left: number;
}

/** See the header. */
export class WaitingPrompts {
  readonly #chunkTokens: number;
  readonly #lines: readonly Line[];
  readonly #chunks = new Map<number, Map<number, number>>();
  #prompt: readonly number[] = [];

  /**
   * @param workerCount - workers that there will be to choose from.
   * @param chunkTokens - how finely prompts are remembered.
   */
  constructor(workerCount: number, chunkTokens: number) {
    this.#chunkTokens = chunkTokens;
    this.#lines = Array.from({ length: workerCount }, () => ({ prompts: [], left: 0 }));
  }

  /**
   * Finds what of a prompt waits where.
   *
   * @param request - see RoutingRequest; `record` means this one afterwards.
   * @param workers - the views of all, for how many of their requests wait.
   * @param matched - receives tokens by worker.
   */
  match(request: RoutingRequest, workers: readonly WorkerView[], matched: Float64Array): void {
    for (const [worker, { waitingRequests }] of workers.entries()) this.#shorten(worker, waitingRequests);
    matched.fill(0);
    const { prefixes, chunkTokens } = namePrefixes(request, this.#chunkTokens);
    this.#prompt = prefixes;
    for (const [position, key] of prefixes.entries()) {
      const counts = this.#chunks.get(key);
      if (counts === undefined) break;
      for (const worker of counts.keys())
        if (matched[worker] === position * chunkTokens) matched[worker] = (position + 1) * chunkTokens;
    }
  }

  /** Books that the prompt of the last `match` goes to a worker. */
  record(worker: number): void {
    this.#lines[worker]?.prompts.push(this.#prompt);
    for (const key of this.#prompt) {
      const counts = this.#chunks.get(key) ?? new Map<number, number>();
      counts.set(worker, (counts.get(worker) ?? 0) + 1);
      this.#chunks.set(key, counts);
    }
  }

  /** Lets the oldest go (H2). */
  #shorten(worker: number, waitingRequests: number): void {
    const line = this.#lines[worker];
    if (line === undefined) return;
    const { prompts } = line;
    while (prompts.length - line.left > waitingRequests) {
      for (const key of prompts[line.left] ?? []) this.#forget(key, worker);
      line.left += 1;
    }
    // Moving what is left pays when at least as many have gone.
    if (2 * line.left < prompts.length) return;
    prompts.splice(0, line.left);
    line.left = 0;
  }

  #forget(key: number, worker: number): void {
    const counts = this.#chunks.get(key);
    const count = counts?.get(worker) ?? 0;
    if (count > 1) counts?.set(worker, count - 1);
    else counts?.delete(worker);
    if (counts?.size === 0) this.#chunks.delete(key);
  }
}
