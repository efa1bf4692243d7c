/** The messages between the main thread and a thread that answers lookups. */

import type { SharedIndexParts } from "@kvsync/core";

import type { EngineChange } from "../engine/directory-copy.ts";
import type { AnsweredBody } from "../query/body-lookup.ts";

/** What a thread is started with. */
export interface LookupThreadSettings {
  /** Its number among the threads that answer, from 1: the main thread is 0. */
  readonly lookupThread: number;
  readonly index: SharedIndexParts;
  readonly board: SharedArrayBuffer;
  /** Of the registry's rank slots (engine/slot-incarnations.ts). */
  readonly incarnations: SharedArrayBuffer;
  readonly shard: { readonly index: number; readonly count: number };
  /** Longest prompt that is looked up. */
  readonly tokensMax: number;
  readonly prefixHashes: "public" | "secret";
}

/** A lookup for a thread. */
export interface LookupOrder {
  readonly body: Uint8Array;
  /** Engines that have changed since the order before. */
  readonly changes: readonly EngineChange[];
}

/** From a thread: that it runs, then one answer for each order, in their order. Null for a lookup that is the main thread's. */
export type FromLookupThread = "ready" | AnsweredBody | null;
