/**
 * Names of hosts in endpoints, and their addresses.
 *
 *   tcp://name:port ─▶ every address of the name, IPv4 before IPv6 ─▶ tcp://address:port
 *
 * Names are resolved here and not by libzmq: it looks for addresses of one family only, and stands still meanwhile.
 */

import { lookup, Resolver as DnsResolver } from "node:dns/promises";
import { isIP } from "node:net";

/** A resolver that is slower than this is broken. */
const RESOLVE_TIMEOUT_MS = 5000;

/** Names resolved at once: the system's resolver takes a thread of the process's pool of four for as long as it waits, and files are read by the same threads. */
const LOOKUPS_MAX = 2;
/** Requests to one DNS server before the next is asked. */
const TRIES = 2;

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
 * The addresses of a name to dial, in turn: IPv4 first, since an engine that listens on all IPv4 addresses, as they do by
 * default, is not at the IPv6 address that its host has too.
 *
 * @param addresses - of the name.
 * @returns at most one of each family; none when there are none.
 */
export function addressesToDial(addresses: readonly string[]): readonly string[] {
  const firstOf = (family: number): string | undefined =>
    addresses.find((address) => isIP(address) === family);
  return [firstOf(4), firstOf(6)].filter((address) => address !== undefined);
}

/**
 * The resolver that the settings ask for.
 *
 * @param servers - DNS servers as address or address:port; none for the system's resolver.
 * @returns it.
 */
export function resolverOf(servers: readonly string[]): Resolver {
  if (servers.length === 0) return inTurns(systemResolver);
  const resolver = new DnsResolver({ timeout: RESOLVE_TIMEOUT_MS / TRIES, tries: TRIES });
  resolver.setServers(servers);
  return inTurns(async (host) => {
    const both = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const found = both.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    const [failed] = both.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
    if (found.length === 0 && failed instanceof Error) throw failed;
    return found;
  });
}

/**
 * Makes a resolver that asks for LOOKUPS_MAX names at a time, and once for all who want a name meanwhile: a fleet behind one
 * name is one question.
 *
 * @param resolve - asks.
 * @returns the same answers and errors.
 */
export function inTurns(resolve: Resolver): Resolver {
  const lookups = new Map<string, Promise<readonly string[]>>();
  const waiting: (() => void)[] = [];
  let running = 0;
  const ask: Resolver = async (host) => {
    if (running >= LOOKUPS_MAX) await new Promise<void>((turn) => waiting.push(turn));
    running += 1;
    try {
      return await resolve(host);
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
  return (host) => {
    const known = lookups.get(host);
    if (known !== undefined) return known;
    const asked = ask(host).finally(() => {
      lookups.delete(host);
    });
    lookups.set(host, asked);
    return asked;
  };
}

/**
 * The system's resolver: its hosts file, its DNS servers.
 *
 * @param host - a name.
 * @returns its addresses.
 * @throws whatever the system says, or an error after five seconds without an answer.
 */
async function systemResolver(host: string): Promise<readonly string[]> {
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
