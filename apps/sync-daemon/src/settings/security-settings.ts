/**
 * Settings of who may ask what: tokens, TLS, CURVE, limits on callers, and where engines may be that are registered over HTTP.
 *
 * Secrets stay in files: a value of the environment or of a flag is visible in lists of processes and descriptions of pods.
 */

import { isIP } from "node:net";

import { z } from "zod";

import type { Engine } from "../engine/engine-entry.ts";

import { flag, integer, seconds, section, SETTING_FACTS, text } from "./setting-field.ts";

const MIB = 1024 * 1024;
const RANGES_EXPECTED = "a list of address ranges such as 10.0.0.0/8 or fd00::/8";
/** Each registration is compared with all of them. */
const RANGES_MAX = 64;

function ranges(about: string) {
  return z
    .array(z.string(RANGES_EXPECTED), RANGES_EXPECTED)
    .max(RANGES_MAX, `at most ${RANGES_MAX} ranges`)
    .refine((list) => list.every((range) => readRange(range) !== null), RANGES_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected: RANGES_EXPECTED, textForm: "list" });
}

/** Section `security`. */
export const securitySection = section({
  tokens_file: text(
    "YAML file with callers' bearer tokens: name, scope (read or admin), and token or sha256 of each. Read again when it changes.",
    null,
  ),
  trust_every_caller_on_the_network: flag(
    "Listen beyond loopback without tokens: every caller that reaches the port may do everything. For meshes that authenticate before.",
    false,
  ),
  open_monitoring: flag("Answer /metrics and the health reports without a token.", false),
  registration_ranges: ranges(
    "Where engines may be that are registered over HTTP. Unset: private addresses; when listening on loopback alone, loopback too.",
  ),
  publisher_ranges: ranges(
    "From where engines may connect to the addresses of entries with bind. Unset: private addresses and loopback.",
  ),
  reload_seconds: seconds("Time between two looks at files of tokens and certificates.", 10, 0.1, 3600),
});

/** Section `tls`. */
export const tlsSection = section({
  cert_file: text(
    "PEM file with the certificate chain for HTTPS; unset for plain HTTP. Read again when it changes.",
    null,
  ),
  key_file: text("PEM file with the certificate's private key.", null),
  client_ca_file: text(
    "PEM file with the authorities of client certificates; set, every caller needs one.",
    null,
  ),
});

/** Section `curve`. */
export const curveSection = section({
  server_key_file: text(
    "File with the CURVE public key, 40 characters of Z85, of engines without one of their own; unset for plain ZeroMQ to these.",
    null,
  ),
  client_key_file: text(
    "File with this daemon's CURVE public and secret key, a line each; unset for fresh ones.",
    null,
  ),
});

/** Section `callers`. */
export const callersSection = section({
  connections: integer(
    "HTTP connections at once; fewer when the limit on open files is low.",
    1024,
    1,
    65_536,
  ),
  connections_per_address: integer(
    "HTTP connections of one address (of IPv6: one /64) at once; its longest idle one is closed for a new one.",
    512,
    1,
    65_536,
  ),
  bodies_bytes: integer(
    "Bytes of all bodies that are received and answered at once; half of it for one address.",
    256 * MIB,
    MIB,
    65_536 * MIB,
  ),
  request_seconds: seconds(
    "Longest time for a request, or a TLS handshake, to arrive, and for which a caller may take nothing of an answer.",
    30,
    1,
    3600,
  ),
  keep_alive_seconds: seconds(
    "Time that an idle connection is kept; longer than a proxy keeps it, or its requests meet closed connections.",
    3660,
    1,
    86_400,
  ),
  read_per_second: integer(
    "Requests with read scope of a token, or of an address; 0 for no limit.",
    0,
    0,
    1_000_000,
  ),
  admin_per_second: integer("The same for admin scope.", 0, 0, 1_000_000),
  refused_per_second: integer(
    "Requests of an address without a good token; 0 for no limit.",
    20,
    0,
    1_000_000,
  ),
});

/** Who may ask what. */
type SecuritySettings = z.output<typeof securitySection>;
/** How callers are limited. */
export type CallerSettings = z.output<typeof callersSection>;
/** What HTTPS is served with. */
export type TlsSettings = z.output<typeof tlsSection>;
/** What engines are spoken to with. */
export type CurveSettings = z.output<typeof curveSection>;

/** A range of addresses. */
export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/**
 * Reads a range.
 *
 * @param range - as 10.0.0.0/8; an address alone is a range of one.
 * @returns null when it is none.
 */
export function readRange(range: string): AddressRange | null {
  const [, address = "", prefix] = /^([\da-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(range) ?? [];
  const version = isIP(address);
  if (version === 0) return null;
  const bits = version === 4 ? 32 : 128;
  const length = prefix === undefined ? bits : Number(prefix);
  return length > bits ? null : { address, prefix: length, family: version === 4 ? "ipv4" : "ipv6" };
}

/**
 * Whether an address to listen on can be reached from this machine alone.
 *
 * @param host - an address or a name.
 * @returns false for names other than localhost, which may mean anything.
 */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** What the rules between settings look at. */
interface Ruled {
  readonly http: { readonly host: string };
  readonly security: SecuritySettings;
  readonly tls: TlsSettings;
  readonly curve: CurveSettings;
  readonly engines: readonly Pick<Engine, "id" | "bind" | "curveServerKey">[];
  readonly discovery: { readonly kubernetes: { readonly enabled: boolean | null } };
}

type Refuse = (path: readonly [string, string], expected: string) => void;

/**
 * The rules between settings: nothing is open by mistake, and no half of a pair is missing.
 *
 * @param settings - each by itself checked.
 * @param refuse - called with the path that is to blame and what was expected.
 */
export function refuseOpenDoors(settings: Ruled, refuse: Refuse): void {
  refuseWithoutTokens(settings, refuse);
  refuseHalfTls(settings, refuse);
  refuseHalfCurve(settings, refuse);
}

function refuseWithoutTokens({ http, security }: Ruled, refuse: Refuse): void {
  const isTrusting = security.trust_every_caller_on_the_network === true;
  if (security.tokens_file === null && !isTrusting && !isLoopback(http.host)) {
    refuse(
      ["security", "tokens_file"],
      `a file of tokens, because http.host ${http.host} can be reached from other machines. Alternatives: http.host 127.0.0.1, or security.trust_every_caller_on_the_network true where a proxy authenticates callers`,
    );
  }
  if (security.tokens_file !== null && isTrusting) {
    refuse(
      ["security", "trust_every_caller_on_the_network"],
      "false with security.tokens_file: one of the two decides",
    );
  }
}

function refuseHalfTls({ tls }: Ruled, refuse: Refuse): void {
  if (tls.cert_file !== null && tls.key_file === null)
    refuse(["tls", "key_file"], "the key of tls.cert_file");
  if (tls.cert_file === null && tls.key_file !== null)
    refuse(["tls", "cert_file"], "the certificate of tls.key_file");
  if (tls.cert_file === null && tls.client_ca_file !== null)
    refuse(
      ["tls", "cert_file"],
      "a certificate with tls.client_ca_file: client certificates belong to HTTPS",
    );
}

function refuseHalfCurve({ curve, engines, discovery }: Ruled, refuse: Refuse): void {
  // Only the side that has the server's key can refuse a peer, and with CURVE that is the engine.
  const binding = engines.find((engine) => engine.bind);
  if (curve.server_key_file !== null && binding !== undefined)
    refuse(
      ["curve", "server_key_file"],
      `no key, since engine ${binding.id} has bind: engines that connect are not spoken to with CURVE`,
    );
  const mayHaveKeys =
    discovery.kubernetes.enabled === true || engines.some(({ curveServerKey }) => curveServerKey !== null);
  if (curve.server_key_file === null && curve.client_key_file !== null && !mayHaveKeys)
    refuse(
      ["curve", "server_key_file"],
      "the engines' key with curve.client_key_file, since no engine has its own",
    );
}
