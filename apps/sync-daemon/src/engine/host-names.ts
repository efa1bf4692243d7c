/**
 * Names of hosts in endpoints, and their addresses.
 *
 *   tcp://name:port ─▶ every address of the name, IPv4 before IPv6 ─▶ tcp://address:port
 *
 * Names are resolved here and not by libzmq: it looks for addresses of one family only, and stands still meanwhile.
 */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

/** A resolver that is slower than this is broken. */
const RESOLVE_TIMEOUT_MS = 5000;

/** Resolves a name to all of its addresses; rejects with a `code` where there are none. */
export type Resolver = (host: string) => Promise<readonly string[]>;

/**
 * The name in an endpoint.
 *
 * @param endpoint - as in an engine's entry.
 * @returns null where there is none: an address, a path, or a form of libzmq's own.
 */
export function hostNameOf(endpoint: string): string | null {
  const [, host = ""] = /^tcp:\/\/([^:[\];]+):\d+$/.exec(endpoint) ?? [];
  return host === "" || isIP(host) !== 0 ? null : host;
}

/**
 * An endpoint at an address.
 *
 * @param endpoint - tcp, with any host.
 * @param address - IPv4 or IPv6.
 * @returns the endpoint with the address in the host's place.
 */
export function endpointAt(endpoint: string, address: string): string {
  const port = endpoint.slice(endpoint.lastIndexOf(":") + 1);
  return `tcp://${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
}

/**
 * The address of a name to dial: IPv4 where there is one, since an engine that listens on all IPv4 addresses, as they do by
 * default, is not at the IPv6 address that its host has too.
 *
 * @param addresses - of the name.
 * @returns undefined when there are none.
 */
export function preferredAddress(addresses: readonly string[]): string | undefined {
  return addresses.find((address) => isIP(address) === 4) ?? addresses[0];
}

/**
 * The system's resolver: its hosts file, its DNS servers.
 *
 * @param host - a name.
 * @returns its addresses.
 * @throws whatever the system says, or an error after five seconds without an answer.
 */
export async function systemResolver(host: string): Promise<readonly string[]> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no answer within ${RESOLVE_TIMEOUT_MS} ms`));
    }, RESOLVE_TIMEOUT_MS);
  });
  try {
    const found = await Promise.race([lookup(host, { all: true }), overdue]);
    return found.map(({ address }) => address);
  } finally {
    clearTimeout(timer);
  }
}
