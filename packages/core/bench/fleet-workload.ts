/**
 * The workload that figures of the index are compared on. A fleet of engines stores until all pools are full, then evicts all.
 * Made from a seed, and written as a file, so that drivers of other indexes read the same events.
 *
 *     worker 7   │ prefill 9…512 │ 1 │ 1 │ 1 │ prefill … │ 1 │ …           one message a step; 95 % of the stores have one block
 *
 * A request is a run of new blocks. The prefill stores 8 to 512 of them at once, evenly by logarithm. Decoding fills up to 37
 * more, a store each. A request begins at the root, or behind a block of an earlier request of the same holders. Half of
 * these come behind its last block (the next turn of a conversation), the others behind any (a branch). A worker decodes up to eight requests at
 * a time. One message in ten has two stores. Then every request is evicted, the oldest first, from its last block on.
 *
 * The file, all numbers little-endian:
 *
 *     head     "KVWL" │ version 1 │ workers │ tokens a block │ blocks │ stores │ removals │ seed        u32 each
 *     event    first block │ blocks │ parent block + 1, 0 at the root │ worker and flags               u32 each, stores, then removals
 *              flags: bit 16, the event is the last of its message; bit 17, it is a removal
 *
 * Blocks have numbers; those of an event follow each other. A removal names its blocks from the last to the first. To be
 * measured singly, it is given as one event a block, all in one message. Everything else follows from a block's number b and
 * a token's place i, as u32 arithmetic:
 *
 *     token    (m ^ m >> 15) & 0x1ffff            m = (b × 16 + i + 1) × 0x9e3779b1
 *     name     low: (b + 1) × 0x9e3779b1 ^ 0x85ebca77     high: n ^ n >> 13, n = ((b ^ b >> 15) + 0x7f4a7c15) × 0xc2b2ae35
 */
import { Prng } from "../src/prng.ts";

export const BLOCK_SIZE = 16;
const MAGIC = 0x4c57_564b;
const VERSION = 1;
const HEAD_WORDS = 8;
export const EVENT_WORDS = 4;
const IS_LAST = 1 << 16;
const IS_REMOVAL = 1 << 17;

const PREFILL_BLOCKS_MIN = 8;
const PREFILL_OCTAVES = 6;
/** With 19 on average, 95 % of the stores have one block. */
const DECODED_BLOCKS_MAX = 37;
const DECODING_MAX = 8;
/** Earlier requests that a request may follow. */
const FOLLOWED_MAX = 256;

/** What a workload is like. */
export interface FleetShape {
  readonly workers: number;
  readonly poolBlocks: number;
  /** Workers that hold a block, on average: 1, 1.38 (one in five prompts has three) or a number of workers. */
  readonly sharing: number;
  readonly seed: number;
}

/** A workload; see the head of this file. */
export interface FleetWorkload {
  readonly workers: number;
  readonly blocks: number;
  readonly stores: number;
  readonly removals: number;
  readonly seed: number;
  /** `EVENT_WORDS` each. */
  readonly events: Uint32Array;
}

/** A run of new blocks of some workers. */
interface FleetRequest {
  readonly first: number;
  readonly prefill: number;
  readonly blocks: number;
  readonly parent: number;
  readonly holders: readonly number[];
}

/** Makes the workload of a shape. */
export function makeWorkload(shape: FleetShape): FleetWorkload {
  const random = new Prng(shape.seed);
  const requests = makeRequests(shape, random);
  const queues = Array.from({ length: shape.workers }, (): FleetRequest[] => []);
  for (const request of requests) for (const holder of request.holders) queues[holder].push(request);
  const words: number[] = [];
  writeStores(queues, random, words);
  const stores = words.length / EVENT_WORDS;
  writeRemovals(queues, random, words);
  const last = requests[requests.length - 1];
  return {
    workers: shape.workers,
    blocks: last.first + last.blocks,
    stores,
    removals: words.length / EVENT_WORDS - stores,
    seed: shape.seed,
    events: Uint32Array.from(words),
  };
}

/** The requests that fill all pools, in the order of their numbers. */
function makeRequests({ workers, poolBlocks, sharing }: FleetShape, random: Prng): FleetRequest[] {
  const room = new Uint32Array(workers).fill(poolBlocks);
  const requests: FleetRequest[] = [];
  let first = 0;
  for (let open = workers; open > 0; open = room.reduce((count, left) => count + (left > 0 ? 1 : 0), 0)) {
    const followed = random.chance(0.6) ? requests.at(-1 - random.below(FOLLOWED_MAX)) : undefined;
    const isFollowing = followed?.holders.every((holder) => room[holder] > 0) === true;
    const holders = isFollowing
      ? followed.holders
      : chooseHolders(room, Math.min(open, holderCount(sharing, random)), random);
    const left = Math.min(...holders.map((holder) => room[holder]));
    const prefill = Math.min(
      left,
      Math.floor(PREFILL_BLOCKS_MIN * 2 ** ((PREFILL_OCTAVES * random.below(4096)) / 4095)),
    );
    const blocks = Math.min(left, prefill + 1 + random.below(DECODED_BLOCKS_MAX));
    for (const holder of holders) room[holder] -= blocks;
    requests.push({ first, prefill, blocks, parent: isFollowing ? parentIn(followed, random) : -1, holders });
    first += blocks;
  }
  return requests;
}

function parentIn({ first, blocks }: FleetRequest, random: Prng): number {
  return random.chance(0.5) ? first + blocks - 1 : first + random.below(blocks);
}

function holderCount(sharing: number, random: Prng): number {
  return Number.isInteger(sharing) ? sharing : random.chance((sharing - 1) / 2) ? 3 : 1;
}

/** So many workers that have room, from a random one on. */
function chooseHolders(room: Uint32Array, count: number, random: Prng): number[] {
  const holders: number[] = [];
  for (let worker = random.below(room.length); holders.length < count; worker = (worker + 1) % room.length)
    if (room[worker] > 0) holders.push(worker);
  return holders;
}

/** What a worker has stored of a request that it decodes. */
interface Decoding {
  readonly request: FleetRequest;
  stored: number;
}

/** One worker's way through its requests. */
class WorkerSteps {
  readonly #queue: readonly FleetRequest[];
  readonly #random: Prng;
  readonly #decoding: Decoding[] = [];
  #begun = 0;

  constructor(queue: readonly FleetRequest[], random: Prng) {
    this.#queue = queue;
    this.#random = random;
  }

  get isOver(): boolean {
    return this.#begun === this.#queue.length && this.#decoding.length === 0;
  }

  /** The next store: first block, blocks, parent. */
  next(): readonly [number, number, number] {
    const request = this.#queue.at(this.#begun);
    if (request !== undefined && this.#decoding.length < DECODING_MAX && this.#hasStored(request.parent)) {
      this.#begun++;
      if (request.blocks > request.prefill) this.#decoding.push({ request, stored: request.prefill });
      return [request.first, request.prefill, request.parent];
    }
    const at = this.#random.below(this.#decoding.length);
    const decoding = this.#decoding[at];
    const block = decoding.request.first + decoding.stored;
    decoding.stored++;
    if (decoding.stored === decoding.request.blocks) this.#decoding.splice(at, 1);
    return [block, 1, block - 1];
  }

  /** Whether a request of this queue that has begun has stored a block. */
  #hasStored(block: number): boolean {
    return this.#decoding.every(
      ({ request, stored }) => block < request.first + stored || block >= request.first + request.blocks,
    );
  }
}

function writeStores(queues: readonly (readonly FleetRequest[])[], random: Prng, words: number[]): void {
  const steps = queues.map((queue) => new WorkerSteps(queue, random));
  const open = steps.flatMap((step, worker) => (step.isOver ? [] : [worker]));
  while (open.length > 0) {
    const at = random.below(open.length);
    const worker = open[at];
    const step = steps[worker];
    for (let isLast = false; !isLast; ) {
      const [first, count, parent] = step.next();
      isLast = step.isOver || random.chance(0.9);
      words.push(first, count, parent + 1, worker | (isLast ? IS_LAST : 0));
    }
    if (step.isOver) open.splice(at, 1);
  }
}

function writeRemovals(queues: readonly (readonly FleetRequest[])[], random: Prng, words: number[]): void {
  const removed = queues.map(() => 0);
  const open = queues.flatMap((queue, worker) => (queue.length === 0 ? [] : [worker]));
  while (open.length > 0) {
    const at = random.below(open.length);
    const worker = open[at];
    const { first, blocks } = queues[worker][removed[worker]++];
    words.push(first, blocks, 0, worker | IS_LAST | IS_REMOVAL);
    if (removed[worker] === queues[worker].length) open.splice(at, 1);
  }
}

/** The worker of the event that begins with word `at`. */
export function workerOf({ events }: FleetWorkload, at: number): number {
  return events[at + 3] & 0xffff;
}

/** Whether it is the last of its message. */
export function isLastOfMessage({ events }: FleetWorkload, at: number): boolean {
  return (events[at + 3] & IS_LAST) !== 0;
}

/** The bytes of a workload's file. */
export function encodeWorkload(workload: FleetWorkload): Uint8Array {
  const { workers, blocks, stores, removals, seed, events } = workload;
  const words = new Uint32Array(HEAD_WORDS + events.length);
  words.set([MAGIC, VERSION, workers, BLOCK_SIZE, blocks, stores, removals, seed]);
  words.set(events, HEAD_WORDS);
  return new Uint8Array(words.buffer);
}

/** Writes the tokens of `count` blocks from `first` on to `tokens` at `at`. */
export function writeTokens(tokens: Uint32Array, at: number, first: number, count: number): void {
  for (let i = 0; i < count * BLOCK_SIZE; i++) {
    const mixed = Math.imul(first * BLOCK_SIZE + i + 1, 0x9e37_79b1);
    tokens[at + i] = (mixed ^ (mixed >>> 15)) & 0x1_ffff;
  }
}
