/**
 * Whether several threads can listen at one port (SO_REUSEPORT), which `picker.threads` above 1 needs.
 *
 *     listen alone ──▶ taken? the system's own error ──▶ listen so that others may, too ──▶ refused? the system cannot
 *
 * Threads that share a port also share it with any other process of this user that listens in this way. So a port is
 * listened at alone first: a second daemon fails to start, instead of getting some of the first one's connections.
 */

import { createServer } from "node:net";

import { settingsError, type ToldFault } from "./settings-error.ts";

/** The settings that it depends on. */
interface SharedPort {
  readonly threads: number;
  readonly host: string;
  readonly port: number;
}

/**
 * Looks whether the threads can share their port. Nothing is left open.
 *
 * @returns null when they can; the fault, or the error of a port that cannot be listened at by anyone.
 */
export async function sharedPortFault({
  threads,
  host,
  port,
}: SharedPort): Promise<ToldFault | NodeJS.ErrnoException | null> {
  const alone = await listenError({ host, port, exclusive: true });
  if (alone !== null) return alone;
  const shared = await listenError({ host, port, exclusive: true, reusePort: true });
  if (shared === null) return null;
  const expected = "1 on this system";
  return {
    fault: { code: "unusable_setting", setting: "picker.threads", source: String(threads), expected },
    line: `picker.threads: ${threads}: this system cannot share a port among threads (SO_REUSEPORT: ${shared.code ?? shared.message}); expected ${expected}`,
  };
}

/**
 * Refuses a start whose threads cannot share their port.
 *
 * @throws SettingsError when the system cannot do that; the system's error for a port that is taken.
 */
export async function refuseUnsharedPort(picker: SharedPort): Promise<void> {
  const found = await sharedPortFault(picker);
  if (found === null) return;
  throw found instanceof Error ? found : settingsError([found]);
}

function listenError(options: {
  readonly host: string;
  readonly port: number;
  readonly exclusive: boolean;
  readonly reusePort?: boolean;
}): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", resolve);
    server.listen(options, () => {
      server.close(() => {
        resolve(null);
      });
    });
  });
}
