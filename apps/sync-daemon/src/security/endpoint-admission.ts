/**
 * The allowed addresses of engines that are registered over HTTP. Without a bound, a registering
 * client could make the daemon connect to any address that it can reach. The answer would reveal
 * the service there (server-side request forgery).
 *
 *   tcp://name:port ─▶ addresses of the name ─▶ all of them allowed? ─▶ tcp://address:port, which is followed
 *
 * Invariants
 *  E1  The daemon connects only to an address that was checked.
 *  E2  One address outside of the ranges refuses the name.
 *  E3  An address is used in one spelling (address-ranges.ts), so that one socket cannot be two
 *      engines'.
 *
 * http-registrations.ts checks the new address of a name that moves before the engine is followed there.
 *
 * Not here: engines of the configuration file, which the operator wrote.
 */

import { isIP } from "node:net";

import { CodedError } from "@kvsync/core";

import type { Engine, EngineRank } from "../engine/engine-entry.ts";
import { addressesToDial, endpointAt, type Resolver } from "../engine/host-names.ts";
import { AddressRanges, inOneSpelling, LOOPBACK_RANGES, PRIVATE_RANGES } from "./address-ranges.ts";

/**
 * Where clouds answer whoever is on the machine with the machine's own credentials, though their addresses look private: AWS (metadata, pod identities),
 * Google, Alibaba. Others are link-local, which no range above has.
 */
const METADATA_RANGES = ["fd00:ec2::/32", "fd20:ce::254", "100.100.100.200"];
/** RFC 1123, and the underscore that container engines put into names. Neither libzmq's source addresses nor its interfaces can be written so. */
const HOST_LABEL = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/;

/** Facts of an endpoint that is refused. */
export type AdmissionFacts =
  | {
      readonly code: "endpoint_not_allowed";
      readonly endpoint: string;
      /** Outside of the ranges; null when the endpoint is no tcp address at all. */
      readonly address: string | null;
      readonly allowed: readonly string[];
    }
  | { readonly code: "endpoint_unresolvable"; readonly endpoint: string; readonly reason: string };

/** An endpoint that is refused. */
export class AdmissionError extends CodedError<AdmissionFacts> {}

/** Decides where registered engines may be. */
export class EndpointAdmission {
  readonly #allowed: readonly string[];
  readonly #ranges: AddressRanges;
  /** Refused though in the ranges. Empty for ranges that are given: then they mean what they say. */
  readonly #never: AddressRanges;
  readonly #resolve: Resolver;

  /**
   * @param ranges - as the settings have them; null for the ones that fit where the daemon listens.
   * @param isLocal - whether the daemon listens on loopback alone: then engines may be there too.
   * @param resolve - gives the addresses of names.
   */
  constructor(ranges: readonly string[] | null, isLocal: boolean, resolve: Resolver) {
    this.#allowed = ranges ?? [...PRIVATE_RANGES, ...(isLocal ? LOOPBACK_RANGES : [])];
    this.#resolve = resolve;
    this.#ranges = new AddressRanges(this.#allowed);
    this.#never = new AddressRanges(ranges === null ? METADATA_RANGES : []);
  }

  /**
   * Checks an engine's endpoints.
   *
   * @param engine - as registered.
   * @param current - the same engine with the addresses that are dialled now: a name that still has its address keeps it.
   * @returns the engine with addresses in place of names (E1).
   * @throws AdmissionError endpoint_not_allowed, endpoint_unresolvable.
   */
  async admit(engine: Engine, current: Engine | null = null): Promise<Engine> {
    if (engine.bind) {
      const why = "the daemon listens (bind) only for engines of the configuration file";
      throw this.#notAllowed(engine.ranks[0]?.endpoint ?? "", null, why);
    }
    const addresses = new Map<string, Promise<readonly string[]>>();
    const pinned = async (endpoint: string, now: string | null): Promise<string> => {
      const host = this.#hostOf(endpoint);
      const asked = addresses.get(host) ?? this.#allowedAddresses(host, endpoint);
      addresses.set(host, asked);
      const found = await asked;
      const kept = found.map((address) => endpointAt(endpoint, address)).find((one) => one === now);
      return kept ?? endpointAt(endpoint, addressesToDial(found)[0] ?? "");
    };
    const ranks: EngineRank[] = [];
    for (const [i, { dpRank, endpoint, replayEndpoint }] of engine.ranks.entries()) {
      const now = current?.ranks[i];
      ranks.push({
        dpRank,
        endpoint: await pinned(endpoint, now?.endpoint ?? null),
        replayEndpoint:
          replayEndpoint === null ? null : await pinned(replayEndpoint, now?.replayEndpoint ?? null),
      });
    }
    return { ...engine, ranks };
  }

  #hostOf(endpoint: string): string {
    const [, bracketed, plain, port] = /^tcp:\/\/(?:\[([^\]]+)\]|([^:[\]]+)):(\d+)$/.exec(endpoint) ?? [];
    const host = bracketed ?? plain ?? "";
    const isUsable =
      bracketed === undefined
        ? isIP(host) === 4 || isHostName(host)
        : isIP(host) === 6 && !host.includes("%");
    if (!isUsable || port === undefined) {
      throw this.#notAllowed(
        endpoint,
        null,
        "expected tcp://address:port or tcp://name:port for an engine registered over HTTP",
      );
    }
    return host;
  }

  async #allowedAddresses(host: string, endpoint: string): Promise<readonly string[]> {
    const isName = isIP(host) === 0;
    const found = (isName ? await this.#addressesOf(host, endpoint) : [host]).map(inOneSpelling);
    for (const address of found) {
      const why = this.#whyNot(address);
      if (why === null) continue;
      throw this.#notAllowed(endpoint, address, `${isName ? `${host} is ${address}, which is ` : ""}${why}`);
    }
    return found;
  }

  async #addressesOf(host: string, endpoint: string): Promise<readonly string[]> {
    const unresolvable = (reason: string, cause?: unknown): AdmissionError =>
      new AdmissionError(
        { code: "endpoint_unresolvable", endpoint, reason },
        `${endpoint}: no address for ${host}: ${reason}`,
        { cause },
      );
    let found: readonly string[];
    try {
      found = await this.#resolve(host);
    } catch (error) {
      const { code } = error as { readonly code?: string };
      throw unresolvable(code ?? (error instanceof Error ? error.message : String(error)), error);
    }
    if (found.length === 0) throw unresolvable("it has neither an IPv4 nor an IPv6 address");
    return found;
  }

  /** What an address is that no engine may have; null for one that it may. */
  #whyNot(address: string): string | null {
    if (!this.#ranges.has(address))
      return `outside of security.registration_ranges (${this.#allowed.join(", ")})`;
    if (!this.#never.has(address)) return null;
    return "where a cloud hands out credentials; allowed only by security.registration_ranges that are given and have it";
  }

  #notAllowed(endpoint: string, address: string | null, why: string): AdmissionError {
    const facts = { code: "endpoint_not_allowed", endpoint, address, allowed: this.#allowed } as const;
    return new AdmissionError(facts, `${endpoint}: ${why}`);
  }
}

/** One look at each character: a single expression for all labels would try every way to cut a long text into labels, for hours. */
function isHostName(host: string): boolean {
  return host
    .replace(/\.$/, "")
    .split(".")
    .every((label) => HOST_LABEL.test(label));
}
