// The vectors are engines' own (vLLM 0.28.0, captured by samuelkim7/kvstat; SGLang), or agreed by third parties (loxilb).
import { describe, expect, test } from "vitest";
import { DIGEST_BYTES, EngineHasher, externalOffset, type HashAlgorithm } from "./engine-hash.ts";

interface Chain {
  readonly algorithm: HashAlgorithm;
  readonly seed: string;
  readonly tokens: readonly number[];
  readonly blockSize: number;
  readonly loraName?: string;
  readonly cacheSalt?: string;
}

function digestsOf(chain: Chain): Uint8Array {
  const blocks = Math.floor(chain.tokens.length / chain.blockSize);
  const digests = new Uint8Array(blocks * DIGEST_BYTES);
  new EngineHasher(chain.algorithm, chain.seed).hashBlocks(
    Uint32Array.from(chain.tokens),
    0,
    blocks,
    chain.blockSize,
    chain.loraName ?? null,
    chain.cacheSalt ?? null,
    digests,
  );
  return digests;
}

function external(chain: Chain, signed = false): bigint[] {
  const digests = digestsOf(chain);
  const view = new DataView(digests.buffer);
  const offset = externalOffset(chain.algorithm);
  const hashes: bigint[] = [];
  for (let at = offset; at < digests.length; at += DIGEST_BYTES)
    hashes.push(signed ? view.getBigInt64(at) : view.getBigUint64(at));
  return hashes;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("vLLM's block hashes", () => {
  test.each<[HashAlgorithm, string, string, bigint, bigint]>([
    [
      "sha256",
      "0",
      "1973e23848344dc43a988a9b478663803cfffe1243480253f9a3cf004b14aa7c",
      7536218907325174565n,
      9048537298590080561n,
    ],
    [
      "sha256",
      "vllm-none-hash",
      "066b1e8987e027138e98701c46128929378935f9b6cd1549105ae6b4f0d71198",
      1403909460543360175n,
      1643945449041937783n,
    ],
    [
      "sha256_cbor",
      "0",
      "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e",
      3236607068019569386n,
      2758186210834249151n,
    ],
    [
      "sha256_cbor",
      "vllm-none-hash",
      "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0",
      8866452693264111234n,
      807986237951177663n,
    ],
  ])(
    "%s with seed %s names the root and tokens 1 … 32 as vLLM does",
    (algorithm, seed, root, first, second) => {
      expect(hex(new EngineHasher(algorithm, seed).noneHash ?? new Uint8Array())).toBe(root);
      expect(external({ algorithm, seed, tokens: upTo(32), blockSize: 16 })).toEqual([first, second]);
    },
  );

  test("sha256 gives the digests captured from a real vLLM 0.28.0 (E2)", () => {
    const tokens = [
      [
        11611, 5943, 13937, 22329, 2582, 3373, 27911, 18559, 4084, 12982, 20096, 2900, 17627, 8035, 2228,
        3816,
      ],
      [
        15209, 14702, 3289, 8886, 3972, 19056, 14910, 2936, 28094, 19528, 5056, 8315, 21664, 21559, 20103,
        3027,
      ],
    ].flat();
    const digests = digestsOf({ algorithm: "sha256", seed: "0", tokens, blockSize: 16 });
    expect(hex(digests.subarray(0, 32))).toBe(
      "5110ec4c3c25ba97da2d53dc9a6129676abd72115a3c88cf8308dd228595f637",
    );
    expect(hex(digests.subarray(56, 64))).toBe("451c4206edd44d2c");
  });

  test("sha256_cbor gives loxilb's published hashes", () => {
    const tokens = Array.from({ length: 32 }, (_, i) => 101 * (i + 1));
    expect(external({ algorithm: "sha256_cbor", seed: "0", tokens, blockSize: 16 })).toEqual([
      7876691182959014722n,
      8769878286166771163n,
    ]);
  });

  test("sha256_cbor hashes adapter and salt as vLLM's extra keys", () => {
    const block: Chain = { algorithm: "sha256_cbor", seed: "0", tokens: upTo(16), blockSize: 16 };
    expect(external({ ...block, loraName: "adapter" })).toEqual([8432662788591636379n]);
    expect(external({ ...block, cacheSalt: "salt-1" })).toEqual([14196867505284063976n]);
  });
});

describe("SGLang's page hashes", () => {
  test("chain without a seed and are read signed", () => {
    const chain: Chain = { algorithm: "sglang", seed: "any", tokens: [1, 2, 3, 4], blockSize: 4 };
    expect(external(chain, true)).toEqual([-3488128144981237669n]);
    expect(hex(digestsOf(chain)).slice(0, 16)).toBe("cf97adeedb59e05b");
    // The reference vector hashes [5,6,7,8] as the page after [1,2,3,4].
    expect(external({ ...chain, tokens: upTo(8) }, true)[1]).toBe(5674439469042975057n);
  });

  test("a salted root starts from the salt's digest", () => {
    const chain: Chain = {
      algorithm: "sglang",
      seed: "any",
      tokens: [1, 2, 3, 4],
      blockSize: 4,
      cacheSalt: "tenant-a",
    };
    expect(external(chain, true)).toEqual([3718046898735569995n]);
  });
});

describe("any algorithm", () => {
  test.each<HashAlgorithm>(["sha256", "sha256_cbor", "sglang"])(
    "%s names a prompt the same in one go and in pieces (E1)",
    (algorithm) => {
      const hasher = new EngineHasher(algorithm, "7");
      const tokens = Uint32Array.from({ length: 40 }, (_, i) => (i * 2_654_435_761) >>> 0);
      const whole = new Uint8Array(10 * DIGEST_BYTES);
      const pieces = new Uint8Array(10 * DIGEST_BYTES);
      hasher.hashBlocks(tokens, 0, 10, 4, "adapter", "salt", whole);
      for (const [from, to] of [
        [0, 3],
        [3, 4],
        [4, 10],
      ] as const)
        hasher.hashBlocks(tokens, from, to, 4, "adapter", "salt", pieces);
      expect(hex(pieces)).toBe(hex(whole));
    },
  );

  test("without a seed two engines disagree about everything", () => {
    const tokens = Uint32Array.from(upTo(16));
    const [one, other] = [new Uint8Array(32), new Uint8Array(32)];
    new EngineHasher("sha256", null).hashBlocks(tokens, 0, 1, 16, null, null, one);
    new EngineHasher("sha256", null).hashBlocks(tokens, 0, 1, 16, null, null, other);
    expect(hex(one)).not.toBe(hex(other));
  });

  test("pickles tokens of every width as Python does", () => {
    // From CPython: hashlib.sha256(pickle.dumps((NONE_HASH of "0", tokens, None), 5)).
    const vectors: [number[], string][] = [
      [[1], "0abd3b3158abf37d720e7a68dbf579e34346f0306dbffdb4ad02f57bc238f2c2"],
      [[1, 70000], "8a4e80a7baf90061e7a438a4021efed3516c75e98bce7e198ef1ad2ea366f882"],
      [[1, 256, 65535], "34220e4b3db259d536d7b85692b62c3a17ef63b721868ab7bfaee2204cb97e4c"],
      [
        [0, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
        "a3e77b9feaa5a247f1f1059fec9bd41f3d533265466e1b573ca4a48063b5ba2c",
      ],
    ];
    for (const [tokens, digest] of vectors)
      expect(hex(digestsOf({ algorithm: "sha256", seed: "0", tokens, blockSize: tokens.length }))).toBe(
        digest,
      );
  });

  test("pickles distinct keys as Python does", () => {
    const chain: Chain = { algorithm: "sha256", seed: "0", tokens: [1, 2, 3, 4], blockSize: 4 };
    expect(hex(digestsOf({ ...chain, loraName: "adapter", cacheSalt: "salt-1" }))).toBe(
      "20da93e3323029b4938d16f5b79ad6ee196caf543e5c35b519608c0f8765798d",
    );
  });
});
