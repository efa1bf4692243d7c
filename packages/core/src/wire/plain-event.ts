/**
 * Normal form of plain events: an event without the wire's freedom of spelling. Two spellings that
 * mean the same have the same normal form, so that tests and audits can compare an engine's own
 * events with decoded ones.
 */
import type { BlockRemoved, BlockStored, ExtraKeys, KvEvent } from "./events.ts";

/**
 * The form in which `RecordingSink` keeps events.
 *
 * @param event - an event as an engine would encode it.
 * @returns a new event: unsigned hashes, plain arrays, each optional field null where absent.
 */
export function normalizeEvent(event: KvEvent): KvEvent {
  switch (event.type) {
    case "AllBlocksCleared":
      return { type: event.type };
    case "BlockRemoved":
      return {
        type: event.type,
        blockHashes: event.blockHashes.map(unsignedHash),
        ...tierFields(event),
      };
    case "BlockStored":
      return {
        type: event.type,
        blockHashes: event.blockHashes.map(unsignedHash),
        parentBlockHash: event.parentBlockHash === null ? null : unsignedHash(event.parentBlockHash),
        tokenIds: Array.from<BlockStored["tokenIds"][number]>(event.tokenIds) as BlockStored["tokenIds"],
        blockSize: event.blockSize,
        loraId: event.loraId ?? null,
        loraName: event.loraName ?? null,
        extraKeys: meaningfulKeys(event.extraKeys ?? null),
        kvCacheSpecKind: event.kvCacheSpecKind ?? null,
        kvCacheSpecSlidingWindow: event.kvCacheSpecSlidingWindow ?? null,
        sessionId: event.sessionId ?? null,
        cacheSalt: event.cacheSalt ?? null,
        lookaheadTokenIds: placedLookahead(event),
        ...tierFields(event),
      };
  }
}

function unsignedHash(hash: bigint | Uint8Array): bigint {
  if (typeof hash === "bigint") return BigInt.asUintN(64, hash);
  return new DataView(hash.buffer, hash.byteOffset + hash.byteLength - 8, 8).getBigUint64(0);
}

function meaningfulKeys(keys: ExtraKeys | null): ExtraKeys | null {
  return keys?.some((blockKeys) => blockKeys !== null) === true ? keys : null;
}

/** The lists of an event whose tokens divide into its blocks: others cannot be placed, and are not kept. */
function placedLookahead(event: BlockStored): readonly (readonly number[])[] | null {
  const lists = event.lookaheadTokenIds ?? [];
  const isPlaced = event.tokenIds.length === event.blockHashes.length * event.blockSize;
  return isPlaced && lists.some((list) => list.length > 0) ? lists : null;
}

function tierFields(
  event: BlockStored | BlockRemoved,
): Pick<BlockRemoved, "medium" | "groupIdx" | "locality" | "ownership"> {
  return {
    medium: event.medium ?? null,
    groupIdx: event.groupIdx ?? null,
    locality: event.locality ?? null,
    ownership: event.ownership ?? null,
  };
}
