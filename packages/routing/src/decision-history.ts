/**
 * A router's record without any event: the worker to which it sent each prefix lately.
 *
 *     prompt   │ chunk 0 │ chunk 1 │ chunk 2 │ rest │     named by prompt-prefixes.ts at their ends
 *     record   prefix, tenant, until, older                numbered 1, 2, … in order of decision; four cells each, as a ring
 *     chain    newest record ─▶ older one ─▶ … ─▶ one that is not in the ring any more, or 0
 *     tenant   position + POSITIONS_MAX × how many workers left that position before
 *     first    newest record of a first chunk, by some bits of its prefix, and from each such record the one before it:
 *              a prompt is looked for only at the workers that were sent its beginning
 *
 * A chain has records whose prefixes and tenants have one hash. It leads from newer to older
 * records, and ends at the first number that the ring does not have. So a record leaves the ring
 * without any other change.
 *
 * A worker that was sent a prefix was sent all shorter ones, and they live as long. A search by
 * halves finds how much it was sent.
 *
 *  D1  `match` gives a worker the chunks that were all sent to it and have not expired, without a
 *      hole (decision-history.test.ts "D1").
 *  D2  A prefix sent to a worker again lives on from then (decision-history.test.ts "D2").
 *  D3  At most CHUNKS_MAX records live; the oldest decisions go first, as a whole
 *      (decision-history.test.ts "D3").
 *  D4  A prefix sent to a worker does not count for the next worker at its position
 *      (decision-history.test.ts "D4").
 *
 * Source of the idea, of the two minutes and of the limit: Dynamo's approximate indexer,
 * ai-dynamo/dynamo lib/kv-router/src/approx.rs @ 209c9e83 (PruneConfig).
 */
import { POSITIONS_MAX, type RoutingRequest } from "./policy.ts";
import { namePrefixes } from "./prompt-prefixes.ts";

/** 2²⁰ chunks of 256 tokens: the prompts of 268 million tokens. About 50 MB. */
const CHUNKS_MAX: number = 2 ** 20;
/** Beginnings of prompts that are told apart before any is looked for; a power of two. */
const FIRSTS = 2 ** 14;
/** Records that have room at first. */
const ROOM_MIN = 1024;
/** Cells of a record. */
const RECORD_CELLS = 4;
const PREFIX = 0;
const TENANT = 1;
const UNTIL = 2;
/** Number of the next older record of the chain. */
const OLDER = 3;

/** See the header. */
export class DecisionHistory {
  readonly #lifeSeconds: number;
  readonly #chunkTokens: number;
  readonly #chunksMax: number;
  /** Who is at each position now, */
  readonly #tenants: Float64Array;
  /** and until when anything that was sent there counts. */
  readonly #lastUntil: Float64Array;
  /** Nothing was ever sent to a position from here on. */
  #end = 0;
  #records = new Records(ROOM_MIN);
  /** Number of the newest record of a first chunk. */
  readonly #firsts = new Float64Array(FIRSTS);
  /** Number of the oldest record that lives, and of the next one. */
  #oldest = 1;
  #next = 1;
  #prompt: readonly number[] = [];

  /**
   * @param positionCount - positions of the fleet, empty ones included.
   * @param lifeSeconds - how long a decision counts.
   * @param chunkTokens - how finely prompts are remembered; each chunk costs a record.
   * @param chunksMax - records that live at most.
   */
  constructor(
    positionCount: number,
    lifeSeconds: number,
    chunkTokens: number,
    chunksMax: number = CHUNKS_MAX,
  ) {
    this.#lifeSeconds = lifeSeconds;
    this.#chunkTokens = chunkTokens;
    this.#chunksMax = chunksMax;
    this.#tenants = Float64Array.from({ length: positionCount }, (_, position) => position);
    this.#lastUntil = new Float64Array(positionCount).fill(Number.NEGATIVE_INFINITY);
  }

  /** Records that live. */
  get chunkCount(): number {
    return this.#next - this.#oldest;
  }

  /** Forgets what was sent to a position. O(1): its records expire unread. */
  leave(position: number): void {
    this.#tenants[position] = (this.#tenants[position] ?? position) + POSITIONS_MAX;
    this.#lastUntil[position] = Number.NEGATIVE_INFINITY;
  }

  /**
   * Finds what of a prompt was sent where.
   *
   * @param request - `record` means this one afterwards.
   * @param matched - receives tokens by position; its length is the number of positions.
   * @param nowSeconds - decisions that ended before do not count.
   * @returns whether anything was sent anywhere. Cost: naming the prompt, and for each position O(log chunks).
   */
  match(request: RoutingRequest, matched: Float64Array, nowSeconds: number): boolean {
    this.#expire(nowSeconds);
    matched.fill(0);
    const { prefixes, chunkTokens } = namePrefixes(request, this.#chunkTokens);
    this.#prompt = prefixes;
    let isFound = false;
    const found = this.#matchByFirsts(matched, chunkTokens);
    if (found !== "too_many") return found === "some";
    for (let position = 0; position < this.#end; position++) {
      if ((this.#lastUntil[position] ?? 0) <= nowSeconds) continue;
      const chunks = this.#chunksSent(this.#tenants[position] ?? position);
      matched[position] = chunks * chunkTokens;
      isFound ||= chunks > 0;
    }
    return isFound;
  }

  /**
   * Looks only at workers that were sent the first chunk. Gives up where as many records have it as there are workers:
   * looking at each worker once is faster then.
   */
  #matchByFirsts(matched: Float64Array, chunkTokens: number): "some" | "none" | "too_many" {
    const [first = 0] = this.#prompt;
    const { cells, olderFirsts, mask } = this.#records;
    let found: "some" | "none" = "none";
    let left = this.#end;
    for (let number = this.#firsts[firstOf(this.#prompt)] ?? 0; number >= this.#oldest; left--) {
      if (left === 0) return "too_many";
      const at = RECORD_CELLS * (number & mask);
      const tenant = cells[at + TENANT] ?? 0;
      const position = tenant % POSITIONS_MAX;
      if (cells[at + PREFIX] === first && this.#tenants[position] === tenant && matched[position] === 0) {
        matched[position] = this.#chunksSent(tenant) * chunkTokens;
        found = "some";
      }
      number = olderFirsts[number & mask] ?? 0;
    }
    return found;
  }

  /** Leading chunks of the prompt that were sent to a tenant. */
  #chunksSent(tenant: number): number {
    const prompt = this.#prompt;
    let least = 0;
    let most = prompt.length;
    // The first chunk is asked for first: most prompts were never sent to most workers.
    let chunks = Math.min(1, most);
    while (least < most) {
      if (this.#isSent(prompt[chunks - 1] ?? 0, tenant)) least = chunks;
      else most = chunks - 1;
      chunks = (least + most + 1) >>> 1;
    }
    return least;
  }

  #isSent(prefix: number, tenant: number): boolean {
    const { cells, newest, mask } = this.#records;
    let number = newest[chainOf(prefix, tenant) & mask] ?? 0;
    while (number >= this.#oldest) {
      const at = RECORD_CELLS * (number & mask);
      if (cells[at + PREFIX] === prefix && cells[at + TENANT] === tenant) return true;
      number = cells[at + OLDER] ?? 0;
    }
    return false;
  }

  /** Prefixes of the prompt of the last `match`, one per chunk. */
  get prompt(): readonly number[] {
    return this.#prompt;
  }

  /**
   * Remembers that a prompt goes to a position.
   *
   * @param prompt - its prefixes; those of the last `match` unless given.
   */
  record(position: number, nowSeconds: number, prompt: readonly number[] = this.#prompt): void {
    const tenant = this.#tenants[position];
    if (tenant === undefined) return;
    const count = Math.min(prompt.length, this.#chunksMax);
    this.#makeRoom(count);
    const until = nowSeconds + this.#lifeSeconds;
    this.#lastUntil[position] = until;
    this.#end = Math.max(this.#end, position + 1);
    for (let chunk = 0; chunk < count; chunk++)
      this.#records.write(this.#next + chunk, prompt[chunk] ?? 0, tenant, until);
    if (count > 0) {
      const first = firstOf(prompt);
      this.#records.olderFirsts[this.#next & this.#records.mask] = this.#firsts[first] ?? 0;
      this.#firsts[first] = this.#next;
    }
    this.#next += count;
  }

  #makeRoom(count: number): void {
    while (this.chunkCount + count > this.#chunksMax) this.#expire(this.#records.untilOf(this.#oldest));
    while (this.chunkCount + count > this.#records.room) this.#grow();
  }

  #grow(): void {
    const { cells, olderFirsts, mask, room } = this.#records;
    this.#records = new Records(2 * room);
    for (let number = this.#oldest; number < this.#next; number++) {
      const at = RECORD_CELLS * (number & mask);
      const [prefix, tenant, until] = [cells[at + PREFIX], cells[at + TENANT], cells[at + UNTIL]];
      this.#records.write(number, prefix ?? 0, tenant ?? 0, until ?? 0);
      this.#records.olderFirsts[number & this.#records.mask] = olderFirsts[number & mask] ?? 0;
    }
  }

  #expire(nowSeconds: number): void {
    while (this.#oldest < this.#next && this.#records.untilOf(this.#oldest) <= nowSeconds) this.#oldest += 1;
  }
}

/** Records by the low bits of their numbers, and chains by those of their hashes. */
class Records {
  /** A power of two. */
  readonly room: number;
  readonly mask: number;
  /** A record in RECORD_CELLS neighbours: one search step reads one place of memory. */
  readonly cells: Float64Array;
  /** Of a record of a first chunk: number of the one before it with the same bits. */
  readonly olderFirsts: Float64Array;
  /** Number of the newest record, by chain. */
  readonly newest: Float64Array;

  constructor(room: number) {
    this.room = room;
    this.mask = room - 1;
    this.cells = new Float64Array(RECORD_CELLS * room);
    this.olderFirsts = new Float64Array(room);
    this.newest = new Float64Array(room);
  }

  /** Until when a record counts. */
  untilOf(number: number): number {
    return this.cells[RECORD_CELLS * (number & this.mask) + UNTIL] ?? 0;
  }

  /** Writes a record in place of the one that is `room` numbers older; it becomes the newest of its chain. */
  write(number: number, prefix: number, tenant: number, until: number): void {
    const { cells, newest, mask } = this;
    const at = RECORD_CELLS * (number & mask);
    const chain = chainOf(prefix, tenant) & mask;
    cells[at + PREFIX] = prefix;
    cells[at + TENANT] = tenant;
    cells[at + UNTIL] = until;
    cells[at + OLDER] = newest[chain] ?? 0;
    newest[chain] = number;
  }
}

/** Where the beginning of a prompt is counted: the low bits of a prefix are a hash's. */
function firstOf([first = 0]: readonly number[]): number {
  return first % FIRSTS;
}

/** A hash, of which any bits can be taken: prefixes are hashes themselves. */
function chainOf(prefix: number, tenant: number): number {
  return prefix ^ Math.imul(tenant, 0x9e37_79b1);
}
