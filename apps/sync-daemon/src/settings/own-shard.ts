/**
 * The shard that this daemon is: a number of the settings, or the one at the end of the host name.
 *
 *     kvsync-11, shard.index: ordinal, shard.count: 8 ─▶ shard 3
 *
 * A StatefulSet calls its pods by their ordinals. Pods beyond the first `shard.count` are further
 * replicas of the same shards.
 */

import { FleetShard } from "../engine/fleet-shard.ts";
import { settingsError } from "./settings-error.ts";
import { ORDINAL, type ShardSettings } from "./shard-settings.ts";

const EXPECTED = "a host name that ends in a hyphen and a number, as those of a StatefulSet's pods";

/**
 * Finds the shard.
 *
 * @param settings - section `shard`, checked.
 * @param host - this machine's name: the pod's, in Kubernetes.
 * @returns the shard; the whole fleet when there is one.
 * @throws SettingsError when the host name has no ordinal and the settings rely on it.
 */
export function ownShard({ index, count }: ShardSettings, host: string): FleetShard {
  if (index !== ORDINAL) return new FleetShard(index, count);
  const [name = ""] = host.split(".");
  const ordinal = /-(\d{1,9})$/.exec(name)?.[1];
  if (ordinal !== undefined) return new FleetShard(Number(ordinal) % count, count);
  throw settingsError([
    {
      fault: { code: "unusable_setting", setting: "shard.index", source: "host name", expected: EXPECTED },
      line: `shard.index: ordinal is not usable on the host ${JSON.stringify(host)}; expected ${EXPECTED}, or a number here`,
    },
  ]);
}
