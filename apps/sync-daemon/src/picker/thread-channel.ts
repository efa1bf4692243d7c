/**
 * The messages between the threads of one picker: decisions, and the loads that engines report.
 *
 *     own pick, first token, end ──▶ ThreadChannel ──▶ SharedDecisions of the other threads
 *     first thread's scrape, news of NATS ──▶ ThreadChannel ──▶ the other threads
 *
 *  C1  What one thread sends reaches each other thread once, in the order in which it was sent, and not itself
 *      (thread-channel.test.ts "C1").
 *
 * Messages are cloned, not encoded: 2 µs to send one and 6 µs to take it, where JSON takes 30 and 40. Messages that a
 * thread has not read are bounded by time: a thread that stands still for `ingest.stall_seconds` ends the process.
 *
 * Not here: the meaning of decisions (shared-decisions.ts).
 */
import { BroadcastChannel } from "node:worker_threads";

import type { EngineLoad } from "./endpoint-fleet.ts";
import type { SharedMessage } from "./shared-decisions.ts";

/** What one thread tells the others. */
export type ThreadNews =
  /** Its own, or one of another picker that came over the bus. */
  | { readonly kind: "decision"; readonly message: SharedMessage }
  /** The bus is lost: see SharedDecisions. */
  | { readonly kind: "lost" }
  /** Of a scrape; null when the endpoint has said nothing for too long. */
  | { readonly kind: "load"; readonly address: string; readonly load: EngineLoad | null };

/** See the header. Close it. */
export class ThreadChannel {
  readonly #channel: BroadcastChannel;

  /** @param name - the same in all threads of the picker, and in no other. */
  constructor(name: string) {
    this.#channel = new BroadcastChannel(name);
  }

  /** Tells all other threads. */
  send(news: ThreadNews): void {
    this.#channel.postMessage(news);
  }

  /** From now on news of others are heard. */
  listen(heard: (news: ThreadNews) => void): void {
    this.#channel.onmessage = (event) => {
      heard((event as { readonly data: ThreadNews }).data);
    };
  }

  /** Nothing is heard or sent any more. */
  close(): void {
    this.#channel.close();
  }
}
