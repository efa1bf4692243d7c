/** The public surface of core: named, so that it is a page one reviews. */
export { assert, AssertionError, unreachable } from "./assert.ts";
export { CodedError, type ErrorFacts } from "./errors.ts";
export { toBigInt, toHex, writeBigInt, writeInteger } from "./block-hash/block-hash.ts";
export { Prng } from "./prng.ts";
export type {
  AllBlocksCleared,
  BlockRemoved,
  BlockStored,
  EventBatch,
  ExtraKey,
  ExtraKeys,
  KvEvent,
} from "./wire/events.ts";
