/**
 * The choice of the ingest worker that follows a new rank, and of the stream that moves from a busy worker to an idle one.
 *
 * Invariants
 *  M1  A stream moves at most once in COOLDOWN_MS.
 *  M2  A stream moves only where the move makes the difference between the workers smaller.
 *  M3  A new rank goes to a worker that has the fewest ranks, and among these to the one with most of its model. A block that
 *      ranks of two workers hold takes memory twice.
 *
 * `ingest-pool.ts` decides when a stream has to move, and moves it.
 */

/** Milliseconds after its move in which a stream stays where it is. */
export const COOLDOWN_MS = 30_000;

/** A stream of the busy worker. */
export interface MovableStream {
  /** Messages applied in the last second. */
  readonly rate: number;
  /** When it moved last; minus infinity for a stream that never moved. */
  readonly movedMs: number;
}

/**
 * Chooses the worker of a new rank (M3).
 *
 * @param model - of the rank.
 * @param workers - how many there are.
 * @param followed - the ranks that have a worker.
 * @returns the number of a worker.
 */
export function workerForRank(
  model: string,
  workers: number,
  followed: readonly { readonly worker: number; readonly rank: { readonly model: string } }[],
): number {
  const counts = Array.from({ length: workers }, (_, worker) => {
    const own = followed.filter((one) => one.worker === worker);
    return { worker, all: own.length, ofModel: own.filter((one) => one.rank.model === model).length };
  });
  counts.sort((a, b) => a.all - b.all || b.ofModel - a.ofModel || a.worker - b.worker);
  return counts[0]?.worker ?? 0;
}

/**
 * Chooses the stream whose move makes the difference smallest.
 *
 * @param own - the streams of the busiest worker, by rank slot.
 * @param excess - by how much this worker is busier than the idlest, as a share of its own load.
 * @param nowMs - the clock of `movedMs`.
 * @returns a rank slot; `null` when no stream may move.
 */
export function streamToMove(
  own: readonly (readonly [number, MovableStream])[],
  excess: number,
  nowMs: number,
): number | null {
  const load = own.reduce((sum, [, { rate }]) => sum + rate, 0);
  if (load === 0) return null;
  const distance = (rate: number): number => Math.abs(rate / load - excess / 2);
  const [best] = own
    .filter(([, { rate, movedMs }]) => rate > 0 && rate / load < excess && nowMs - movedMs > COOLDOWN_MS)
    .sort(([, one], [, other]) => distance(one.rate) - distance(other.rate));
  return best?.[0] ?? null;
}
