/** Addresses of other servers, as the daemon's settings have them. They change with a restart of the daemon only. */
import type { SystemReport } from "@kvsync/client";

import type { Addresses } from "./engine-links.ts";
import { usePolled } from "./polled.ts";

const REFRESH_MS = 300_000;
const NONE: Addresses = { grafana: null, runbooks: null, errors: null };

/** The addresses; none before the daemon answered. */
export function useAddresses(): Addresses {
  return usePolled<SystemReport>("system", REFRESH_MS).answer?.links ?? NONE;
}
