/**
 * The watch of the pool that the settings name, and its lines in the log.
 *
 *     settings, registry ─▶ PoolSource ─▶ endpoints ─▶ the picker's thread
 *                                └─▶ log: pool_stale, pool_current, pool_ports_unusable
 *
 * The API server, the account and the pauses are those of `discovery.kubernetes`.
 */
import { credentialReader } from "../discovery/kubernetes/credentials.ts";
import { watchTimes } from "../discovery/discovery.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { WriteEvent } from "../log/log-line.ts";
import type { Settings } from "../settings/settings.ts";
import type { PoolNews } from "./engine-feed.ts";
import { PoolSource } from "./pool-source.ts";

/** What a watch works with. */
export interface PoolWatchDependencies {
  readonly registry: EngineRegistry;
  readonly log: WriteEvent;
  readonly changed: (news: PoolNews) => void;
}

/**
 * Starts the watch.
 *
 * @param settings - of the daemon.
 * @returns null when they name no pool. Stop it.
 */
export function watchPool(
  { picker, discovery }: Settings,
  { registry, log, changed }: PoolWatchDependencies,
): PoolSource | null {
  const { name, namespace, group } = picker.pool;
  if (name === null) return null;
  const { kubernetes } = discovery;
  const credentials = credentialReader(kubernetes.kubeconfig);
  const source = new PoolSource(
    { name, namespace, group, credentials, times: watchTimes(kubernetes) },
    {
      engineOf: (id) => registry.engine(id)?.engine ?? registry.elsewhere.engine(id),
      listener: {
        changed: (engines, standing) => {
          changed({ engines, standing });
        },
        stale: (message) => {
          log("pool_stale", { pool: name }, { text: message });
        },
        current: () => {
          log("pool_current", { pool: name });
        },
        unusable: (message) => {
          log("pool_ports_unusable", { pool: name }, { text: message });
        },
      },
    },
  );
  registry.onChange(() => {
    source.enginesChanged();
  });
  source.start();
  return source;
}
