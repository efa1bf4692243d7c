import type { ContextKey, IndexWriter } from "@kvsync/core";

/** Runs one writer's list. */
export function applyStorm(
  writer: IndexWriter,
  storm: {
    readonly ranks: readonly number[];
    readonly contexts: readonly ContextKey[];
    readonly writes: number;
    readonly seed: number;
  },
): void;
