/**
 * Keys of prompts against those that vLLM 0.33.0's own functions gave for the same requests
 * (vllm-extra-keys.json). The functions are its generate_(lookahead_)block_hash_extra_keys and
 * to_event_extra_keys, run block by block as block_pool.py does.
 */
import { readFileSync } from "node:fs";

import fc from "fast-check";
import { expect, test } from "vitest";

import type { ExtraKey, ExtraKeys } from "./extra-keys.ts";
import { type MediaItem, promptKeys } from "./prompt-keys.ts";

interface Case {
  readonly says: string;
  readonly blockSize: number;
  readonly lookahead: number;
  readonly media: readonly (readonly [identifier: string, offset: number, length: number])[];
  readonly salt: string | null;
  readonly loraName: string | null;
  readonly keys: ExtraKeys;
}

const cases = JSON.parse(
  readFileSync(new URL("vllm-extra-keys.json", import.meta.url), "utf8"),
) as readonly Case[];

/** K3 */
const withoutAdapter = (keys: ExtraKeys, loraName: string | null): ExtraKeys =>
  keys.map((own) => {
    const rest = loraName === null ? (own ?? []) : (own ?? []).slice(1);
    return rest.length === 0 ? null : rest;
  });

test.each(cases)("K1, K2, K3, and E5 of extra-keys.ts: vLLM's own keys: $says", (one) => {
  const media = one.media.map(([identifier, offset, length]) => ({ identifier, offset, length }));
  const { blockSize, lookahead, salt } = one;
  const shape = { blockCount: one.keys.length, blockSize, lookahead };
  expect(promptKeys({ media, salt }, shape)).toEqual(withoutAdapter(one.keys, one.loraName));
});

test("K1: of any media every block lists exactly those that overlap its window", () => {
  const parts = fc.array(fc.record({ gap: fc.nat(20), length: fc.integer({ min: 1, max: 40 }) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(parts, fc.integer({ min: 1, max: 16 }), fc.nat(4), (list, blockSize, lookahead) => {
      let at = 0;
      const media = list.map(({ gap, length }, i): MediaItem => {
        const offset = at + gap;
        at = offset + length;
        return { identifier: `item-${i}`, offset, length };
      });
      const blockCount = Math.floor(at / blockSize) + 1;
      const naive = Array.from({ length: blockCount }, (_, block) => {
        const [start, end] = [block * blockSize, (block + 1) * blockSize + lookahead];
        const own = media
          .filter(({ offset, length }) => offset < end && offset + length > start)
          .map(({ identifier, offset }): ExtraKey => [identifier, offset - start]);
        return own.length === 0 ? null : own;
      });
      expect(promptKeys({ media, salt: null }, { blockCount, blockSize, lookahead })).toEqual(naive);
    }),
  );
});
