/**
 * Requests of routers that ask over HTTP, in the picker's thread. Each is booked under an id, until its router ends it.
 *
 *     pick ─▶ Picker.ask ─▶ booked under an id ──end──▶ over
 *                                  └── open for too long ──▶ over, counted
 *
 *  A1  A booking ends once: by its router, or by its age (api-requests.test.ts "A1").
 *  A2  Bookings are bounded; beyond, none is made (api-requests.test.ts "A2").
 *
 * Not here: HTTP (http/picker.controller.ts), the question (pick-request.ts).
 */

import { AssertionError } from "@kvsync/core";

import type { Explanation } from "./endpoint-fleet.ts";
import type { AskedPick, PickEnd } from "./pick-request.ts";
import type { Picker } from "./picker.ts";
import type { OpenSession } from "./picker-server.ts";
import type { Decision, PickQuestion } from "./session.ts";

/** Above every id of a gateway's stream. */
const FIRST_ID = 2 ** 40;

/** The answer to a pick or an explanation. */
export type PickReply =
  | { readonly kind: "explained"; readonly explanation: Explanation }
  | {
      readonly kind: "picked";
      readonly id: string;
      readonly facts: Readonly<Record<string, unknown>>;
      readonly endpoints: readonly string[];
      readonly explanation: Explanation;
    }
  | { readonly kind: "no_endpoint" | "subset_empty" | "picks_full" | "failed" };

/** Bounds of these requests. */
export interface ApiLimits {
  /** In every id, so that one of an earlier process ends nothing. */
  readonly prefix: string;
  readonly openMax: number;
  /** A booking that is older is over. */
  readonly openMs: number;
}

interface Open {
  readonly session: OpenSession;
  readonly sinceMs: number;
}

/** What these requests ask of the picker. */
type ApiPicker = Pick<Picker, "ask" | "served" | "cachedTokens" | "over">;

/** See the header. */
export class ApiRequests {
  readonly #picker: ApiPicker;
  readonly #limits: ApiLimits;
  readonly #now: () => number;
  /** By id, oldest first. */
  readonly #open = new Map<string, Open>();
  #last = 0;
  #expired = 0;

  constructor(picker: ApiPicker, limits: ApiLimits, now: () => number) {
    this.#picker = picker;
    this.#limits = limits;
    this.#now = now;
  }

  /** Bookings that their routers have not ended. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Bookings that were ended for their age. */
  get expiredCount(): number {
    return this.#expired;
  }

  /** Ranks the endpoints for a request, and books nothing. */
  explain(asked: AskedPick): Promise<PickReply> {
    return this.#ask(asked, "leave");
  }

  /** Picks for a request, and books it. */
  pick(asked: AskedPick): Promise<PickReply> {
    if (this.#open.size >= this.#limits.openMax) return Promise.resolve({ kind: "picks_full" });
    return this.#ask(asked, "book");
  }

  /**
   * A request is over.
   *
   * @param news - who answered, and the engine's own count, as far as they are known.
   * @returns false for an id that is not open.
   */
  end(id: string, { served, cached_tokens: cachedTokens }: PickEnd): boolean {
    const open = this.#open.get(id);
    if (open === undefined) return false;
    this.#open.delete(id);
    if (typeof served === "string") this.#picker.served(open.session, served);
    if (typeof cachedTokens === "number") this.#picker.cachedTokens(open.session.id, cachedTokens);
    this.#picker.over(open.session, "complete");
    return true;
  }

  /** Ends bookings that are too old. To be called again and again. */
  expire(): void {
    const beforeMs = this.#now() - this.#limits.openMs;
    for (const [id, { session, sinceMs }] of this.#open) {
      if (sinceMs > beforeMs) return;
      this.#open.delete(id);
      this.#expired += 1;
      this.#picker.over(session, "client");
    }
  }

  #ask({ path, body, subset }: AskedPick, then: "book" | "leave"): Promise<PickReply> {
    const number = (this.#last += 1);
    const id = `${this.#limits.prefix}${number}`;
    const question: PickQuestion = {
      headers: new Map([[":path", path]]),
      body: [body],
      bodyBytes: body.length,
      gap: "none",
      subset,
    };
    return new Promise((resolve) => {
      let explanation: Explanation = { promptTokens: 0, reason: "none", missingShards: [], ranking: [] };
      const state = { isWaiting: true };
      const finish = (reply: PickReply): void => {
        state.isWaiting = false;
        resolve(reply);
      };
      const session: OpenSession = {
        id: FIRST_ID + number,
        get isWaiting() {
          return state.isWaiting;
        },
        explain: (found) => {
          explanation = found;
          if (then === "leave") finish({ kind: "explained", explanation });
          return then;
        },
        decide: (decision) => {
          finish(this.#replyTo(decision, id, session, explanation));
          return true;
        },
        fail: () => {
          this.#picker.over(session, "failed");
          finish({ kind: "failed" });
        },
      };
      try {
        this.#picker.ask(session, question);
      } catch (error) {
        if (error instanceof AssertionError) throw error;
        session.fail();
      }
    });
  }

  #replyTo(decision: Decision, id: string, session: OpenSession, explanation: Explanation): PickReply {
    if (decision.kind === "immediate")
      return { kind: decision.answer.details === "kvsync_subset_empty" ? "subset_empty" : "no_endpoint" };
    this.#open.set(id, { session, sinceMs: this.#now() });
    const { destination, facts } = decision.answer;
    return { kind: "picked", id, facts, endpoints: destination.split(","), explanation };
  }
}
