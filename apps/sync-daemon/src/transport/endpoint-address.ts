/**
 * Where an endpoint is, as node:net wants it.
 *
 * A name resolves to IPv4 by the system. An IPv6 address may have a zone. `tcp://source;host:port` dials from an address or
 * interface of this machine. `ipc://path` is a Unix domain socket, and `ipc://@name` one in Linux's abstract namespace.
 *
 * Source: libzmq's zmq_tcp(7) and zmq_ipc(7).
 */

import { isIP, type NetConnectOpts } from "node:net";
import { networkInterfaces } from "node:os";

const PORT_MAX = 65_535;

/**
 * How to connect to an endpoint.
 *
 * @param endpoint - tcp or ipc.
 * @returns null for what is no such address.
 */
export function dialOptions(endpoint: string): NetConnectOpts | null {
  const [, path] = /^ipc:\/\/(\S+)$/.exec(endpoint) ?? [];
  if (path !== undefined) return { path: path.startsWith("@") ? `\0${path.slice(1)}` : path };
  const [, source, target] = /^tcp:\/\/(?:([^;\s]+);)?(\S+)$/.exec(endpoint) ?? [];
  const to = hostAndPort(target ?? "");
  if (to === null || to.port === 0) return null;
  const family = isIP(to.host) === 6 ? 6 : 4;
  const options = { host: to.host, port: to.port, family };
  if (source === undefined) return options;
  const from = hostAndPort(source) ?? { host: source.replace(/^\[(.*)\]$/, "$1"), port: 0 };
  const localAddress = isIP(from.host) === 0 ? addressOfInterface(from.host, family) : from.host;
  if (localAddress === null) return null;
  return { ...options, localAddress, ...(from.port === 0 ? {} : { localPort: from.port }) };
}

/**
 * Where to listen.
 *
 * @param endpoint - tcp with an address; port 0 or * takes a free one.
 * @returns null for what is no such address.
 */
export function listenOptions(endpoint: string): { readonly host: string; readonly port: number } | null {
  const [, target] = /^tcp:\/\/(\S+)$/.exec(endpoint) ?? [];
  const at = hostAndPort(target ?? "");
  return at === null || isIP(at.host) === 0 ? null : at;
}

function hostAndPort(text: string): { readonly host: string; readonly port: number } | null {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5}|\*)$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined || (bracketed !== undefined && isIP(bracketed) !== 6))
    return null;
  const number = port === "*" ? 0 : Number(port);
  return number > PORT_MAX ? null : { host, port: number };
}

function addressOfInterface(name: string, family: number): string | null {
  const addresses = networkInterfaces()[name] ?? [];
  return addresses.find((one) => one.family === `IPv${family}`)?.address ?? null;
}
