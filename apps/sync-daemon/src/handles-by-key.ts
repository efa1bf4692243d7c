/**
 * One metric handle for each value of a closed label, made at once so that each series exports its zero.
 *
 * It does not release handles: their owner does.
 */

/**
 * Makes a value for each key.
 *
 * @param keys - of a closed set.
 * @param make - called once for each.
 * @returns the values by key.
 */
export function byKey<Key extends string, Value>(
  keys: readonly Key[],
  make: (key: Key) => Value,
): Record<Key, Value> {
  return Object.fromEntries(keys.map((key) => [key, make(key)])) as Record<Key, Value>;
}
