/**
 * The fleet in the router's thread: calls with answers, and arrivals and progress as they come.
 * Owns the worker thread; an error there ends the run through `failed`.
 */
import { Worker } from "node:worker_threads";
import { CodedError } from "@kvsync/core";

import type {
  FleetCallName,
  FleetCalls,
  FleetEngine,
  FleetSettings,
  FromFleet,
  ToFleet,
} from "./messages.ts";

/** What can go wrong with a fleet, by code. */
export type FleetFacts =
  | { readonly code: "fleet_failed" }
  | { readonly code: "fleet_call_failed"; readonly call: FleetCallName };

/** The fleet's thread failed, or would not do what it was told. */
export class FleetError extends CodedError<FleetFacts> {
  override readonly name = "FleetError";
}

/** A request that has arrived. */
export type Arrival = Extract<FromFleet, { readonly kind: "arrival" }>;

/** What engines did since the last report. */
export type Progress = Extract<FromFleet, { readonly kind: "progress" }>;

/** Takes what the fleet tells unasked. Set both before `begin`. */
export interface FleetListener {
  arrival(arrival: Arrival): void;
  progress(progress: Progress): void;
}

interface PendingCall {
  readonly name: FleetCallName;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** See the header. */
export class FleetClient {
  readonly #worker: Worker;
  readonly #listener: FleetListener;
  readonly #calls = new Map<number, PendingCall>();
  readonly #ready: Promise<readonly FleetEngine[]>;
  #resolveReady: (engines: readonly FleetEngine[]) => void = () => undefined;
  #rejectReady: (error: Error) => void = () => undefined;
  #failure: FleetError | null = null;
  #nextCall = 0;
  #engines: readonly FleetEngine[] = [];

  private constructor(settings: FleetSettings, listener: FleetListener) {
    this.#listener = listener;
    this.#worker = new Worker(new URL("./fleet-thread.js", import.meta.url), { workerData: settings });
    this.#ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.#worker.on("message", (message: FromFleet) => {
      this.#receive(message);
    });
    this.#worker.on("error", (cause) => {
      this.#fail(
        new FleetError({ code: "fleet_failed" }, `the fleet's thread failed: ${cause.message}`, { cause }),
      );
    });
  }

  /**
   * Starts the thread and its engines; their clock stands still until `begin`.
   *
   * @param settings - see FleetSettings; copied.
   * @param listener - told of arrivals and progress.
   * @throws FleetError `fleet_failed`.
   */
  static async start(settings: FleetSettings, listener: FleetListener): Promise<FleetClient> {
    const client = new FleetClient(settings, listener);
    client.#engines = await client.#ready;
    return client;
  }

  /** The engines, by position. */
  get engines(): readonly FleetEngine[] {
    return this.#engines;
  }

  /** Why the fleet is gone; null while it is well. */
  get failure(): FleetError | null {
    return this.#failure;
  }

  /** Hands a request to an engine. */
  submit(request: number, engine: number): void {
    this.#send({ kind: "submit", request, engine });
  }

  /**
   * Asks the fleet.
   *
   * @throws FleetError `fleet_failed`, `fleet_call_failed`.
   */
  async call<Name extends FleetCallName>(
    name: Name,
    argument: FleetCalls[Name]["argument"],
  ): Promise<FleetCalls[Name]["answer"]> {
    if (this.#failure !== null) throw this.#failure;
    const call = this.#nextCall++;
    const answered = new Promise<unknown>((resolve, reject) => {
      this.#calls.set(call, { name, resolve, reject });
    });
    this.#send({ kind: "call", call, name, argument });
    return (await answered) as FleetCalls[Name]["answer"];
  }

  /** Ends the engines and the thread; fine to call after a failure. */
  async stop(): Promise<void> {
    if (this.#failure === null) await this.call("stop", null);
    await this.#worker.terminate();
  }

  #send(message: ToFleet): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromFleet): void {
    switch (message.kind) {
      case "ready":
        this.#resolveReady(message.engines);
        break;
      case "arrival":
        this.#listener.arrival(message);
        break;
      case "progress":
        this.#listener.progress(message);
        break;
      case "reply": {
        const pending = this.#calls.get(message.call);
        this.#calls.delete(message.call);
        if (pending === undefined) break;
        if ("error" in message) pending.reject(callError(pending.name, message.error));
        else pending.resolve(message.answer);
        break;
      }
    }
  }

  #fail(failure: FleetError): void {
    this.#failure ??= failure;
    this.#rejectReady(failure);
    for (const { reject } of this.#calls.values()) reject(failure);
    this.#calls.clear();
  }
}

function callError(call: FleetCallName, message: string): FleetError {
  return new FleetError({ code: "fleet_call_failed", call }, `the fleet could not ${call}: ${message}`);
}
