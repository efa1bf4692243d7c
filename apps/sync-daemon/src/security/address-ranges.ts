/** Ranges of IP addresses, and the one spelling in which addresses are compared. */

import { BlockList, isIP, SocketAddress } from "node:net";

import { type AddressRange, readRange } from "../settings/security-settings.ts";

/** Addresses that belong to nobody beyond the site (RFC 1918, 6598, 4193). */
export const PRIVATE_RANGES: readonly string[] = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "fc00::/7",
];
/** Addresses of this machine alone. */
export const LOOPBACK_RANGES: readonly string[] = ["127.0.0.0/8", "::1"];

/** A set of addresses. */
export class AddressRanges {
  readonly #list = new BlockList();

  /** @param ranges - as the settings have them; what is no range adds nothing. */
  constructor(ranges: readonly string[]) {
    for (const range of ranges.map(readRange).filter((read): read is AddressRange => read !== null))
      this.#list.addSubnet(range.address, range.prefix, range.family);
  }

  /**
   * Whether an address is in one of the ranges.
   *
   * @param address - IPv4 or IPv6, in one spelling.
   * @returns false for what is no address.
   */
  has(address: string): boolean {
    const version = isIP(address);
    return version !== 0 && this.#list.check(address, version === 6 ? "ipv6" : "ipv4");
  }
}

/**
 * An address in the spelling in which it is compared.
 *
 * @param address - IPv4 or IPv6.
 * @returns the shortest form, IPv4 where IPv6 only maps it.
 */
export function inOneSpelling(address: string): string {
  if (isIP(address) !== 6) return address;
  const short = new SocketAddress({ address, family: "ipv6" }).address;
  const mapped = short.replace(/^::ffff:/, "");
  return isIP(mapped) === 4 ? mapped : short;
}
