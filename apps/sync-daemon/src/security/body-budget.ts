/**
 * Bounds the bytes of request bodies that are in memory at once, over all connections.
 *
 *   request let in ─▶ claim of its length ─▶ body, parsing, answer ─▶ claim given back
 *                        └─ over the bound: 503 bodies_full, the body is not kept
 *
 * A claim is the declared length, or the largest length of its content type when none is declared (chunked). It counts before the first byte arrives.
 *
 * Invariants
 *  B1  Claims add up to at most `bytes`, and those of one address (of IPv6: one /64) to at most half of it. A body that is alone is always let in.
 *  B2  A claim is given back once, when the answer is sent or the connection is gone.
 *
 * It does not bound one body: that is the limit of its content type (http/request-reading.ts).
 */

import { CodedError } from "@kvsync/core";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { siteOf } from "./rate-limit.ts";

/** Of the budget, what one address may claim. */
const ADDRESS_SHARE = 1 / 2;
const RETRY_AFTER_SECONDS = 1;

/** Facts of a body that there is no room for. */
export interface BudgetFacts {
  readonly code: "bodies_full";
  readonly retry_after_seconds: number;
}

/** A body that there is no room for. */
class BudgetError extends CodedError<BudgetFacts> {}

/** What bounds bodies. */
export interface BodyBounds {
  /** All of them together. */
  readonly bytes: number;
  /** Largest one of a JSON body, and of any other. */
  readonly jsonBytes: number;
  readonly bodyBytes: number;
}

/** Bounds the bodies of one server. */
export class BodyBudget {
  readonly #bounds: BodyBounds;
  readonly #byAddress = new Map<string, number>();
  #bytes = 0;

  private constructor(bounds: BodyBounds) {
    this.#bounds = bounds;
  }

  /**
   * Bounds a server's bodies. After its guard, so that refused callers claim nothing.
   *
   * @param server - before its routes are registered.
   * @param bounds - how much.
   */
  static install(server: FastifyInstance, bounds: BodyBounds): void {
    const budget = new BodyBudget(bounds);
    server.addHook("preParsing", (request, reply, _payload, done) => {
      const bytes = budget.#bytesOf(request);
      if (bytes === 0 || budget.#claim(request, reply, bytes)) {
        done();
        return;
      }
      reply.header("retry-after", String(RETRY_AFTER_SECONDS));
      const facts = { code: "bodies_full", retry_after_seconds: RETRY_AFTER_SECONDS } as const;
      done(new BudgetError(facts, "the bodies being received add up to callers.bodies_bytes; try again"));
    });
  }

  /** What the body will take; 0 without one, and for one that is refused for its length anyway. */
  #bytesOf({ headers }: FastifyRequest): number {
    const isJson = headers["content-type"]?.startsWith("application/json") === true;
    const limit = isJson ? this.#bounds.jsonBytes : this.#bounds.bodyBytes;
    const declared = headers["content-length"];
    if (declared === undefined) return headers["transfer-encoding"] === undefined ? 0 : limit;
    const bytes = Number(declared);
    return bytes > limit ? 0 : bytes;
  }

  #claim({ ip }: FastifyRequest, { raw }: FastifyReply, bytes: number): boolean {
    const address = siteOf(ip);
    const ofAddress = this.#byAddress.get(address) ?? 0;
    const max = this.#bounds.bytes;
    const isOver = this.#bytes + bytes > max || ofAddress + bytes > max * ADDRESS_SHARE;
    if (isOver && this.#bytes > 0) return false;
    this.#byAddress.set(address, ofAddress + bytes);
    this.#bytes += bytes;
    // B2: it comes after an answer, and also when the caller is gone and none is sent.
    raw.once("close", () => {
      this.#release(address, bytes);
    });
    return true;
  }

  #release(address: string, bytes: number): void {
    const left = (this.#byAddress.get(address) ?? 0) - bytes;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
    this.#bytes -= bytes;
  }
}
