/**
 * A router's books: what it sent to whom and has not seen end. Policies decide by them, in simulation and replay alike.
 *
 *     send ──▶ waiting ── first token ──▶ running ── end ──▶ gone
 *              pending prefill counts      context counts
 *
 *  B1  A worker's load is the sum over its requests that have not ended.
 *  B2  What is booked for a request is taken back exactly, in whatever order its news come.
 */
import type { WorkerView } from "./policy.ts";

/** A request at a worker. */
interface Assignment {
  readonly position: number;
  readonly promptTokens: number;
  /** Prompt tokens booked as pending; 0 once the first token has come. */
  pendingTokens: number;
  isWaiting: boolean;
}

/** See the header. */
export class LoadBook {
  readonly #views: readonly WorkerView[];
  readonly #assignments = new Map<number, Assignment>();

  /**
   * @param workers - their names, by position.
   * @param capacityTokens - tokens of KV that each has room for.
   */
  constructor(workers: readonly string[], capacityTokens: number) {
    this.#views = workers.map((worker) => ({
      worker,
      capacityTokens,
      runningRequests: 0,
      waitingRequests: 0,
      pendingPrefillTokens: 0,
      contextTokens: 0,
      matchedTokens: 0,
      matchedSlowTokens: 0,
      trust: "unknown",
    }));
  }

  /** The workers, by position. Matches are whoever asks' to write, loads are the book's. */
  get views(): readonly WorkerView[] {
    return this.#views;
  }

  /** Forgets the matches of the request before. */
  clearMatches(): void {
    for (const view of this.#views) {
      view.matchedTokens = 0;
      view.matchedSlowTokens = 0;
      view.trust = "unknown";
    }
  }

  /**
   * Books that a request goes to a worker; what its view says is matched is expected not to be prefilled.
   *
   * @param request - not under way.
   * @param position - of the worker.
   * @param promptTokens - of the request.
   */
  send(request: number, position: number, promptTokens: number): void {
    const view = this.#views[position];
    if (view === undefined) throw new RangeError(`there is no worker ${position}`);
    const pendingTokens = Math.max(0, promptTokens - view.matchedTokens);
    view.runningRequests += 1;
    view.waitingRequests += 1;
    view.pendingPrefillTokens += pendingTokens;
    view.contextTokens += promptTokens;
    this.#assignments.set(request, { position, promptTokens, pendingTokens, isWaiting: true });
  }

  /** Books that a request's first token has come. What is not under way is ignored. */
  firstToken(request: number): void {
    const assignment = this.#assignments.get(request);
    if (assignment?.isWaiting !== true) return;
    assignment.isWaiting = false;
    const view = this.#views[assignment.position];
    if (view === undefined) return;
    view.waitingRequests -= 1;
    view.pendingPrefillTokens -= assignment.pendingTokens;
  }

  /** Books that a request is over: finished, refused or lost. What is not under way is ignored. */
  end(request: number): void {
    const assignment = this.#assignments.get(request);
    if (assignment === undefined) return;
    this.firstToken(request);
    this.#assignments.delete(request);
    const view = this.#views[assignment.position];
    if (view === undefined) return;
    view.runningRequests -= 1;
    view.contextTokens -= assignment.promptTokens;
  }
}
