/**
 * A router's books: the requests that it sent to each worker and that have not ended, and the
 * reported load of others. Policies decide by them, in simulation, replay and gateways alike.
 *
 *     send ──▶ waiting ── first token ──▶ running ── end ──▶ gone
 *              pending prefill counts      context counts
 *
 *  B1  A worker's load is the sum over its requests that have not ended, plus its foreign load. The
 *      test compares it with a book that adds everything up each time (load-book.test.ts "B1").
 *  B2  The booking of a request is taken back exactly, in any order of its news, also after it
 *      moved (load-book.test.ts "B2").
 *  B3  A worker that leaves takes its requests and its foreign load along: the next one at its
 *      position starts at zero. Late news of the last one change nothing (load-book.test.ts "B3").
 *  B4  Foreign load by looks at an engine is what it had beyond our own requests in both of the last
 *      two looks (load-book.test.ts "B4").
 *
 * Loads are whole tokens, so that adding and taking back leaves no remainder.
 *
 * Memory: one entry per request in progress.
 */
import { POSITIONS_MAX, type WorkerView } from "./policy.ts";

/** Prompts whose mean stands for a foreign request that waits. */
const RECENT_PROMPTS = 256;
const NOTHING_SEEN: OtherLoad = { requests: 0, waiting: 0 };

/** A request at a worker. */
interface Assignment {
  position: number;
  readonly promptTokens: number;
  /** Prompt tokens booked as pending; 0 once the first token has come. */
  readonly pendingTokens: number;
  isWaiting: boolean;
}

/** Foreign load as it stands in a view. */
interface ForeignLoad {
  /** Running and waiting. */
  requests: number;
  waiting: number;
  pendingTokens: number;
}

/** Requests of others that a look at an engine showed. */
interface OtherLoad {
  readonly requests: number;
  readonly waiting: number;
}

/** A worker of a fleet that does not change. */
export interface FixedWorker {
  readonly worker: string;
  /** Tokens of KV that it has room for. */
  readonly capacityTokens: number;
}

/** See the header. */
export class LoadBook {
  readonly #views: WorkerView[] = [];
  readonly #foreign: ForeignLoad[] = [];
  /** What the last look at an engine showed, by position. */
  readonly #lastSeen: OtherLoad[] = [];
  readonly #assignments = new Map<number, Assignment>();
  /** Lengths of the last prompts sent, as a ring. */
  readonly #recent: number[] = [];
  #recentSum = 0;
  #sent = 0;

  /** @param workers - members from the start, at positions 0, 1, … */
  constructor(workers: readonly FixedWorker[] = []) {
    for (const [position, { worker, capacityTokens }] of workers.entries())
      this.join(position, worker, capacityTokens);
  }

  /** The positions, empty ones among them not eligible. Matches are the caller's to write. */
  get views(): readonly WorkerView[] {
    return this.#views;
  }

  /** Requests under way. */
  get requestCount(): number {
    return this.#assignments.size;
  }

  /** Whether a request is under way. */
  has(request: number): boolean {
    return this.#assignments.has(request);
  }

  /** The part of a view's load that others caused; zero at a position without a worker. */
  foreignOf(position: number): Readonly<ForeignLoad> {
    return this.#foreign[position] ?? { requests: 0, waiting: 0, pendingTokens: 0 };
  }

  /**
   * A worker takes an empty position and is eligible.
   *
   * @throws RangeError when the position is taken, or not in 0 … POSITIONS_MAX − 1.
   */
  join(position: number, worker: string, capacityTokens: number): void {
    if (!Number.isInteger(position) || position < 0 || position >= POSITIONS_MAX)
      throw new RangeError(`position ${position} is not in 0 … ${POSITIONS_MAX - 1}`);
    if (this.#hasMember(position)) throw new RangeError(`position ${position} is taken`);
    while (this.#views.length <= position) {
      this.#views.push(emptyView());
      this.#foreign.push({ requests: 0, waiting: 0, pendingTokens: 0 });
    }
    const view = this.#viewOf(position);
    view.worker = worker;
    view.capacityTokens = capacityTokens;
    view.isEligible = true;
  }

  /** The worker of a position is gone. Its requests end; news of them are ignored from now on. */
  leave(position: number): void {
    for (const [request, assignment] of this.#assignments)
      if (assignment.position === position) this.#assignments.delete(request);
    Object.assign(this.#viewOf(position), emptyView());
    this.#foreign[position] = { requests: 0, waiting: 0, pendingTokens: 0 };
    this.#lastSeen[position] = NOTHING_SEEN;
  }

  /**
   * Replaces the room of a worker, when it becomes known after the worker joined. Its load stays.
   *
   * @throws RangeError when no worker is at the position.
   */
  resize(position: number, capacityTokens: number): void {
    this.#memberAt(position).capacityTokens = capacityTokens;
  }

  /** Forgets matches and surcharges of the request before. */
  clearMatches(): void {
    for (const view of this.#views) {
      view.matchedTokens = 0;
      view.matchedSlowTokens = 0;
      view.trust = "unknown";
      view.surchargeTokens = 0;
    }
  }

  /**
   * Books that a request goes to a worker.
   *
   * @param request - any number that is not under way.
   * @param freshTokens - of the prompt, those to be prefilled; all that its view does not have as
   * matched unless given.
   * @throws RangeError when no worker is at the position, or the request is under way already.
   */
  send(request: number, position: number, promptTokens: number, freshTokens?: number): void {
    const view = this.#memberAt(position);
    if (this.#assignments.has(request))
      throw new RangeError(`request ${request} was sent already and has not ended`);
    const pendingTokens = freshTokens ?? Math.max(0, promptTokens - view.matchedTokens);
    const assignment = { position, promptTokens, pendingTokens, isWaiting: true };
    this.#assignments.set(request, assignment);
    addTo(view, assignment, 1);
    this.#recentSum += promptTokens - (this.#recent[this.#sent % RECENT_PROMPTS] ?? 0);
    this.#recent[this.#sent % RECENT_PROMPTS] = promptTokens;
    this.#sent += 1;
  }

  /** Books that a request's first token has come. Requests that are not under way are ignored. */
  firstToken(request: number): void {
    const assignment = this.#assignments.get(request);
    if (assignment?.isWaiting !== true) return;
    const view = this.#viewOf(assignment.position);
    addTo(view, assignment, -1);
    assignment.isWaiting = false;
    addTo(view, assignment, 1);
  }

  /**
   * Books that another worker than the chosen one serves a request. Its prefill counts there in full.
   * At a position without a worker the booking ends.
   */
  move(request: number, position: number): void {
    const assignment = this.#assignments.get(request);
    if (assignment === undefined || assignment.position === position) return;
    const { promptTokens, isWaiting } = assignment;
    this.end(request);
    if (!this.#hasMember(position)) return;
    const moved = { position, promptTokens, pendingTokens: promptTokens, isWaiting };
    this.#assignments.set(request, moved);
    addTo(this.#viewOf(position), moved, 1);
  }

  /** Books that a request is over: finished, refused or lost. Requests not under way are ignored. */
  end(request: number): void {
    const assignment = this.#assignments.get(request);
    if (assignment === undefined) return;
    this.#assignments.delete(request);
    addTo(this.#viewOf(assignment.position), assignment, -1);
  }

  /**
   * Replaces the load that others caused at a worker. A waiting request counts with the mean of the
   * last prompts sent, since its length is not known. Ignored at a position without a worker.
   *
   * @param running - foreign requests whose first token has come.
   * @param waiting - foreign requests whose first token has not come.
   */
  foreign(position: number, running: number, waiting: number): void {
    if (!this.#hasMember(position)) return;
    const meanPrompt = this.#recent.length === 0 ? 0 : this.#recentSum / this.#recent.length;
    const pendingTokens = Math.round(waiting * meanPrompt);
    const load = { requests: running + waiting, waiting, pendingTokens };
    const view = this.#viewOf(position);
    const before = this.#foreign[position];
    view.runningRequests += load.requests - (before?.requests ?? 0);
    view.waitingRequests += load.waiting - (before?.waiting ?? 0);
    view.pendingPrefillTokens += load.pendingTokens - (before?.pendingTokens ?? 0);
    this.#foreign[position] = load;
  }

  /**
   * Works out from what an engine says of itself the load that others caused there: what it has
   * beyond our own requests, with as large a part of its queue. Running and waiting requests count
   * together, since a request of ours that waits in the book until its first token is running for the
   * engine. The smaller of the last two looks counts: the end of a request is seen at different times
   * here and there. Ignored at a position without a worker.
   *
   * @param running - requests that the engine works on.
   * @param waiting - requests in its queue.
   */
  seen(position: number, running: number, waiting: number): void {
    if (!this.#hasMember(position)) return;
    const all = running + waiting;
    const own = this.#viewOf(position).runningRequests - this.foreignOf(position).requests;
    const requests = Math.max(0, all - own);
    const now = { requests, waiting: all === 0 ? 0 : Math.round((waiting * requests) / all) };
    const before = this.#lastSeen[position] ?? NOTHING_SEEN;
    this.#lastSeen[position] = now;
    const theirs = Math.min(now.requests, before.requests);
    const theirWaiting = Math.min(theirs, now.waiting, before.waiting);
    this.foreign(position, theirs - theirWaiting, theirWaiting);
  }

  /** An engine has not said anything for too long: only our own requests count there. */
  unseen(position: number): void {
    this.#lastSeen[position] = NOTHING_SEEN;
    this.foreign(position, 0, 0);
  }

  #hasMember(position: number): boolean {
    return (this.#views[position]?.worker ?? "") !== "";
  }

  #memberAt(position: number): WorkerView {
    if (!this.#hasMember(position)) throw new RangeError(`no worker is at position ${position}`);
    return this.#viewOf(position);
  }

  #viewOf(position: number): WorkerView {
    const view = this.#views[position];
    if (view === undefined) throw new RangeError(`no worker was ever at position ${position}`);
    return view;
  }
}

function emptyView(): WorkerView {
  return {
    worker: "",
    isEligible: false,
    runningRequests: 0,
    waitingRequests: 0,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    capacityTokens: 0,
    matchedTokens: 0,
    matchedSlowTokens: 0,
    trust: "unknown",
    surchargeTokens: 0,
  };
}

/** Adds a request's load to a view, or takes it back (`sign` −1). */
function addTo(view: WorkerView, { promptTokens, pendingTokens, isWaiting }: Assignment, sign: 1 | -1): void {
  view.runningRequests += sign;
  view.contextTokens += sign * promptTokens;
  if (!isWaiting) return;
  view.waitingRequests += sign;
  view.pendingPrefillTokens += sign * pendingTokens;
}
