/**
 * How often one caller may ask: a bucket per caller that holds a second's worth of requests and fills evenly.
 *
 * Decides at once, in the request's own turn of the event loop. The plugin for this
 * (@fastify/rate-limit 11) reads its count after a promise. By then, requests that came in the same
 * turn have raised it too: it refused all of eleven at once, not six.
 */

import { isIPv6 } from "node:net";

import { LRUCache } from "lru-cache";

import { TokenBucket } from "../token-bucket.ts";

/** Callers remembered at once; the one unseen for longest is forgotten first, and begins anew with a full bucket. */
const CALLERS_MAX = 4096;
/** Groups of an IPv6 address that belong to one site: its host may take any of the 2⁶⁴ addresses below. */
const SITE_GROUPS = 4;
const ADDRESS_GROUPS = 8;

/** Bounds requests by caller. */
export class RateLimit {
  /** Requests per second of one caller. */
  readonly perSecond: number;
  readonly #now: () => number;
  readonly #buckets = new LRUCache<string, TokenBucket>({ max: CALLERS_MAX });

  /**
   * @param perSecond - at least 1.
   * @param now - a clock in milliseconds.
   */
  constructor(perSecond: number, now: () => number) {
    this.perSecond = perSecond;
    this.#now = now;
  }

  /**
   * Counts a request.
   *
   * @param caller - whose.
   * @returns 0 when it is within the rate, otherwise the whole seconds after which one will be; refused requests cost nothing.
   */
  take(caller: string): number {
    const nowMs = this.#now();
    let bucket = this.#buckets.get(caller);
    if (bucket === undefined) {
      bucket = new TokenBucket(this.perSecond, this.perSecond, nowMs);
      this.#buckets.set(caller, bucket);
    }
    return bucket.take(nowMs) ? 0 : Math.ceil(bucket.waitMs / 1000);
  }
}

/**
 * What stands for an address when callers are counted.
 *
 * @param address - as a socket tells it.
 * @returns the address itself; of IPv6 the /64 that it is in.
 */
export function siteOf(address: string): string {
  if (!isIPv6(address) || address.includes(".")) return address;
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = new Array<string>(Math.max(0, ADDRESS_GROUPS - before.length - after.length)).fill("0");
  return [...before, ...zeros, ...after].slice(0, SITE_GROUPS).join(":");
}
