/**
 * A test's own DNS server on a UDP socket, and the resolver that asks it (RFC 1035). Names have the
 * addresses that the test gives them at the moment, and others do not exist.
 */
import { createSocket, type Socket } from "node:dgram";
import { Resolver as DnsResolver } from "node:dns/promises";
import { once } from "node:events";
import { isIP } from "node:net";

import type { Resolver } from "../src/engine/host-names.ts";

const HEADER_BYTES = 12;
const TYPES = { 1: 4, 28: 6 } as const;
const NO_SUCH_NAME = 3;
const ANSWER_RECURSION = 0x8180;

/** Names and their addresses now. */
export class DnsServer {
  readonly names = new Map<string, readonly string[]>();
  readonly #socket: Socket = createSocket("udp4");
  readonly #resolver = new DnsResolver({ timeout: 1000, tries: 1 });

  static async start(): Promise<DnsServer> {
    const server = new DnsServer();
    server.#socket.on("message", (query, { port }) => {
      server.#socket.send(server.#answer(query), port, "127.0.0.1");
    });
    server.#socket.bind(0, "127.0.0.1");
    await once(server.#socket, "listening");
    server.#resolver.setServers([`127.0.0.1:${server.#socket.address().port}`]);
    return server;
  }

  /** Asks this server for both families, as the system's resolver would. */
  readonly resolve: Resolver = async (host) => {
    const both = await Promise.allSettled([this.#resolver.resolve4(host), this.#resolver.resolve6(host)]);
    const found = both.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    if (found.length === 0) throw Object.assign(new Error(`no address for ${host}`), { code: "ENOTFOUND" });
    return found;
  };

  /** For `discovery.dns_servers`. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  stop(): void {
    this.#resolver.cancel();
    this.#socket.close();
  }

  #answer(query: Buffer): Buffer {
    const labels: string[] = [];
    let at = HEADER_BYTES;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    const question = query.subarray(HEADER_BYTES, at + 5);
    const family = TYPES[query.readUInt16BE(at + 1) as keyof typeof TYPES];
    const known = this.names.get(labels.join(".").toLowerCase());
    const records = (known ?? []).filter((address) => isIP(address) === family).map(recordOf);
    const header = Buffer.alloc(HEADER_BYTES);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(ANSWER_RECURSION | (known === undefined ? NO_SUCH_NAME : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, question, ...records]);
  }
}

/** An A or AAAA record of the name in the question, without life. */
function recordOf(address: string): Buffer {
  const bytes = isIP(address) === 4 ? address.split(".").map(Number) : bytesOfIPv6(address);
  const head = Buffer.from([
    0xc0,
    HEADER_BYTES,
    0,
    bytes.length === 4 ? 1 : 28,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    bytes.length,
  ]);
  return Buffer.concat([head, Buffer.from(bytes)]);
}

function bytesOfIPv6(address: string): number[] {
  const [head = "", tail = ""] = address.split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail)];
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return all.flatMap((group) => [group >> 8, group & 0xff]);
}
