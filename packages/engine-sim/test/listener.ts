/** A subscriber and a replay client over real ZeroMQ, as plain as can be: they collect frames. */
import { encodeReplayRequest, type LiveMessage, parseLiveFrames, parseReplayFrames } from "@kvsync/core";
import { Dealer, Subscriber } from "zeromq";
import type { EngineServer } from "../src/engine-server.ts";

const DEADLINE_MS = 10_000;

/** Waits for a condition, which must come true within the deadline. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`did not come true in ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export class Listener implements AsyncDisposable {
  readonly frames: Uint8Array[][] = [];
  readonly arrivedAtMs: number[] = [];
  readonly #socket = new Subscriber();
  readonly #loop: Promise<void>;

  private constructor(endpoint: string) {
    this.#socket.receiveHighWaterMark = 0;
    this.#socket.reconnectInterval = 10;
    this.#socket.connect(endpoint);
    this.#socket.subscribe("");
    this.#loop = this.#receive();
  }

  /** Connects, and returns when the publisher knows of the subscription: an extra message has come through. */
  static async to(server: EngineServer): Promise<Listener> {
    const listener = new Listener(server.endpoint);
    await listener.reach(server);
    return listener;
  }

  /** Waits until messages come through, again after a restart, and forgets what came so far. */
  async reach(server: EngineServer): Promise<void> {
    let sent = 0;
    const before = this.#extras();
    await until("the subscription reaches the publisher", () => {
      if (sent++ % 5 === 0) void server.applyFault({ kind: "poison", form: "missing_sequence_frame" }, 0);
      return this.#extras() > before;
    });
    await server.drained();
    this.frames.splice(0);
    this.arrivedAtMs.splice(0);
  }

  /** Three-frame messages so far. */
  messages(): LiveMessage[] {
    return this.frames.filter((frames) => frames.length === 3).map((frames) => parseLiveFrames(frames));
  }

  numbers(): number[] {
    return this.messages().map((message) => message.sequenceNumber);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#loop;
  }

  #extras(): number {
    return this.frames.filter((frames) => frames.length === 2).length;
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#socket) {
      this.frames.push(frames);
      this.arrivedAtMs.push(performance.now());
    }
  }
}

/** Asks for a replay and collects it to its end. */
export async function replay(
  endpoint: string,
  start: number,
  request: Uint8Array[] = encodeReplayRequest(start),
): Promise<{ numbers: number[]; payloads: Uint8Array[]; frameCounts: Set<number> }> {
  const socket = new Dealer({ receiveHighWaterMark: 0, linger: 0, receiveTimeout: DEADLINE_MS });
  const numbers: number[] = [];
  const payloads: Uint8Array[] = [];
  const frameCounts = new Set<number>();
  try {
    socket.connect(endpoint);
    await socket.send(request);
    for (;;) {
      const frames = await socket.receive();
      frameCounts.add(frames.length);
      const reply = parseReplayFrames(frames);
      if (reply.kind === "end") return { numbers, payloads, frameCounts };
      numbers.push(reply.sequenceNumber);
      payloads.push(reply.payload);
    }
  } finally {
    socket.close();
  }
}
