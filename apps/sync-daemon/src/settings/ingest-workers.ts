/**
 * The number of ingest workers: ingest.workers, or as many as the machine has cores for. A lookup needs a core, too.
 *
 *     cores       1 … 3   4   8   17 and more
 *     workers     1       3   7   16
 *
 * The setting stays unset in what is shown and compared: replicas with other machines have the same settings.
 */
import { availableParallelism } from "node:os";

import { INGEST_WORKERS_MAX } from "../board/stream-board.ts";

/** From so many cores on, several workers have a core each. */
const CORES_MIN = 4;

/**
 * Says how many workers there are.
 *
 * @param settings - section `ingest`.
 * @param cores - that the process may use.
 */
export function ingestWorkers(
  { workers }: { readonly workers: number | null },
  cores: number = availableParallelism(),
): number {
  return workers ?? (cores < CORES_MIN ? 1 : Math.min(cores - 1, INGEST_WORKERS_MAX));
}
