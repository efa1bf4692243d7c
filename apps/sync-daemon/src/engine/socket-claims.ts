/**
 * Who reads which socket: two engines on one would be one engine counted twice, unless topics tell them apart.
 *
 *   endpoint ─▶ topic ─▶ owner        topics "a", "b": both        "kv@1", "kv@10": both        "", "a": one of the two
 *
 * A subscription brings every topic that begins with its own; ingest drops those that are not the very same
 * (ingest/stream-filter.ts, W5). The empty topic takes all, so it shares with none.
 */

import type { Engine } from "./engine-entry.ts";

/** Claims of engines, each by an owner. */
export class SocketClaims<Owner> {
  readonly #owners = new Map<string, Map<string, Owner>>();

  /**
   * Who reads a socket that an engine would read.
   *
   * @param engine - its endpoints and topic.
   * @returns undefined when nobody does. O(ranks + engines on the same endpoints).
   */
  rival({ ranks, topic }: Engine): { readonly owner: Owner; readonly endpoint: string } | undefined {
    for (const { endpoint } of ranks) {
      for (const [claimed, owner] of this.#owners.get(endpoint) ?? []) {
        if (claimed === topic || claimed === "" || topic === "") return { owner, endpoint };
      }
    }
    return undefined;
  }

  /**
   * Claims an engine's sockets. It has no rival.
   *
   * @param engine - its endpoints and topic.
   * @param owner - who reads them from now on.
   */
  add({ ranks, topic }: Engine, owner: Owner): void {
    for (const { endpoint } of ranks) {
      const topics = this.#owners.get(endpoint) ?? new Map<string, Owner>();
      this.#owners.set(endpoint, topics.set(topic, owner));
    }
  }

  /**
   * Gives an engine's sockets up.
   *
   * @param engine - as it was added.
   */
  remove({ ranks, topic }: Engine): void {
    for (const { endpoint } of ranks) {
      const topics = this.#owners.get(endpoint);
      topics?.delete(topic);
      if (topics?.size === 0) this.#owners.delete(endpoint);
    }
  }
}
