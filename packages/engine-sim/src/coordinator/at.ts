/** Reads of lists whose bounds the caller's invariants promise. */
import { assert } from "@kvsync/core";

/** The element at an index that is in the list. */
export function at<T>(list: readonly T[], index: number): T {
  assert(index >= 0 && index < list.length, () => `index ${index} of ${list.length}`);
  return list[index] as T;
}
