/**
 * Golden vectors: payloads byte by byte, and the events in them. The decoder must read each payload
 * so, and the encoder must write it so in the named dialect. README.md next to this file lists
 * their sources.
 *
 * V… vLLM, S… SGLang, T… TensorRT-LLM; R… were captured from a running engine.
 */
import type { EventBatch } from "../events.ts";
import type { Dialect } from "../dialect.ts";

/** One payload and its meaning. */
export interface GoldenVector {
  readonly id: string;
  /** Dialect in which our encoder writes these very bytes. */
  readonly dialect: Dialect;
  readonly says: string;
  readonly hex: string;
  readonly batch: EventBatch;
}

const timestampSeconds = 1_757_500_000.25;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;
const DEADBEEF = 0xdead_beef_1234_5678n;

/** `count` bytes counting up from `first`. */
function digest(first: number, count = 32): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => first + index);
}

/** Every vector, in the order of README.md. */
export const GOLDEN_VECTORS: readonly GoldenVector[] = [
  {
    id: "V1",
    dialect: "vllm-0.9.0",
    says: "0.9.0: a batch of two slots, a store of six, signed hashes",
    hex: "92cb41da3054981000009196ab426c6f636b53746f7265649201fec0940102030402c0",
    batch: {
      timestampSeconds,
      events: [
        {
          type: "BlockStored",
          blockHashes: [1n, -2n],
          parentBlockHash: null,
          tokenIds: [1, 2, 3, 4],
          blockSize: 2,
        },
      ],
    },
  },
  {
    id: "V2",
    dialect: "vllm-0.9.0",
    says: "0.9.0: a removal of two slots",
    hex: "92cb41da3054981000009192ac426c6f636b52656d6f76656491cfdeadbeef12345678",
    batch: { timestampSeconds, events: [{ type: "BlockRemoved", blockHashes: [DEADBEEF] }] },
  },
  {
    id: "V3",
    dialect: "vllm-0.10.2",
    says: "0.11: seven slots with medium, every width of token",
    hex:
      "93cb41da3054981000009197ab426c6f636b53746f72656492cfdeadbeef12345678cfffffffffffffffffc09801020304cc80" +
      "ccffcd0100cdffff04c0a347505500",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [DEADBEEF, ALL_ONES],
          parentBlockHash: null,
          tokenIds: [1, 2, 3, 4, 128, 255, 256, 65_535],
          blockSize: 4,
          medium: "GPU",
        },
      ],
    },
  },
  {
    id: "V4",
    dialect: "vllm-0.10.2",
    says: "0.11: a removal with medium",
    hex: "93cb41da3054981000009193ac426c6f636b52656d6f76656491cfdeadbeef12345678a347505500",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [{ type: "BlockRemoved", blockHashes: [DEADBEEF], medium: "GPU" }],
    },
  },
  {
    id: "V5",
    dialect: "vllm-0.10.2",
    says: "0.11: a cleared pool is an array of one slot",
    hex: "93cb41da3054981000009191b0416c6c426c6f636b73436c656172656400",
    batch: { timestampSeconds, dataParallelRank: 0, events: [{ type: "AllBlocksCleared" }] },
  },
  {
    id: "V6",
    dialect: "vllm-0.21",
    says: "0.23: twelve slots, a child block",
    hex:
      "93cb41da305498100000919cab426c6f636b53746f7265649107cfffffffffffffffff946465666704c0a3475055c091c000ae" +
      "66756c6c5f617474656e74696f6ec000",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [7n],
          parentBlockHash: ALL_ONES,
          tokenIds: [100, 101, 102, 103],
          blockSize: 4,
          medium: "GPU",
          extraKeys: [null],
          groupIdx: 0,
          kvCacheSpecKind: "full_attention",
        },
      ],
    },
  },
  {
    id: "V7",
    dialect: "vllm-0.21",
    says: "0.23: a removal with group",
    hex: "93cb41da3054981000009194ac426c6f636b52656d6f7665649107a34750550000",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [{ type: "BlockRemoved", blockHashes: [7n], medium: "GPU", groupIdx: 0 }],
    },
  },
  {
    id: "V8",
    dialect: "vllm-0.24",
    says: "0.24: V3's content as a map",
    hex:
      "93cb41da305498100000918ba474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657392cfdeadbeef123456" +
      "78cfffffffffffffffffb1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739801020304cc80ccffcd0100" +
      "cdffffaa626c6f636b5f73697a6504a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472" +
      "615f6b65797392c0c0a967726f75705f69647800b26b765f63616368655f737065635f6b696e64ae66756c6c5f617474656e74" +
      "696f6e00",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [DEADBEEF, ALL_ONES],
          parentBlockHash: null,
          tokenIds: [1, 2, 3, 4, 128, 255, 256, 65_535],
          blockSize: 4,
          medium: "GPU",
          extraKeys: [null, null],
          groupIdx: 0,
          kvCacheSpecKind: "full_attention",
        },
      ],
    },
  },
  {
    id: "V9",
    dialect: "vllm-0.24",
    says: "0.24: a removal as a map",
    hex:
      "93cb41da3054981000009184a474797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391cf800000000000" +
      "0001a66d656469756da3475055a967726f75705f6964780000",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [{ type: "BlockRemoved", blockHashes: [0x8000_0000_0000_0001n], medium: "GPU", groupIdx: 0 }],
    },
  },
  {
    id: "V10",
    dialect: "vllm-0.24",
    says: "0.24: a cleared pool as a map",
    hex: "93cb41da3054981000009181a474797065b0416c6c426c6f636b73436c656172656400",
    batch: { timestampSeconds, dataParallelRank: 0, events: [{ type: "AllBlocksCleared" }] },
  },
  {
    id: "V11",
    dialect: "vllm-0.24",
    says: "0.24: raw digests, an adapter, every kind of extra key, a sliding window, rank 3",
    hex:
      "93cb41da305498100000918ca474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391c420000102030405" +
      "060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fb1706172656e745f626c6f636b5f68617368c4206465666768" +
      "696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f80818283a9746f6b656e5f6964739401020304aa626c6f636b5f7369" +
      "7a6504a76c6f72615f696407a66d656469756da3475055a96c6f72615f6e616d65a761646170746572aa65787472615f6b6579" +
      "739194a76164617074657292a66d6d2d61626300a673616c742d31c402aabba967726f75705f69647801b26b765f6361636865" +
      "5f737065635f6b696e64ae736c6964696e675f77696e646f77bc6b765f63616368655f737065635f736c6964696e675f77696e" +
      "646f77cc8003",
    batch: {
      timestampSeconds,
      dataParallelRank: 3,
      events: [
        {
          type: "BlockStored",
          blockHashes: [digest(0)],
          parentBlockHash: digest(100),
          tokenIds: [1, 2, 3, 4],
          blockSize: 4,
          loraId: 7,
          medium: "GPU",
          loraName: "adapter",
          extraKeys: [["adapter", ["mm-abc", 0], "salt-1", Uint8Array.of(0xaa, 0xbb)]],
          groupIdx: 1,
          kvCacheSpecKind: "sliding_window",
          kvCacheSpecSlidingWindow: 128,
        },
      ],
    },
  },
  {
    id: "V12",
    dialect: "vllm-0.24",
    says: "0.24: an offload placeholder, no tokens and block size 0",
    hex:
      "93cb41da3054981000009189a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cfdeadbeef123456" +
      "78b1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f69647390aa626c6f636b5f73697a6500a76c6f72615f6964" +
      "c0a66d656469756da3435055a96c6f72615f6e616d65c0a967726f75705f6964780000",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [DEADBEEF],
          parentBlockHash: null,
          tokenIds: [],
          blockSize: 0,
          medium: "CPU",
          groupIdx: 0,
        },
      ],
    },
  },
  {
    id: "V13",
    dialect: "vllm-0.33",
    says: "a struct of fifteen fields and more: the map's header is not the smallest",
    hex:
      "93cb41da30549810000091de0009a474797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739107b170617265" +
      "6e745f626c6f636b5f68617368c0a9746f6b656e5f696473920102aa626c6f636b5f73697a6502a76c6f72615f6964c0a66d65" +
      "6469756da3475055a96c6f72615f6e616d65c0a967726f75705f6964780000",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [7n],
          parentBlockHash: null,
          tokenIds: [1, 2],
          blockSize: 2,
          medium: "GPU",
          groupIdx: 0,
        },
      ],
    },
  },
  {
    id: "V14",
    dialect: "vllm-0.24",
    says: "a rank of nil",
    hex: "93cb41da3054981000009181a474797065b0416c6c426c6f636b73436c6561726564c0",
    batch: { timestampSeconds, dataParallelRank: null, events: [{ type: "AllBlocksCleared" }] },
  },
  {
    id: "V15",
    dialect: "vllm-0.33",
    says: "0.33 with EAGLE: the token after each block, which its hash covers",
    hex:
      "93cb41dac2da1be0472991de000ca474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cfd4659059" +
      "853be2a3b1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739401020304aa626c6f636b5f73697a6504" +
      "a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b65797391c0a967726f7570" +
      "5f69647800b26b765f63616368655f737065635f6b696e64ae66756c6c5f617474656e74696f6eb36c6f6f6b61686561645f" +
      "746f6b656e5f696473919105c0",
    batch: {
      timestampSeconds: 1_795_909_743.504_343_3,
      dataParallelRank: null,
      events: [
        {
          type: "BlockStored",
          blockHashes: [0xd465_9059_853b_e2a3n],
          parentBlockHash: null,
          tokenIds: [1, 2, 3, 4],
          blockSize: 4,
          medium: "GPU",
          extraKeys: [null],
          groupIdx: 0,
          kvCacheSpecKind: "full_attention",
          lookaheadTokenIds: [[5]],
        },
      ],
    },
  },
  {
    id: "S1",
    dialect: "sglang-medium",
    says: "SGLang: seven slots, a signed hash",
    hex: "93cb41da3054981000009197ab426c6f636b53746f72656491fdc092010202c0a347505500",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [-3n],
          parentBlockHash: null,
          tokenIds: [1, 2],
          blockSize: 2,
          medium: "GPU",
        },
      ],
    },
  },
  {
    id: "S2",
    dialect: "sglang-salted",
    says: "SGLang 0.5.18: a salted store carries a map in slot 7",
    hex:
      "93cb41da3054981000009198ab426c6f636b53746f726564917bc092010202c0a347505581aa63616368655f73616c74a87465" +
      "6e616e742d61c0",
    batch: {
      timestampSeconds,
      dataParallelRank: null,
      events: [
        {
          type: "BlockStored",
          blockHashes: [123n],
          parentBlockHash: null,
          tokenIds: [1, 2],
          blockSize: 2,
          medium: "GPU",
          cacheSalt: "tenant-a",
        },
      ],
    },
  },
  {
    id: "S3",
    dialect: "sglang-map",
    says: "SGLang as a map, EAGLE pairs, host memory",
    hex:
      "93cb41da3054981000009187a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391fdb1706172656e74" +
      "5f626c6f636b5f68617368c0a9746f6b656e5f69647392921516921617aa626c6f636b5f73697a6502a76c6f72615f6964c0a6" +
      "6d656469756daa4350555f50494e4e454400",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [-3n],
          parentBlockHash: null,
          tokenIds: [
            [21, 22],
            [22, 23],
          ],
          blockSize: 2,
          medium: "CPU_PINNED",
        },
      ],
    },
  },
  {
    id: "T1",
    dialect: "trtllm",
    says: "TensorRT-LLM: a map of required keys, a signed hash",
    hex:
      "93cb41da3054981000009188a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391fbb1706172656e74" +
      "5f626c6f636b5f68617368c0a9746f6b656e5f696473920102aa626c6f636b5f73697a6502a76c6f72615f6964c0a66d656469" +
      "756da3475055a96c6f72615f6e616d65c000",
    batch: {
      timestampSeconds,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockStored",
          blockHashes: [-5n],
          parentBlockHash: null,
          tokenIds: [1, 2],
          blockSize: 2,
          medium: "GPU",
        },
      ],
    },
  },
  {
    id: "R2",
    dialect: "vllm-0.26",
    says: "captured from vLLM 0.28.0: a block is removed and another stored in its place, in that order",
    hex:
      "93cb41daa67a0944cd3e9284a474797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391cfd5c88cf9f9c8" +
      "1787a66d656469756da3475055a967726f75705f696478008ba474797065ab426c6f636b53746f726564ac626c6f636b5f6861" +
      "7368657391cf3e2ef11c6368831db1706172656e745f626c6f636b5f68617368cf3a1630a37081f38ba9746f6b656e5f696473" +
      "dc0010ccdc100f0f0f0f0f0f0f0f0f0f0f0f0f0faa626c6f636b5f73697a6510a76c6f72615f6964c0a66d656469756da34750" +
      "55a96c6f72615f6e616d65c0aa65787472615f6b65797391c0a967726f75705f69647800b26b765f63616368655f737065635f" +
      "6b696e64ae66756c6c5f617474656e74696f6e00",
    batch: {
      timestampSeconds: 1_788_471_333.075027,
      dataParallelRank: 0,
      events: [
        {
          type: "BlockRemoved",
          blockHashes: [0xd5c8_8cf9_f9c8_1787n],
          medium: "GPU",
          groupIdx: 0,
        },
        {
          type: "BlockStored",
          blockHashes: [0x3e2e_f11c_6368_831dn],
          parentBlockHash: 0x3a16_30a3_7081_f38bn,
          tokenIds: [220, 16, ...Array<number>(14).fill(15)],
          blockSize: 16,
          medium: "GPU",
          extraKeys: [null],
          groupIdx: 0,
          kvCacheSpecKind: "full_attention",
        },
      ],
    },
  },
];

/** Builds bytes from hexadecimal digits. */
export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** Writes bytes as hexadecimal digits. */
export function toHexText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
