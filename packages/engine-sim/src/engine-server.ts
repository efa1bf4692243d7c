/** Transport rim of a simulated engine: PUB, replay ROUTER, HTTP. */
import type { NumberedBatch } from "./engine-contract.ts";
import type { Fault } from "./fault.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";

/** How an engine is served. */
export interface EngineServerSettings {
  readonly engine: SimulatedEngine;
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** PUB port of DP rank 0 (this rank's is `port + dpRank`); 0, the default, takes a free one. */
  readonly port?: number | undefined;
  /** Replay port of rank 0; 0 (default) takes a free one, null runs without replay. */
  readonly replayPort?: number | null | undefined;
  /** HTTP port; null (default) runs without HTTP. */
  readonly httpPort?: number | null | undefined;
  readonly topic?: string | undefined;
  /** Batches of replay history; 10,000 as vLLM. */
  readonly bufferSteps?: number | undefined;
  /** PUB high-water mark, messages per subscriber; 100,000 as vLLM. */
  readonly hwm?: number | undefined;
  /** Batches that may wait for the publisher; 100,000 as vLLM. */
  readonly maxQueueSize?: number | undefined;
  /** Seed of the faults' generator. */
  readonly seed?: number | undefined;
}

/** Counters of the publisher since it started. */
export interface PublisherCounters {
  readonly published: number;
  readonly publishedBytes: number;
  /** Live messages lost on purpose (drop, lose). */
  readonly droppedLive: number;
  readonly droppedReplay: number;
  readonly replayRequests: number;
  readonly replayedMessages: number;
  readonly poisoned: number;
  readonly restarts: number;
}

/** A simulated engine on the network. */
export declare class EngineServer {
  static start(settings: EngineServerSettings): Promise<EngineServer>;
  /** e.g. `tcp://127.0.0.1:5557`, this rank's actual one. */
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
  readonly httpUrl: string | null;
  get counters(): PublisherCounters;
  /** Queues a batch for the publisher; cheap, synchronous. @throws EngineError `publish_queue_full`. */
  publish(batch: NumberedBatch): void;
  /** True when the queue is long enough that the engine should wait for `drained()`. */
  get backlogged(): boolean;
  /** Resolves when everything queued has been handed to the socket (waits for a `hold` to end). */
  drained(): Promise<void>;
  /** Applies a fault; `restart` resolves when the ports are bound again. Returns ids of requests it aborted. */
  applyFault(fault: Fault, nowSeconds: number): Promise<readonly number[]>;
  stop(): Promise<void>;
}
