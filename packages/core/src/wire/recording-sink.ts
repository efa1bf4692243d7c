/**
 * A sink that keeps the content of a batch as plain values, for tests, audits and tools that show a
 * stream to people. It makes objects and bigints freely, so it is not for the daemon's ingest.
 */
import { toBigInt } from "../block-hash/block-hash.ts";
import type { EventFault, EventSink, FieldOwner } from "./event-batch-decoder.ts";
import type { DecodedBlockRemoved, DecodedBlockStored, DecodeScratch, KvEvent } from "./events.ts";

/** Keeps events and faults in order until `clear`. */
export class RecordingSink implements EventSink {
  /**
   * The events. Hashes are unsigned whatever the wire had (digests by their last eight bytes), each optional field is
   * there, null where the event had none, and extra keys are null when no block has any.
   */
  readonly events: KvEvent[] = [];
  /** The faults. */
  readonly faults: EventFault[] = [];
  /** Unknown fields, each as its owner and its name. */
  readonly unknownFields: string[] = [];
  readonly #scratch: DecodeScratch;

  /** @param scratch - the decoder's own: hashes and tokens are copied out of it. */
  constructor(scratch: DecodeScratch) {
    this.#scratch = scratch;
  }

  /** Forgets everything. */
  clear(): void {
    this.events.length = 0;
    this.faults.length = 0;
    this.unknownFields.length = 0;
  }

  /** @inheritDoc */
  onBlockStored(event: DecodedBlockStored): void {
    const { blockCount, hasParent, parentLow, parentHigh, tokenCount, lookahead, isPaired, ...fields } =
      event;
    const { tokens } = this.#scratch;
    const isPlaced = lookahead > 0 && !isPaired && tokenCount === blockCount * fields.blockSize;
    this.events.push({
      ...fields,
      blockHashes: this.#hashes(blockCount),
      parentBlockHash: hasParent ? toBigInt(parentLow, parentHigh) : null,
      tokenIds: isPaired
        ? Array.from({ length: tokenCount }, (_, index) => [tokens[index], tokens[index + 1]] as const)
        : Array.from(tokens.subarray(0, tokenCount)),
      lookaheadTokenIds: isPlaced
        ? Array.from({ length: blockCount }, (_, block) => {
            const end = (block + 1) * fields.blockSize;
            return Array.from(tokens.subarray(end, end + lookahead));
          })
        : null,
    });
  }

  /** @inheritDoc */
  onBlockRemoved(event: DecodedBlockRemoved): void {
    const { blockCount, ...fields } = event;
    this.events.push({ ...fields, blockHashes: this.#hashes(blockCount) });
  }

  /** @inheritDoc */
  onAllBlocksCleared(): void {
    this.events.push({ type: "AllBlocksCleared" });
  }

  /** @inheritDoc */
  onFault(fault: EventFault): void {
    this.faults.push(fault);
  }

  /** @inheritDoc */
  onUnknownField(owner: FieldOwner, name: string): void {
    this.unknownFields.push(`${owner} ${name}`);
  }

  #hashes(count: number): bigint[] {
    const { hashes } = this.#scratch;
    return Array.from({ length: count }, (_, index) => toBigInt(hashes[index * 2], hashes[index * 2 + 1]));
  }
}
