/**
 * A workload (fleet-workload.ts) given to the index of a checkout, slice by slice. Decoded events are one call of the index
 * each. Messages of an engine (vLLM's map dialect) go through the decoder and the state machine of its stream.
 *
 *     prepare a slice   tokens and names in flat arrays │ payloads          not timed
 *     play it           copy an event's input to scratch, call the index │ give messages to WorkerSync
 *
 * The other checkout needs no build and no packages: its sources and its committed kernel are run as they are.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ContextKey } from "../src/prefix-index/contract.ts";
import type * as Core from "../src/index.ts";
import { nameHigh, nameLow } from "../src/prefix-index/testing/fleet-world.ts";
import { encodeLiveFrames } from "../src/wire/message.ts";
import { encodeEventBatch } from "../src/wire/event-batch-encoder.ts";
import type { KvEvent } from "../src/wire/events.ts";
import {
  BLOCK_SIZE,
  EVENT_WORDS,
  type FleetWorkload,
  isLastOfMessage,
  workerOf,
  writeTokens,
} from "./fleet-workload.ts";

export const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 };
/** What the transport reads at once. */
const CHUNK_BYTES = 65_536;
/** Tokens of a short run are copied one by one: a view of them costs more. */
const SHORT_TOKENS = 64;

export type Build = Pick<typeof Core, "PrefixIndex" | "PrefixReader" | "EventBatchDecoder" | "WorkerSync">;

/** The sources of a checkout. */
export async function loadBuild(checkout: string): Promise<Build> {
  const load = (file: string): Promise<unknown> =>
    import(pathToFileURL(resolve(checkout, `packages/core/src/${file}.ts`)).href);
  const parts = await Promise.all(
    [
      "prefix-index/prefix-index",
      "prefix-index/prefix-reader",
      "wire/event-batch-decoder",
      "sync/worker-sync",
    ].map(load),
  );
  return Object.assign({}, ...(parts as object[])) as Build;
}

/** Events of a workload that are played together. */
export interface Slice {
  readonly from: number;
  readonly to: number;
  readonly blocks: number;
  readonly tokens: Uint32Array;
  readonly names: Uint32Array;
}

/** The slices of some events, of so many events each at least; a message is not cut. */
export function* slicesOf(
  workload: FleetWorkload,
  from: number,
  to: number,
  events: number,
): Generator<Slice> {
  for (let at = from; at < to; ) {
    let end = Math.min(to, at + events);
    while (end < to && !isLastOfMessage(workload, EVENT_WORDS * (end - 1))) end++;
    yield sliceOf(workload, at, end, at < workload.stores);
    at = end;
  }
}

function sliceOf({ events }: FleetWorkload, from: number, to: number, hasTokens: boolean): Slice {
  let blocks = 0;
  for (let event = from; event < to; event++) blocks += events[EVENT_WORDS * event + 1];
  const tokens = new Uint32Array(hasTokens ? blocks * BLOCK_SIZE : 0);
  const names = new Uint32Array(2 * blocks);
  for (let event = from, done = 0; event < to; event++) {
    const first = events[EVENT_WORDS * event];
    const count = events[EVENT_WORDS * event + 1];
    if (hasTokens) writeTokens(tokens, done * BLOCK_SIZE, first, count);
    for (let i = 0; i < count; i++) {
      const block = hasTokens ? first + i : first + count - 1 - i;
      names[2 * (done + i)] = nameLow(block, 0);
      names[2 * (done + i) + 1] = nameHigh(block, 0);
    }
    done += count;
  }
  return { from, to, blocks, tokens, names };
}

/** Where events go. */
export interface Target {
  readonly tokens: Uint32Array;
  readonly hashes: Uint32Array;
  /** Stores what lies in `tokens` and `hashes`. */
  store(worker: number, count: number, parent: number): void;
  /** Removes what lies in `hashes`. */
  remove(worker: number, count: number): void;
}

/** Gives a slice's events to a target; removals of runs, or block by block. */
export function play(target: Target, workload: FleetWorkload, slice: Slice, isSingly: boolean): void {
  const { events } = workload;
  let done = 0;
  for (let event = slice.from; event < slice.to; event++) {
    const at = EVENT_WORDS * event;
    const count = events[at + 1];
    const worker = workerOf(workload, at);
    if (event < workload.stores) {
      copy(slice.tokens, done * BLOCK_SIZE, count * BLOCK_SIZE, target.tokens);
      copy(slice.names, 2 * done, 2 * count, target.hashes);
      target.store(worker, count, events[at + 2] - 1);
    } else if (isSingly) {
      for (let i = done; i < done + count; i++) {
        copy(slice.names, 2 * i, 2, target.hashes);
        target.remove(worker, 1);
      }
    } else {
      copy(slice.names, 2 * done, 2 * count, target.hashes);
      target.remove(worker, count);
    }
    done += count;
  }
}

function copy(from: Uint32Array, at: number, count: number, to: Uint32Array): void {
  if (count > SHORT_TOKENS) to.set(from.subarray(at, at + count));
  else for (let i = 0; i < count; i++) to[i] = from[at + i];
}

/** The index of a build, as a target. */
export function indexTarget(index: Core.PrefixIndex): Target {
  const { tokens, hashes } = index.scratch;
  return {
    tokens,
    hashes,
    store: (worker, count, parent) => {
      const contextId = index.openContext(CONTEXT);
      if (parent < 0) index.storeBlocks(contextId, worker, 0, count, false, 0, 0, false);
      else
        index.storeBlocks(contextId, worker, 0, count, true, nameLow(parent, 0), nameHigh(parent, 0), false);
    },
    remove: (worker, count) => {
      if (index.removeBlocks(worker, 0, count) !== count) throw new Error("blocks were missing");
    },
  };
}

/** A target that takes the input and does nothing with it: what copying costs. */
export function idleTarget(): Target {
  return {
    tokens: new Uint32Array(1 << 16),
    hashes: new Uint32Array(1 << 13),
    store: () => undefined,
    remove: () => undefined,
  };
}

/** A message of an engine, but for its number. */
export interface FleetMessage {
  readonly worker: number;
  readonly payload: Uint8Array;
}

/** The messages of a slice. */
export function messagesOf(workload: FleetWorkload, slice: Slice, isSingly: boolean): FleetMessage[] {
  const { events } = workload;
  const messages: FleetMessage[] = [];
  let batch: KvEvent[] = [];
  let done = 0;
  for (let event = slice.from; event < slice.to; event++) {
    const at = EVENT_WORDS * event;
    const count = events[at + 1];
    const blockHashes = Array.from({ length: count }, (_, i) => bigName(slice.names, done + i));
    if (event < workload.stores) batch.push(storeOf(events[at + 2] - 1, blockHashes, slice, done));
    else
      for (const names of isSingly ? blockHashes.map((name) => [name]) : [blockHashes])
        batch.push(removalOf(names));
    done += count;
    if (!isLastOfMessage(workload, at)) continue;
    const payload = encodeEventBatch(
      { timestampSeconds: 1_757_500_000, events: batch, dataParallelRank: 0 },
      "vllm-0.29",
    );
    messages.push({ worker: workerOf(workload, at), payload });
    batch = [];
  }
  return messages;
}

function bigName(names: Uint32Array, i: number): bigint {
  return (BigInt(names[2 * i + 1]) << 32n) | BigInt(names[2 * i]);
}

function storeOf(parent: number, blockHashes: readonly bigint[], slice: Slice, done: number): KvEvent {
  return {
    type: "BlockStored",
    blockHashes,
    parentBlockHash: parent < 0 ? null : (BigInt(nameHigh(parent, 0)) << 32n) | BigInt(nameLow(parent, 0)),
    tokenIds: slice.tokens.subarray(done * BLOCK_SIZE, (done + blockHashes.length) * BLOCK_SIZE),
    blockSize: BLOCK_SIZE,
    medium: "GPU",
    extraKeys: blockHashes.map(() => null),
    groupIdx: 0,
    kvCacheSpecKind: "full_attention",
  };
}

function removalOf(blockHashes: readonly bigint[]): KvEvent {
  return { type: "BlockRemoved", blockHashes, medium: "GPU", groupIdx: 0 };
}

/** Streams of all workers into one index. */
export class FleetStreams {
  readonly index: Core.PrefixIndex;
  readonly #syncs: Core.WorkerSync[];
  readonly #sent: number[];

  constructor({ PrefixIndex, EventBatchDecoder, WorkerSync }: Build, workers: number) {
    this.index = PrefixIndex.create();
    const decoder = new EventBatchDecoder(this.index.scratch);
    this.#sent = Array.from({ length: workers }, () => 0);
    this.#syncs = this.#sent.map((_, rankSlot) => {
      const settings = { rankSlot, model: CONTEXT.model, dpRank: 0, hasReplay: false };
      const sync = new WorkerSync(settings, { index: this.index, decoder });
      sync.connected(0);
      return sync;
    });
  }

  /** The frames of messages, which have to be given next. As a socket brings them, they are views of what was read at once. */
  framesOf(messages: readonly FleetMessage[]): (readonly [Core.WorkerSync, Uint8Array[]])[] {
    let chunk = new Uint8Array(CHUNK_BYTES);
    let used = 0;
    return messages.map(({ worker, payload }) => {
      const frames = encodeLiveFrames("kv", this.#sent[worker]++, payload);
      const bytes = frames.reduce((sum, frame) => sum + frame.byteLength, 0);
      if (used + bytes > chunk.byteLength) {
        chunk = new Uint8Array(Math.max(bytes, CHUNK_BYTES));
        used = 0;
      }
      const views = frames.map((frame) => {
        chunk.set(frame, used);
        used += frame.byteLength;
        return chunk.subarray(used - frame.byteLength, used);
      });
      return [this.#syncs[worker], views];
    });
  }

  /** Whether every stream is followed exactly. */
  areExact(): boolean {
    return this.#syncs.every((sync) => sync.trust === "exact");
  }
}

/** Gives frames to their streams. */
export function follow(frames: readonly (readonly [Core.WorkerSync, Uint8Array[]])[]): void {
  for (const [sync, frame] of frames) sync.liveMessage(frame, 0);
}
