/** A choice for gateways that keep their own books: kvsync's policy, without a memory of earlier choices. */
import { KvsyncPolicy, type WorkerView } from "@kvsync/routing";

import type { WorkerMatch } from "./match-types.ts";

/** What a worker has to do, by the gateway's books. */
export interface WorkerLoad {
  readonly worker: string;
  /** Requests sent there and not finished. */
  readonly runningRequests: number;
  /** Tokens of prompts whose first output token has not come. */
  readonly pendingTokens: number;
  /** Tokens of all prompts of its requests. */
  readonly contextTokens: number;
}

/**
 * Orders workers for a prompt by what they hold of it and what they have to do.
 *
 * @param matches - of `match`; none where nothing is known.
 * @param loads - one entry for each worker that may be chosen.
 * @returns the workers of `loads`, best first, each once; equals in the order of `loads`. Cost: O(entries²).
 */
export function choose(matches: readonly WorkerMatch[], loads: readonly WorkerLoad[]): string[] {
  // A worker with several ranks stands for each of them: the rank with the best match decides.
  const candidates = loads.flatMap((load): { load: WorkerLoad; match: WorkerMatch | null }[] => {
    const held = matches.filter(({ worker }) => worker === load.worker);
    return held.length === 0 ? [{ load, match: null }] : held.map((match) => ({ load, match }));
  });
  if (candidates.length === 0) return [];
  const views = candidates.map(
    ({ load, match }): WorkerView => ({
      worker: load.worker,
      isEligible: true,
      runningRequests: load.runningRequests,
      waitingRequests: 0,
      pendingPrefillTokens: load.pendingTokens,
      contextTokens: load.contextTokens,
      capacityTokens: 1,
      matchedTokens: match?.reusable_tokens ?? 0,
      matchedSlowTokens: 0,
      trust: match?.trust ?? "unknown",
      surchargeTokens: 0,
    }),
  );
  const promptTokens = Math.max(...views.map(({ matchedTokens }) => matchedTokens));
  const order = new Uint32Array(candidates.length);
  const request = {
    promptTokens,
    sessionId: null,
    keys: new Uint32Array(0),
    keyWords: 1,
    keyTokens: 1,
    sharedLaterTokens: 0,
  };
  const found = new KvsyncPolicy(candidates.length).rank(request, views, 0, order);
  return [...new Set([...order.subarray(0, found)].map((position) => views[position]?.worker ?? ""))];
}
