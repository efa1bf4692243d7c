/** Settings of a fleet that is split by engine over several daemons: how many shards there are, and which one this daemon is. */

import { SHARDS_MAX } from "@kvsync/core";
import { z } from "zod";

import { integer, section, SETTING_FACTS } from "./setting-field.ts";

/** What `shard.index` says to use the number at the end of the host name. */
export const ORDINAL = "ordinal";

const INDEX_EXPECTED = `an integer from 0 to ${SHARDS_MAX - 1}, below shard.count; or ordinal`;

/** Section `shard`. */
export const shardSection = section({
  index: z
    .union([z.int(INDEX_EXPECTED).min(0, INDEX_EXPECTED), z.literal(ORDINAL)], INDEX_EXPECTED)
    .refine((index) => index === ORDINAL || index < SHARDS_MAX, INDEX_EXPECTED)
    .default(0)
    .register(SETTING_FACTS, {
      about:
        "The shard that this daemon is. `ordinal`: the number at the end of the host name, which a StatefulSet gives its pods, modulo shard.count.",
      expected: INDEX_EXPECTED,
    }),
  count: integer(
    "Shards of the fleet. Each follows the engines that rendezvous hashing over their ids gives to it.",
    1,
    1,
    SHARDS_MAX,
  ),
});

/** Which part of the fleet is followed. */
export type ShardSettings = z.output<typeof shardSection>;
