/**
 * Keeps a picker and the others of its fleet in touch.
 *
 *     SharedDecisions ◀── messages ──▶ NatsBus          each second: a sign of life
 *            └ lost, when the bus is                    log: connected, lost
 *
 * Not here: the meaning of messages (shared-decisions.ts), the connection (nats-bus.ts).
 */
import { randomUUID } from "node:crypto";

import type { LineGate } from "../log/line-gate.ts";
import type { PickerSettings } from "../settings/picker-settings.ts";
import { NatsBus } from "./nats-bus.ts";
import type { SharedDecisions, SharingParts } from "./shared-decisions.ts";

/** Time between two signs of life. */
const ALIVE_MS = 1000;

/** What it works with. */
interface SharingWatch {
  readonly log: Pick<LineGate, "write">;
  /** Milliseconds, on the clock of the picker. */
  readonly now: () => number;
}

/** See the header. */
export class PickerSharing {
  readonly #bus: NatsBus;
  readonly #watch: SharingWatch;
  #shared: SharedDecisions | null = null;
  #ticking: NodeJS.Timeout | null = null;
  #isConnected = false;
  #isTold = false;
  /** Messages of others that were not taken since the start. */
  #dropped = 0;

  /** For the picker's parts. */
  readonly parts: SharingParts = {
    name: randomUUID(),
    publish: (bytes) => {
      this.#bus.publish(bytes);
    },
    dropped: () => {
      this.#dropped += 1;
    },
  };

  constructor(url: string, share: PickerSettings["share"], watch: SharingWatch) {
    this.#watch = watch;
    this.#bus = new NatsBus(
      { url, subject: share.subject, credentialsFile: share.credentials_file },
      {
        heard: (bytes) => {
          this.#shared?.receive(bytes, watch.now() / 1000);
        },
        connected: () => {
          this.#isConnected = true;
          watch.log.write("sharing_connected", { subject: share.subject });
        },
        lost: (error) => {
          this.#lost(error);
        },
      },
    );
  }

  /** From now on messages reach the picker. */
  start(shared: SharedDecisions): void {
    this.#shared = shared;
    this.#ticking = setInterval(() => {
      shared.tick(this.#watch.now() / 1000);
    }, ALIVE_MS);
  }

  /** Leaves the bus. */
  async stop(): Promise<void> {
    if (this.#ticking !== null) clearInterval(this.#ticking);
    await this.#bus.close();
  }

  /** Told once for each connection, and once when the first one fails: it is tried twice a second. */
  #lost(error: Error | null): void {
    this.#shared?.lost();
    if (!this.#isConnected && this.#isTold) return;
    this.#isConnected = false;
    this.#isTold = true;
    this.#watch.log.write("sharing_lost", {
      error: error?.message ?? "connection closed",
      unsent: this.#bus.dropped,
      dropped: this.#dropped,
    });
  }
}
