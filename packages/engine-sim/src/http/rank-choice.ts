/**
 * Chooses the data-parallel rank of a worker that serves a request. `x-data-parallel-rank` names it.
 * Otherwise it is the least loaded one by vLLM's score, four for a waiting request and one for a
 * running one. Equals take turns.
 *
 * Source: vllm/v1/engine/core_client.py (get_core_engine_for_request of the internal load balancer).
 */
import { EngineError } from "../engine-error.ts";
import type { SimulatedEngine } from "../simulated-engine.ts";

/** The header that names a rank. */
export const RANK_HEADER = "x-data-parallel-rank";

const WAITING_WEIGHT = 4;

/** Chooses among the ranks of one HTTP port. */
export class RankChoice<Rank extends { readonly engine: SimulatedEngine }> {
  readonly #ranks: readonly Rank[];
  #turn = 0;

  /** @param ranks - at least one. */
  constructor(ranks: readonly Rank[]) {
    this.#ranks = ranks;
  }

  /**
   * The rank for a request.
   *
   * @param named - the header's value, if there is one.
   * @throws EngineError `unknown_rank`.
   */
  choose(named: string | undefined): Rank {
    return named === undefined ? this.#leastLoaded() : this.named(named);
  }

  /**
   * The rank of a number.
   *
   * @throws EngineError `unknown_rank`.
   */
  named(number: string): Rank {
    const found = this.#ranks.find(({ engine }) => String(engine.settings.dpRank) === number);
    if (found !== undefined) return found;
    const served = this.#ranks.map(({ engine }) => engine.settings.dpRank).join(", ");
    throw new EngineError(
      { code: "unknown_rank", rank: number.slice(0, 64) },
      `data-parallel rank ${JSON.stringify(number.slice(0, 64))} is not served at this port; served: ${served}`,
    );
  }

  #leastLoaded(): Rank {
    const count = this.#ranks.length;
    const first = this.#turn++ % count;
    let best: Rank | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const rank = this.#ranks[(first + i) % count];
      if (rank === undefined) continue;
      const { running, waiting } = rank.engine.pressure();
      const load = WAITING_WEIGHT * waiting + running;
      if (load >= least) continue;
      [best, least] = [rank, load];
    }
    if (best === undefined) throw new RangeError("a port serves at least one rank");
    return best;
  }
}
