/**
 * The data of each named block of a tier, in columns by block id:
 *
 *     engineWords   2 × u32   the engine's hash in its u64 form, low then high (`engineHashes`: the same bytes as u64)
 *     prefixWords   2 × u32   our prefix hash
 *     contextOf     u16       0 the base model, i the adapter i − 1
 *     announcedIn   f64       sequence number of the message that announced it
 *     digests       32 × u8   the whole digest; only when the wire carries digests
 *     tokens, parents, hasParent, saltOf   only when the host tier describes itself
 *
 * Optional columns have length 0 when no part reads them: that is 100 bytes per block saved in a
 * pool of many.
 */
import { DIGEST_BYTES } from "./engine-hash.ts";

/** Which optional columns a tier keeps. */
export interface NameColumns {
  readonly digests: boolean;
  /** Tokens per block when stores must be describable later; 0 otherwise. */
  readonly describedBlockSize: number;
}

/** The columns of one tier. Plain memory: who writes what, and when, is the tier's business. */
export class BlockNames {
  readonly engineWords: Uint32Array;
  readonly engineHashes: BigUint64Array;
  readonly prefixWords: Uint32Array;
  readonly contextOf: Uint16Array;
  readonly announcedIn: Float64Array;
  readonly digests: Uint8Array;
  readonly tokens: Uint32Array;
  readonly parents: Uint8Array;
  readonly hasParent: Uint8Array;
  readonly saltOf: (string | null)[];
  readonly describedBlockSize: number;

  constructor(blockCount: number, columns: NameColumns) {
    const described = columns.describedBlockSize > 0 ? blockCount : 0;
    this.engineWords = new Uint32Array(blockCount * 2);
    this.engineHashes = new BigUint64Array(this.engineWords.buffer);
    this.prefixWords = new Uint32Array(blockCount * 2);
    this.contextOf = new Uint16Array(blockCount);
    this.announcedIn = new Float64Array(blockCount);
    this.digests = new Uint8Array(columns.digests ? blockCount * DIGEST_BYTES : 0);
    this.tokens = new Uint32Array(described * columns.describedBlockSize);
    this.parents = new Uint8Array(described * DIGEST_BYTES);
    this.hasParent = new Uint8Array(described);
    this.saltOf = new Array<string | null>(described).fill(null);
    this.describedBlockSize = columns.describedBlockSize;
  }

  /** Copies every column but `announcedIn` from a block of another tier with the same columns. */
  copyFrom(source: BlockNames, from: number, to: number): void {
    for (let word = 0; word < 2; word++) {
      this.engineWords[to * 2 + word] = source.engineWords[from * 2 + word] ?? 0;
      this.prefixWords[to * 2 + word] = source.prefixWords[from * 2 + word] ?? 0;
    }
    this.contextOf[to] = source.contextOf[from] ?? 0;
    if (this.digests.length > 0) copyRow(source.digests, from, this.digests, to, DIGEST_BYTES);
    if (this.describedBlockSize > 0) {
      copyRow(source.tokens, from, this.tokens, to, this.describedBlockSize);
      copyRow(source.parents, from, this.parents, to, DIGEST_BYTES);
      this.hasParent[to] = source.hasParent[from] ?? 0;
      this.saltOf[to] = source.saltOf[from] ?? null;
    }
  }
}

function copyRow<Column extends Uint8Array | Uint32Array>(
  source: Column,
  from: number,
  target: Column,
  to: number,
  width: number,
): void {
  target.set(source.subarray(from * width, (from + 1) * width), to * width);
}
