/**
 * What an engine announced, byte by byte, and how much of a prompt it then reuses. Payloads are those of
 * messages 0, 1, …; `reused` is what the engine's own scheduler would take from its cache.
 */

/** Messages of one engine, and lookups with their right answers. */
export interface ReuseVector {
  readonly id: string;
  readonly says: string;
  readonly source: string;
  readonly messages: readonly string[];
  readonly queries: readonly { readonly tokens: readonly number[]; readonly reused: number | null }[];
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

/** Every vector. `reused` is null where the index may not know: then the rank is not exact. */
export const REUSE_VECTORS: readonly ReuseVector[] = [
  {
    id: "lookahead",
    says: "lookahead of one token (EAGLE)",
    source: "vLLM 0.33.0, its own encoder",
    messages: [
      "93cb41dac2da1be0472991de000ca474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cf" +
        "d4659059853be2a3b1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739401020304aa626c6f" +
        "636b5f73697a6504a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f" +
        "6b65797391c0a967726f75705f69647800b26b765f63616368655f737065635f6b696e64ae66756c6c5f61747465" +
        "6e74696f6eb36c6f6f6b61686561645f746f6b656e5f696473919105c0",
    ],
    queries: [
      { tokens: upTo(5), reused: 4 },
      { tokens: [1, 2, 3, 4, 6], reused: 0 },
      { tokens: upTo(4), reused: 0 },
    ],
  },
];
