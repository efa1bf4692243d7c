/**
 * The owner of each socket: two engines on one would be one engine counted twice, unless their
 * topics differ.
 *
 *   endpoint ─▶ topic ─▶ owner        topics "a", "b": both        "kv@1", "kv@10": both        "", "a": one of the two
 *
 * A subscription brings every topic that begins with its own; ingest drops those that are not the
 * very same (ingest/stream-filter.ts, W5). The empty topic takes all, so it shares with none. Nor
 * does an engine for which the daemon listens (`bind`): an address has one listener for all topics.
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
  rival(engine: Engine): { readonly owner: Owner; readonly endpoint: string } | undefined {
    const topic = claimedTopic(engine);
    for (const { endpoint } of engine.ranks) {
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
  add(engine: Engine, owner: Owner): void {
    for (const { endpoint } of engine.ranks) {
      const topics = this.#owners.get(endpoint) ?? new Map<string, Owner>();
      this.#owners.set(endpoint, topics.set(claimedTopic(engine), owner));
    }
  }

  /**
   * Gives an engine's sockets up.
   *
   * @param engine - as it was added.
   */
  remove(engine: Engine): void {
    for (const { endpoint } of engine.ranks) {
      const topics = this.#owners.get(endpoint);
      topics?.delete(claimedTopic(engine));
      if (topics?.size === 0) this.#owners.delete(endpoint);
    }
  }
}

function claimedTopic({ bind, topic }: Engine): string {
  return bind ? "" : topic;
}
