/**
 * A simulated engine on the network: publisher and HTTP around one `SimulatedEngine`. The driver of
 * the engine's steps hands each batch to `publish`; the server only carries.
 *
 *     driver ── step ──▶ SimulatedEngine
 *        └── publish ──▶ EngineServer ─▶ Publisher (this life) ─▶ PUB, ROUTER      HTTP (http/engine-http.ts)
 *
 *  N1  A restart keeps ports, HTTP and network faults, and nothing else.
 *  N2  Sockets are made in the calling process; all of them are closed when `stop` resolves.
 */
import { Prng, unreachable } from "@kvsync/core";
import type { NumberedBatch } from "./engine-contract.ts";
import type { EngineDriver } from "./engine-driver.ts";
import { EngineError } from "./engine-error.ts";
import { checkInteger } from "./engine-settings.ts";
import type { Fault } from "./fault.ts";
import { EngineHttp, type HttpRank } from "./http/engine-http.ts";
import {
  BACKLOG_BATCHES,
  type CurveServerKeys,
  type NetworkFaults,
  Publisher,
  type PublisherCounts,
  type PublisherSettings,
  REBIND_ATTEMPTS,
} from "./publisher.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";

/** vLLM's default of `buffer_steps`. */
const DEFAULT_BUFFER_STEPS = 10_000;
/** vLLM's default of `hwm`. */
const DEFAULT_HWM = 100_000;
/** vLLM's default of `max_queue_size`. */
const DEFAULT_QUEUE_SIZE = 100_000;

/** A short paragraph: an answer of a chat takes a second or two of modeled time. */
export const DEFAULT_ANSWER_TOKENS = 256;

/** Highest TCP port. */
export const PORT_MAX = 65_535;
const HISTORY_MAX = 10_000_000;
const TOPIC_BYTES_MAX = 1024;

/** How an engine is served. */
export interface EngineServerSettings {
  readonly engine: SimulatedEngine;
  /** Address to bind to; 127.0.0.1 by default. */
  readonly host?: string | undefined;
  /** PUB port of DP rank 0, so that this rank's is `port + dpRank`; 0, the default, takes any free one. */
  readonly port?: number | undefined;
  /** Replay port of rank 0; 0, the default, takes any free one, null runs without replay. */
  readonly replayPort?: number | null | undefined;
  /** HTTP port for this engine alone, 0 for any free one; null, the default, runs without HTTP. */
  readonly httpPort?: number | null | undefined;
  /** Tokens after which an answer over HTTP ends by itself. */
  readonly answerTokens?: number | undefined;
  /** First frame of every message; empty by default. */
  readonly topic?: string | undefined;
  /** Batches of replay history. */
  readonly bufferSteps?: number | undefined;
  /** PUB high-water mark: messages per subscriber. */
  readonly hwm?: number | undefined;
  /** Batches that may wait to be sent. */
  readonly maxQueueSize?: number | undefined;
  /** Keys to speak CURVE with, events and replay; plain ZeroMQ by default, as vLLM's own. Any client that knows the public key is let in. */
  readonly curve?: CurveServerKeys | undefined;
  /** Seed of the faults' generator. */
  readonly seed?: number | undefined;
  /** Time in seconds of what the server itself makes the engine say (its first message, faults over HTTP); the wall clock. */
  readonly clock?: (() => number) | undefined;
  /** Runs the engine in real time, for completions over HTTP; without it the owner steps the engine. */
  readonly driver?: EngineDriver | undefined;
}

/** Counters of the publisher since the server started. */
export type PublisherCounters = Readonly<PublisherCounts>;

interface ResolvedServer {
  readonly engine: SimulatedEngine;
  readonly publisher: PublisherSettings;
  readonly clock: () => number;
  readonly driver: EngineDriver | null;
}

/** One engine's sockets. */
export class EngineServer {
  readonly #settings: ResolvedServer;
  readonly #counts: PublisherCounts = {
    published: 0,
    publishedBytes: 0,
    droppedLive: 0,
    droppedReplay: 0,
    replayRequests: 0,
    replayRequestsIgnored: 0,
    replayedMessages: 0,
    poisoned: 0,
    restarts: 0,
  };
  readonly #network: NetworkFaults;
  #publisher: Publisher;
  #endpoint = "";
  #replayEndpoint: string | null = null;
  #http: EngineHttp | null = null;
  #stopped = false;

  private constructor(settings: ResolvedServer, seed: number) {
    this.#settings = settings;
    this.#network = { random: new Prng(seed), dropPercent: 0, replayDropPercent: 0, losingUntilMs: 0 };
    this.#publisher = this.#newPublisher();
  }

  /**
   * Binds an engine's sockets. A dialect whose process begins with a message publishes it.
   *
   * @param settings - see `EngineServerSettings`.
   * @throws EngineError `invalid_setting`, `bind_failed`; nothing stays open then.
   */
  static async start(settings: EngineServerSettings): Promise<EngineServer> {
    const { engine, host = "127.0.0.1", port = 0, replayPort = 0, httpPort = null, driver = null } = settings;
    const { dpRank } = engine.settings;
    checkPorts(port, replayPort, httpPort, dpRank);
    const publisher = publisherSettings(settings);
    const clock = settings.clock ?? (() => Date.now() / 1000);
    const server = new EngineServer({ engine, publisher, clock, driver }, settings.seed ?? 0);
    try {
      const replayEndpoint = replayPort === null ? null : endpointOf(host, replayPort, dpRank);
      await server.#open(endpointOf(host, port, dpRank), replayEndpoint, 1);
      if (httpPort !== null) {
        const { answerTokens = DEFAULT_ANSWER_TOKENS } = settings;
        server.#http = await EngineHttp.listen([server.httpRank], { host, port: httpPort, answerTokens });
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
    const first = engine.start(clock());
    if (first !== null) server.publish(first);
    return server;
  }

  /** This rank's actual PUB endpoint, e.g. `tcp://127.0.0.1:5557`. */
  get endpoint(): string {
    return this.#endpoint;
  }

  /** This rank's actual replay endpoint; null without replay. */
  get replayEndpoint(): string | null {
    return this.#replayEndpoint;
  }

  /** E.g. `http://127.0.0.1:8000`; null without HTTP. */
  get httpUrl(): string | null {
    return this.#http?.url ?? null;
  }

  /** This rank for an HTTP server, which may serve others too. */
  get httpRank(): HttpRank {
    const { engine, publisher, clock, driver } = this.#settings;
    return {
      engine,
      driver,
      endpoint: this.#endpoint,
      replayEndpoint: this.#replayEndpoint,
      topic: publisher.topic,
      bufferSteps: publisher.bufferSteps,
      counters: () => this.counters,
      applyFault: (fault) => this.applyFault(fault, clock()),
      reset: () => {
        const batch = engine.reset(clock());
        if (batch !== null) this.publish(batch);
        return batch !== null;
      },
    };
  }

  /** Counts over all lives of the publisher. A new object. */
  get counters(): PublisherCounters {
    return { ...this.#counts };
  }

  /** Batches that wait to be sent. */
  get queueLength(): number {
    return this.#publisher.queueLength;
  }

  /** Batches that a replay could have now. */
  get historySize(): number {
    return this.#publisher.historySize;
  }

  /** Whether so many batches wait that the engine should pause until `drained()`, as vLLM's does at a full queue. */
  get backlogged(): boolean {
    return this.#publisher.queueLength >= BACKLOG_BATCHES;
  }

  /**
   * Queues a batch for sending; synchronous and cheap.
   *
   * @param batch - from the engine's `step`, `reset` or `restart`, in order.
   * @throws EngineError `publish_queue_full`, `stopped`.
   */
  publish(batch: NumberedBatch): void {
    this.#publisher.publish(batch);
  }

  /** Resolves when everything queued is with the socket; waits for a `hold` to end. */
  drained(): Promise<void> {
    return this.#publisher.drained();
  }

  /**
   * Makes something go wrong.
   *
   * @param fault - what.
   * @param nowSeconds - time of messages that the fault itself sends; the driver's clock.
   * @returns ids of requests that a restart aborted; empty for the other faults. A restart resolves when bound again.
   * @throws EngineError `stopped`, `publish_queue_full`, `bind_failed`.
   */
  async applyFault(fault: Fault, nowSeconds: number): Promise<readonly number[]> {
    if (this.#stopped) throw new EngineError({ code: "stopped" }, "the engine's server was stopped");
    const { engine } = this.#settings;
    switch (fault.kind) {
      case "drop":
        this.#network.dropPercent = fault.percent;
        this.#network.replayDropPercent = fault.replayPercent ?? this.#network.replayDropPercent;
        return [];
      case "hold":
        this.#publisher.hold(fault.seconds);
        return [];
      case "lose":
        this.#network.losingUntilMs = performance.now() + fault.seconds * 1000;
        return [];
      case "truncate_history":
        this.#publisher.truncateHistory(fault.keep);
        return [];
      case "poison":
        for (let i = 0; i < (fault.count ?? 1); i++)
          this.#publisher.poison(fault.form, () => engine.burnSequenceNumber(), nowSeconds);
        return [];
      case "burn_sequence_number":
        engine.burnSequenceNumber();
        return [];
      case "restart":
        return await this.#restart(nowSeconds);
      default:
        return unreachable(fault);
    }
  }

  /**
   * The engine's process dies and comes back on the same ports. Same as the fault of that name.
   *
   * @param nowSeconds - time of the first message, if the dialect has one.
   * @returns ids of the requests that were lost. Batches published before it resolves wait for the new sockets.
   */
  restart(nowSeconds: number): Promise<readonly number[]> {
    return this.applyFault({ kind: "restart" }, nowSeconds);
  }

  /** Closes everything. Can be called again. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([this.#publisher.close(), this.#http?.close()]);
  }

  #newPublisher(): Publisher {
    return new Publisher(this.#settings.publisher, { counts: this.#counts, network: this.#network });
  }

  async #open(endpoint: string, replayEndpoint: string | null, bindAttempts: number): Promise<void> {
    const bound = await this.#publisher.open(endpoint, replayEndpoint, bindAttempts);
    this.#endpoint = bound.endpoint;
    this.#replayEndpoint = bound.replayEndpoint;
  }

  async #restart(nowSeconds: number): Promise<readonly number[]> {
    const dead = this.#publisher;
    this.#publisher = this.#newPublisher();
    this.#counts.restarts++;
    const { abortedRequests, batch } = this.#settings.engine.restart(nowSeconds);
    if (batch !== null) this.publish(batch);
    this.#settings.driver?.abort(abortedRequests);
    await dead.close();
    await this.#open(this.#endpoint, this.#replayEndpoint, REBIND_ATTEMPTS);
    return abortedRequests;
  }
}

/** Fills in defaults and refuses what a publisher cannot be. */
function publisherSettings({ engine, ...settings }: EngineServerSettings): PublisherSettings {
  const publisher: PublisherSettings = {
    dialect: engine.settings.dialect,
    replayShape: engine.voice.replayShape,
    topic: settings.topic ?? "",
    bufferSteps: settings.bufferSteps ?? DEFAULT_BUFFER_STEPS,
    hwm: settings.hwm ?? DEFAULT_HWM,
    maxQueueSize: settings.maxQueueSize ?? DEFAULT_QUEUE_SIZE,
    curve: settings.curve ?? null,
  };
  checkInteger("bufferSteps", publisher.bufferSteps, 0, HISTORY_MAX);
  checkInteger("hwm", publisher.hwm, 0, HISTORY_MAX);
  checkInteger("maxQueueSize", publisher.maxQueueSize, 1, HISTORY_MAX);
  checkInteger("topic (bytes)", Buffer.byteLength(publisher.topic), 0, TOPIC_BYTES_MAX);
  return publisher;
}

function checkPorts(port: number, replayPort: number | null, httpPort: number | null, dpRank: number): void {
  checkInteger("port", port, 0, PORT_MAX - dpRank);
  if (replayPort !== null) checkInteger("replayPort", replayPort, 0, PORT_MAX - dpRank);
  if (httpPort !== null) checkInteger("httpPort", httpPort, 0, PORT_MAX);
}

// The rank's port, as vLLM derives it; libzmq writes "any free one" as an asterisk.
function endpointOf(host: string, port: number, dpRank: number): string {
  return `tcp://${host}:${port === 0 ? "*" : port + dpRank}`;
}
