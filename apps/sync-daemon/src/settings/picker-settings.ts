/**
 * Settings of the endpoint picker: where gateways reach it, how it decides, and what bounds it.
 *
 * Tokens of a prompt come from the tokenizer that lookups over HTTP use too (tokenizer-settings.ts).
 */

import { z } from "zod";

import { pickerShardsSection } from "./picker-shards-settings.ts";
import { isLoopback } from "./security-settings.ts";
import { flag, integer, SETTING_FACTS, section, text } from "./setting-field.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const PORT_MAX = 65_535;
const ADDRESS_EXPECTED = "an address to listen on";
const TLS_MODE_EXPECTED = "self_signed, files or none";
const NAME_EXPECTED = "a name of 1-253 characters a-z 0-9 . -";
const PATH_EXPECTED = "a path that begins with /";
const HEADER_EXPECTED = "x-session-id or x-session-token";
const OBJECTIVES_MAX = 64;
const OBJECTIVES_EXPECTED = `up to ${OBJECTIVES_MAX} names of 1-253 characters a-z 0-9 . -`;
const SUBJECT_MAX = 128;
const SUBJECT_EXPECTED = `a NATS subject without wildcards, up to ${SUBJECT_MAX} characters`;
const SHARE_EXPECTED =
  "addresses of NATS servers, such as nats://host:4222 or tls://host, with commas between";
const METRICS_PORT_EXPECTED = `an integer from 1 to ${PORT_MAX}`;

/** Each has a reader of the index and books of its own, and hears of every decision. */
const PICKER_THREADS_MAX = 16;

/** Section `picker`. */
export const pickerSection = section({
  enabled: flag("Pick endpoints for a gateway: Envoy's ext_proc, and POST /api/v1/pick.", false),
  host: z.string(ADDRESS_EXPECTED).min(1, ADDRESS_EXPECTED).default("127.0.0.1").register(SETTING_FACTS, {
    about: "Address to listen on for gateways.",
    expected: ADDRESS_EXPECTED,
  }),
  port: integer("Port for gateways (gRPC, ext_proc and health); 0 for none.", 9002, 0, PORT_MAX),
  health_port: integer(
    "Port for gRPC health checks alone, for probes of Kubernetes: without TLS. 0 for none.",
    9003,
    0,
    PORT_MAX,
  ),
  threads: integer(
    "Threads that pick. Above 1 all listen at picker.port, and each connection of a gateway is one thread's; the system must allow that (SO_REUSEPORT).",
    1,
    1,
    PICKER_THREADS_MAX,
  ),
  pool: section({
    name: objectName("InferencePool whose pods are the endpoints; unset for the engines' own http."),
    namespace: objectName("Namespace of the pool; unset for the one that the daemon's account is in."),
    group: z
      .string(NAME_EXPECTED)
      .refine(isName, NAME_EXPECTED)
      .default("inference.networking.k8s.io")
      .register(SETTING_FACTS, { about: "API group of the pool.", expected: NAME_EXPECTED }),
  }),
  tls: section({
    mode: z
      .enum(["self_signed", "files", "none"], TLS_MODE_EXPECTED)
      .default("self_signed")
      .register(SETTING_FACTS, {
        about:
          "Certificate for gateways: made at start, as gateways expect it; of files; or no TLS, on loopback alone.",
        expected: TLS_MODE_EXPECTED,
      }),
    cert_file: text("PEM file with the certificate chain. Read again when it changes.", null),
    key_file: text("PEM file with the certificate's private key.", null),
    client_ca_file: text(
      "PEM file with the authorities of client certificates; set, every gateway needs one.",
      null,
    ),
  }),
  decision_timeout_ms: integer(
    "Longest time from the last byte of a request's body to its pick. A pick is made without the facts that are late.",
    250,
    5,
    10_000,
  ),
  fallbacks: integer("Endpoints that are named after the first, for a gateway's retries.", 2, 0, 7),
  rank_header: flag(
    "Name the best DP rank in x-data-parallel-rank where an endpoint has several. vLLM takes the header.",
    false,
  ),
  scrape_ms: integer("Time between two looks at an endpoint's metrics; 0 for none.", 200, 0, 60_000),
  metrics_port: z
    .int(METRICS_PORT_EXPECTED)
    .min(1, METRICS_PORT_EXPECTED)
    .max(PORT_MAX, METRICS_PORT_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, {
      about: "Port of the endpoints' metrics; unset for the endpoint's own.",
      expected: METRICS_PORT_EXPECTED,
    }),
  metrics_path: z
    .string(PATH_EXPECTED)
    .regex(/^\/[\x21-\x7e]{0,255}$/, PATH_EXPECTED)
    .default("/metrics")
    .register(SETTING_FACTS, { about: "Path of the endpoints' metrics.", expected: PATH_EXPECTED }),
  capacity_tokens: integer(
    "Tokens of KV cache of an endpoint whose metrics do not show it.",
    400_000,
    1024,
    1_000_000_000,
  ),
  session_header: z
    .enum(["x-session-id", "x-session-token"], HEADER_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, {
      about: "Request header that names a session, which then prefers the endpoint it had; unset for none.",
      expected: HEADER_EXPECTED,
    }),
  shed_objectives: z
    .array(z.string(OBJECTIVES_EXPECTED).refine(isName, OBJECTIVES_EXPECTED), OBJECTIVES_EXPECTED)
    .max(OBJECTIVES_MAX, OBJECTIVES_EXPECTED)
    .default([])
    .register(SETTING_FACTS, {
      about:
        "Values of x-gateway-inference-objective with a priority below 0: their requests get 429 while every engine is full.",
      expected: OBJECTIVES_EXPECTED,
    }),
  shards: pickerShardsSection,
  share: section({
    url: z
      .string(SHARE_EXPECTED)
      .refine(areServers, SHARE_EXPECTED)
      .nullable()
      .default(null)
      .register(SETTING_FACTS, {
        about:
          "NATS servers over which the pickers of one fleet share decisions, by commas; unset for none. A tls:// address needs a host name.",
        expected: SHARE_EXPECTED,
      }),
    subject: z
      .string(SUBJECT_EXPECTED)
      .regex(/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/, SUBJECT_EXPECTED)
      .max(SUBJECT_MAX, SUBJECT_EXPECTED)
      .default("kvsync.picker")
      .register(SETTING_FACTS, {
        about: "NATS subject of the fleet. Pickers of other fleets need another one.",
        expected: SUBJECT_EXPECTED,
      }),
    credentials_file: text(
      "File with NATS credentials (.creds); unset for none. Read for each connection.",
      null,
    ),
    ca_file: text(
      "PEM file with the authorities of the NATS servers' certificates; unset for the system's. Set, a server without TLS is refused.",
      null,
    ),
    cert_file: text("PEM file with the certificate that NATS servers get, where they ask for one.", null),
    key_file: text("PEM file with this certificate's private key.", null),
  }),
  check_sample: integer(
    "One pick in so many is looked up again at its engine, to find prompts that are not the engine's; 0 for none.",
    50,
    0,
    1_000_000,
  ),
  drain_seconds: integer(
    "Longest time that open requests get when the process stops. Then their streams are reset.",
    30,
    0,
    3600,
  ),
  limits: section({
    body_bytes: integer(
      "Bytes of a request's body that are read before the pick; a longer one is picked for by load.",
      16 * MIB,
      64 * KIB,
      1024 * MIB,
    ),
    buffered_bytes: integer(
      "Bytes of all bodies that wait for a pick; beyond, picks are made by load.",
      256 * MIB,
      64 * KIB,
      16_384 * MIB,
    ),
    streams: integer("Open requests at once.", 20_000, 1, 1_000_000),
    connections: integer("Connections of gateways at once.", 256, 1, 65_536),
    headers_bytes: integer("Bytes of headers of one gRPC call.", 96 * KIB, 4 * KIB, MIB),
  }),
});

/** How endpoints are picked. */
export type PickerSettings = z.output<typeof pickerSection>;

/**
 * The rules between the picker's settings. They hold while it is on.
 *
 * @param picker - each by itself checked.
 * @param refuse - called with the path that is to blame and what was expected.
 */
export function refusePickerDoors(
  { enabled, host, port, tls, share }: PickerSettings,
  refuse: (path: readonly ["picker", "tls" | "share", string], expected: string) => void,
): void {
  if (enabled !== true) return;
  if ((share.cert_file === null) !== (share.key_file === null))
    refuse(
      ["picker", "share", share.cert_file === null ? "cert_file" : "key_file"],
      "a file, because the other one of cert_file and key_file is set",
    );
  if (port === 0) return;
  if (tls.mode === "none" && !isLoopback(host))
    refuse(
      ["picker", "tls", "mode"],
      `self_signed or files, because picker.host ${host} can be reached from other machines`,
    );
  if (tls.mode === "none" && tls.client_ca_file !== null)
    refuse(["picker", "tls", "mode"], "self_signed or files with picker.tls.client_ca_file");
  for (const file of ["cert_file", "key_file"] as const) {
    if (tls.mode === "files" && tls[file] === null)
      refuse(["picker", "tls", file], "a file with picker.tls.mode files");
    if (tls.mode !== "files" && tls[file] !== null)
      refuse(["picker", "tls", "mode"], `files with picker.tls.${file}`);
  }
}

function objectName(about: string) {
  return z
    .string(NAME_EXPECTED)
    .refine(isName, NAME_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected: NAME_EXPECTED });
}

function isName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(text);
}

/** The schemes of NATS' own clients; a host alone is theirs, too. */
function areServers(text: string): boolean {
  return text.split(",").every((part) => {
    const server = part.trim();
    const written = /^[a-z]+:\/\//.test(server) ? server : `nats://${server}`;
    return (
      /^(?:nats|tls|ws|wss):\/\//.test(written) && URL.canParse(written) && new URL(written).hostname !== ""
    );
  });
}
