/**
 * Names of blocks: one number for each content of a block and everything before it.
 *
 *     name of block n = of (name of block n − 1, tokens of block n, lookahead tokens, extra keys)
 *
 * Equal content gets an equal name, as a hash would give it; different content never does. So a
 * comparison with the index meets no collisions that the model itself made. On the wire a name is
 * spread over 64 bits by a multiplication that can be undone.
 *
 *  N1  A name's tokens are final: with a lookahead of L, a block has a name once L tokens follow it.
 */
import type { ExtraKey } from "@kvsync/core";

/** Odd, so that multiplication modulo 2⁶⁴ has an inverse (the golden ratio's fraction). */
const SPREAD = 0x9e37_79b9_7f4a_7c15n;

/** What a prompt is beside its tokens. */
export interface PromptKeys {
  readonly loraName?: string | null | undefined;
  readonly cacheSalt?: string | null | undefined;
}

/** Gives names to blocks. */
export class BlockChain {
  readonly #names = new Map<string, number>();
  readonly #seed: bigint;

  /** @param seed - of another process: equal content gets other numbers on the wire. */
  constructor(seed: number) {
    this.#seed = BigInt(seed) << 32n;
  }

  /** Appends to `names` those of the full blocks that have none yet (N1). */
  extend(
    names: number[],
    tokens: readonly number[],
    blockSize: number,
    lookahead: number,
    keys: PromptKeys,
  ): void {
    for (;;) {
      const start = names.length * blockSize;
      const end = start + blockSize + lookahead;
      if (end > tokens.length) return;
      const extra = extraKeysOf(start, keys);
      const content = `${names.at(-1) ?? ""}|${tokens.slice(start, end).join()}|${extra?.join("\0") ?? ""}`;
      let name = this.#names.get(content);
      if (name === undefined) {
        name = this.#names.size + 1;
        this.#names.set(content, name);
      }
      names.push(name);
    }
  }

  /** A name as the wire carries it. */
  wireHash(name: number): bigint {
    return BigInt.asUintN(64, (this.#seed + BigInt(name)) * SPREAD);
  }
}

/** Extra keys of the block that begins at a token: the adapter on every block, the salt on the first. */
export function extraKeysOf(start: number, { loraName, cacheSalt }: PromptKeys): readonly ExtraKey[] | null {
  const keys: ExtraKey[] = [];
  if (loraName != null) keys.push(loraName);
  if (start === 0 && cacheSalt != null) keys.push(cacheSalt);
  return keys.length > 0 ? keys : null;
}
