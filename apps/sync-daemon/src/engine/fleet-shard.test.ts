/** The workers that a shard follows. */
import { expect, test } from "vitest";

import { FleetShard, WHOLE_FLEET } from "./fleet-shard.ts";

test("every worker has one shard, and one shard of one has them all", () => {
  const shards = Array.from({ length: 8 }, (_, index) => new FleetShard(index, 8));
  for (let i = 0; i < 200; i++) {
    expect(shards.filter((shard) => shard.owns(`engine-${i}`))).toHaveLength(1);
    expect(WHOLE_FLEET.owns(`engine-${i}`)).toBe(true);
  }
});
