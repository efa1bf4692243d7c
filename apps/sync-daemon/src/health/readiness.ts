/**
 * When to send traffic here: once the engines known at start are in sync or their deadline has passed, and not while
 * stopping. An index that is still empty says "no match" about everything, which looks like an answer.
 *
 * Liveness is another question (does the event loop turn?) and has no state.
 */

import type { Trust } from "@kvsync/core";

import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { BoardReader } from "../ingest/stream-board.ts";

/** One rank that readiness waits for. */
interface ReadinessEntry {
  readonly worker: string;
  readonly dp_rank: number;
  readonly trust: Trust;
  readonly in_sync: boolean;
}

/** The answer, with its reason. */
export interface ReadinessReport {
  readonly ready: boolean;
  readonly reason: "in_sync" | "deadline_passed" | "waiting_for_engines" | "stopping";
  readonly engines: readonly ReadinessEntry[];
}

/** Knows whether the daemon is ready. */
export class Readiness {
  readonly #registry: EngineRegistry;
  readonly #board: BoardReader;
  readonly #known: ReadonlySet<string>;
  readonly #deadlineMs: number;
  readonly #now: () => number;
  #stopping = false;
  #wasReady = false;

  /**
   * @param sources - engines and their status; the engines registered now are those waited for.
   * @param deadlineSeconds - longest wait, from now.
   * @param now - a clock in milliseconds.
   */
  constructor(
    sources: { readonly registry: EngineRegistry; readonly board: BoardReader },
    deadlineSeconds: number,
    now: () => number,
  ) {
    this.#registry = sources.registry;
    this.#board = sources.board;
    this.#now = now;
    this.#known = new Set([...sources.registry.engines()].map(({ engine }) => engine.id));
    this.#deadlineMs = now() + deadlineSeconds * 1000;
  }

  /** Not ready from now on. */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Where things stand. Once ready, engines falling out of sync do not take it back: each lookup says how far it can be
   * trusted, and taking every replica out of service at once would help nobody.
   *
   * @returns readiness and the engines it waited for, those since removed left out.
   */
  report(): ReadinessReport {
    const engines: ReadinessEntry[] = [];
    for (const { engine, ranks } of this.#registry.engines()) {
      if (!this.#known.has(engine.id)) continue;
      for (const { dpRank, rankSlot } of ranks) {
        const { trust } = this.#board.status(rankSlot);
        const in_sync = trust === "exact" || trust === "partial";
        engines.push({ worker: engine.id, dp_rank: dpRank, trust, in_sync });
      }
    }
    if (this.#stopping) return { ready: false, reason: "stopping", engines };
    if (this.#wasReady || engines.every((entry) => entry.in_sync)) {
      this.#wasReady = true;
      return { ready: true, reason: "in_sync", engines };
    }
    if (this.#now() < this.#deadlineMs) return { ready: false, reason: "waiting_for_engines", engines };
    return { ready: true, reason: "deadline_passed", engines };
  }
}
