/** The caches and workloads that the model, the real classes and the daemon are compared on. */
import type { Dialect } from "@kvsync/core";
import type { CacheSettings } from "../../src/coordinator/cache-settings.ts";
import { ORDINARY, type WorkloadShape } from "./workload.ts";

/** One kind of engine under one kind of work. */
export interface Scenario {
  readonly name: string;
  readonly cache: CacheSettings;
  readonly shape: WorkloadShape;
  /** Whose bytes the model speaks; the newest of vLLM when left out. */
  readonly dialect?: Dialect;
  /** First vLLM release that can be set up so. */
  readonly since: string;
}

const BLOCKS = 60;

/** Every scenario by name. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: "plain",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: ORDINARY,
    since: "0.9.1",
  },
  {
    name: "adapters",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: { ...ORDINARY, loras: ["adapter-a", "adapter-b"] },
    since: "0.9.1",
  },
  {
    name: "salts",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: { ...ORDINARY, loras: ["adapter-a"], salts: ["tenant"] },
    since: "0.17.0",
  },
  {
    name: "report",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: { ...ORDINARY, reports: 0.5 },
    since: "0.26.0",
  },
  {
    name: "eagle",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS, eagle: true },
    shape: ORDINARY,
    since: "0.9.1",
  },
  {
    name: "lookahead 1",
    cache: {
      groups: [{ kind: "full", blockSize: 4, eagle: true }],
      blocks: BLOCKS,
      eagle: true,
      lookahead: 1,
    },
    shape: { ...ORDINARY, loras: ["adapter-a"], salts: ["tenant"] },
    since: "0.33.0",
  },
  {
    name: "lookahead 3",
    cache: {
      groups: [{ kind: "full", blockSize: 4, eagle: true }],
      blocks: BLOCKS,
      eagle: true,
      lookahead: 3,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "window only",
    cache: { groups: [{ kind: "window", blockSize: 4, window: 10 }], blocks: BLOCKS },
    shape: ORDINARY,
    since: "0.20.0",
  },
  {
    name: "full and window",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "window", blockSize: 4, window: 8 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.20.0",
  },
  {
    name: "full and two windows, reports",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "window", blockSize: 4, window: 8 },
        { kind: "window", blockSize: 4, window: 8 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: { ...ORDINARY, reports: 0.3 },
    since: "0.26.0",
  },
  {
    name: "full and window of other block sizes",
    cache: {
      groups: [
        { kind: "full", blockSize: 8 },
        { kind: "window", blockSize: 4, window: 8 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.26.0",
  },
  {
    name: "full and a sparse window",
    cache: {
      groups: [
        { kind: "full", blockSize: 16 },
        { kind: "window", blockSize: 2, window: 4 },
      ],
      blocks: 3 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.26.0",
  },
  {
    name: "chunked",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "chunked", blockSize: 4, chunk: 12 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.20.0",
  },
  {
    name: "full and mamba",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "mamba", blockSize: 4 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.26.0",
  },
  {
    name: "full and a larger mamba, hits inside",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "mamba", blockSize: 16 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "full, window and mamba, lookahead",
    cache: {
      groups: [
        { kind: "full", blockSize: 4, eagle: true },
        { kind: "window", blockSize: 4, window: 8 },
        { kind: "mamba", blockSize: 4 },
      ],
      blocks: 3 * BLOCKS,
      eagle: true,
      lookahead: 1,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "full and window, eagle",
    cache: {
      groups: [
        { kind: "full", blockSize: 4, eagle: true },
        { kind: "window", blockSize: 4, window: 8, eagle: true },
      ],
      blocks: 2 * BLOCKS,
      eagle: true,
    },
    shape: ORDINARY,
    since: "0.26.0",
  },
  {
    name: "full of larger blocks and mamba, hits inside both",
    cache: {
      groups: [
        { kind: "full", blockSize: 8 },
        { kind: "mamba", blockSize: 16 },
      ],
      blocks: 2 * BLOCKS,
      hashBlockSize: 4,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "full, window and mamba of three block sizes",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "window", blockSize: 8, window: 12 },
        { kind: "mamba", blockSize: 16 },
      ],
      blocks: 3 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "full and mamba, eagle",
    cache: {
      groups: [
        { kind: "full", blockSize: 4, eagle: true },
        { kind: "mamba", blockSize: 8 },
      ],
      blocks: 2 * BLOCKS,
      eagle: true,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "two full groups",
    cache: {
      groups: [
        { kind: "full", blockSize: 4 },
        { kind: "full", blockSize: 8 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: { ...ORDINARY, loras: ["adapter-a"], salts: ["tenant"] },
    since: "0.33.0",
  },
  {
    name: "two windows",
    cache: {
      groups: [
        { kind: "window", blockSize: 4, window: 6 },
        { kind: "window", blockSize: 4, window: 14 },
      ],
      blocks: 2 * BLOCKS,
    },
    shape: ORDINARY,
    since: "0.33.0",
  },
  {
    name: "full and window, lookahead, adapters and salts",
    cache: {
      groups: [
        { kind: "full", blockSize: 4, eagle: true },
        { kind: "window", blockSize: 4, window: 8 },
      ],
      blocks: 2 * BLOCKS,
      eagle: true,
      lookahead: 2,
    },
    shape: { ...ORDINARY, loras: ["adapter-a"], salts: ["tenant"] },
    since: "0.33.0",
  },
];

/** What the model has beyond the manager: chunks on the host, which a connector keeps. */
export const OFFLOAD_SCENARIOS: readonly Scenario[] = [
  {
    name: "offload of single blocks",
    cache: {
      groups: [{ kind: "full", blockSize: 4 }],
      blocks: BLOCKS / 2,
      offload: { blocksPerChunk: 1, chunks: 60, describesItself: true },
    },
    shape: { ...ORDINARY, loras: ["adapter-a"], resets: 0 },
    since: "0.24.0",
  },
  {
    name: "offload of chunks that describe themselves",
    cache: {
      groups: [{ kind: "full", blockSize: 4 }],
      blocks: BLOCKS / 2,
      offload: { blocksPerChunk: 4, chunks: 15, describesItself: true },
    },
    shape: { ...ORDINARY, resets: 0 },
    since: "0.24.0",
  },
  {
    name: "offload of chunks by name",
    cache: {
      groups: [{ kind: "full", blockSize: 4 }],
      blocks: BLOCKS / 2,
      offload: { blocksPerChunk: 4, chunks: 15, describesItself: false },
    },
    shape: { ...ORDINARY, resets: 0 },
    since: "0.24.0",
  },
];

/** What SGLang's radix tree can be set up as; its pages are blocks of one group. */
export const SGLANG_SCENARIOS: readonly Scenario[] = [
  {
    name: "pages of 4",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: ORDINARY,
    since: "0.5.5",
  },
  {
    name: "pages of 1",
    cache: { groups: [{ kind: "full", blockSize: 1 }], blocks: 4 * BLOCKS },
    shape: ORDINARY,
    since: "0.5.5",
  },
  {
    name: "pairs of tokens (EAGLE)",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS, eagle: true, lookahead: 1 },
    shape: ORDINARY,
    since: "0.5.18",
  },
  {
    name: "salts",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: { ...ORDINARY, salts: ["tenant"] },
    since: "0.5.18",
  },
  {
    name: "adapters",
    cache: { groups: [{ kind: "full", blockSize: 4 }], blocks: BLOCKS },
    shape: { ...ORDINARY, loras: ["adapter-a", "adapter-b"] },
    since: "0.5.23",
  },
];
