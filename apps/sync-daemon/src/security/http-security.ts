/**
 * The security of the HTTP side: the tokens and certificates as they are on the disk now, and the
 * server's own limits.
 *
 *   files ──watched──▶ tokens ─▶ AccessGuard
 *                 └──▶ certificate ─▶ the server's secure context, without a restart: connections that stand keep the old one
 *
 * A file that cannot be used keeps the daemon from starting. When a file becomes unusable while the
 * daemon runs, the last good content stays in use. The log, a metric and an alert report it.
 */

import type { Server } from "node:http";
import { createSecureContext, type SecureContextOptions, Server as TlsServer } from "node:tls";

import { SECURITY_METRICS } from "@kvsync/observability/kvsync/security";
import type { Gauge, MetricSlots } from "@kvsync/observability/slots";
import type { FastifyInstance } from "fastify";

import { byKey } from "../handles-by-key.ts";
import type { WriteEvent } from "../log/log-line.ts";
import { filePlan } from "../settings/open-files.ts";
import { isLoopback, type TlsSettings } from "../settings/security-settings.ts";
import type { Settings } from "../settings/settings.ts";
import { type SettingsError, settingsError } from "../settings/settings-error.ts";
import { AccessGuard, type AccessRule } from "./access-guard.ts";
import { type ClosedReason, ConnectionLimit, PIPELINED_MAX } from "./connection-limit.ts";
import { checkHosts } from "./host-check.ts";
import { checkTlsFiles, type PemFile } from "./tls-files.ts";
import { TokenList } from "./token-list.ts";
import { WatchedFiles } from "./watched-files.ts";

/** 1.0 and 1.1 are deprecated (RFC 8996). */
const TLS_VERSION_MIN = "TLSv1.2";
/** Looks at requests that are still arriving, within the time that they have for it. */
const CHECKS_PER_TIMEOUT = 4;
/** Time between two log lines about connections that were closed. */
const CLOSED_LOG_MS = 60_000;

/** What an installed security tells, and to whom. */
export interface SecurityListeners {
  readonly metrics: MetricSlots;
  readonly log: WriteEvent;
  readonly ruleOf: (method: string, url: string) => AccessRule | undefined;
}

/** Files that are used together. */
type WatchedName = "tokens" | "tls";

/** The security of one server. */
export class HttpSecurity {
  readonly #settings: Settings;
  readonly #watched: { readonly name: WatchedName; readonly files: WatchedFiles }[] = [];
  #tokens: TokenList | null = null;
  #tls: SecureContextOptions | null = null;
  #server: FastifyInstance | null = null;
  #log: SecurityListeners["log"] | null = null;
  /** Handles add up, so that each series has one. */
  readonly #usable = new Map<WatchedName, Gauge>();
  #expiry: Gauge | null = null;
  /** Of the certificate in use. */
  #validToSeconds = 0;

  private constructor(settings: Settings) {
    this.#settings = settings;
  }

  /**
   * Reads the files that the settings name.
   *
   * @param settings - checked.
   * @returns the security, to be installed in one server.
   * @throws SettingsError for a file that cannot be read or used.
   */
  static read(settings: Settings): HttpSecurity {
    const security = new HttpSecurity(settings);
    const { tokens_file: tokensFile } = settings.security;
    const { cert_file: certFile, key_file: keyFile, client_ca_file: caFile } = settings.tls;
    if (tokensFile !== null) {
      security.#load("tokens", "security.tokens_file", [tokensFile], ([text]) => {
        security.#tokens = TokenList.parse(text?.toString("utf8") ?? "");
      });
    }
    if (certFile !== null && keyFile !== null) {
      const paths = caFile === null ? [certFile, keyFile] : [certFile, keyFile, caFile];
      security.#load("tls", "tls.cert_file", paths, (contents) => {
        const [chain, key, ca = null] = contents.map((content, i) => ({ path: paths[i] ?? "", content }));
        if (chain !== undefined && key !== undefined) security.#useTls(chain, key, ca);
      });
    }
    return security;
  }

  /** What the server is made with. */
  get serverOptions(): object {
    const { tls, callers } = this.#settings;
    const requestTimeout = callers.request_seconds * 1000;
    const http = {
      // Node takes the larger of the two for the whole request: its own 60 s for headers would lengthen a shorter time.
      headersTimeout: requestTimeout,
      // It looks every 30 s unless told otherwise.
      connectionsCheckingInterval: requestTimeout / CHECKS_PER_TIMEOUT,
    };
    const times = { requestTimeout, keepAliveTimeout: callers.keep_alive_seconds * 1000 };
    if (this.#tls === null) return { ...times, http };
    // Node waits 120 s for a handshake unless told otherwise.
    const handshakeTimeout = requestTimeout;
    return { ...times, https: { ...http, handshakeTimeout, ...this.#tls, ...clientCertificates(tls) } };
  }

  /**
   * Guards a server, and keeps its tokens and certificates as the files are. Before its routes are registered; ends with the server.
   *
   * @param server - made with `serverOptions`.
   * @param listeners - hear of it.
   */
  install(server: FastifyInstance, listeners: SecurityListeners): void {
    const { security, callers, http } = this.#settings;
    this.#server = server;
    const { metrics, ruleOf, log } = listeners;
    this.#log = log;
    const { connections } = filePlan(callers.connections);
    limitConnections(server.server, connections, callers, { metrics, log });
    const refusals = byKey(SECURITY_METRICS.accessRefusals.labels.code, (code) =>
      metrics.counter(SECURITY_METRICS.accessRefusals, { code }),
    );
    if (this.#tokens === null && isLoopback(http.host)) {
      checkHosts(server, http.host_names, () => {
        refusals.foreign_host.inc();
      });
    }
    AccessGuard.install(server, {
      ruleOf,
      tokens: () => this.#tokens,
      openMonitoring: security.open_monitoring === true,
      callers,
      refused: (code) => {
        refusals[code].inc();
      },
      admin: ({ method, routeOptions }, { statusCode }, { name }) => {
        const facts = { token_name: name, method, route: routeOptions.url ?? "", status: statusCode };
        log("admin_request", facts);
      },
    });
    for (const { name, files } of this.#watched) {
      this.#usable.set(name, metrics.gauge(SECURITY_METRICS.fileUsable, { file: name }));
      this.#usable.get(name)?.set(1);
      files.watch(security.reload_seconds * 1000);
    }
    if (this.#tls !== null) {
      this.#expiry = metrics.gauge(SECURITY_METRICS.certificateExpiry, {});
      this.#expiry.set(this.#validToSeconds);
    }
    server.addHook("onClose", (_server, done) => {
      for (const { files } of this.#watched) files.close();
      done();
    });
    this.#warnOfOpenDoors(log);
  }

  /** What is allowed and yet to be known. */
  #warnOfOpenDoors(log: WriteEvent): void {
    const { host } = this.#settings.http;
    if (isLoopback(host)) return;
    if (this.#tokens === null) log("every_caller_trusted", { host });
    else if (this.#tls === null) log("tokens_without_tls", { host });
  }

  #load(
    name: WatchedName,
    setting: string,
    paths: readonly string[],
    use: (contents: readonly Buffer[]) => void,
  ): void {
    const files = new WatchedFiles(paths, {
      use,
      changed: () => {
        this.#tell(name, true, `${paths.join(", ")}: changed, and in use`);
      },
      refused: (error) => {
        this.#tell(
          name,
          false,
          `${paths.join(", ")}: ${messageOf(error)}; the last good content stays in use`,
        );
      },
    });
    try {
      files.load();
    } catch (error) {
      throw unusable(setting, paths, messageOf(error));
    }
    this.#watched.push({ name, files });
  }

  /** End of the certificate in use, milliseconds since the Unix epoch; null without TLS. */
  get certificateEndMs(): number | null {
    return this.#tls === null ? null : this.#validToSeconds * 1000;
  }

  #useTls(chain: PemFile, key: PemFile, ca: PemFile | null): void {
    const { validTo } = checkTlsFiles(chain, key, ca);
    const options: SecureContextOptions = {
      cert: chain.content,
      key: key.content,
      ca: ca?.content,
      minVersion: TLS_VERSION_MIN,
    };
    // What OpenSSL refuses beyond that, it refuses before anything is replaced.
    createSecureContext(options);
    const server = this.#server?.server;
    if (server instanceof TlsServer) server.setSecureContext(options);
    this.#tls = options;
    this.#validToSeconds = Date.parse(validTo) / 1000;
    this.#expiry?.set(this.#validToSeconds);
  }

  #tell(name: WatchedName, isUsable: boolean, text: string): void {
    this.#usable.get(name)?.set(isUsable ? 1 : 0);
    this.#log?.(isUsable ? "security_file_reloaded" : "security_file_refused", { file: name }, { text });
  }
}

function clientCertificates({ client_ca_file }: TlsSettings): object {
  return client_ca_file === null ? {} : { requestCert: true, rejectUnauthorized: true };
}

/** Bounds connections and what they ask for at once, counts those that are closed for it, and logs that once a minute. */
function limitConnections(
  server: Server,
  connections: number,
  { connections_per_address, request_seconds }: Settings["callers"],
  { metrics, log }: Pick<SecurityListeners, "metrics" | "log">,
): void {
  const perAddress = Math.min(connections_per_address, connections);
  const counters = byKey(SECURITY_METRICS.connectionsRefused.labels.reason, (reason) =>
    metrics.counter(SECURITY_METRICS.connectionsRefused, { reason }),
  );
  let loggedMs = Number.NEGATIVE_INFINITY;
  const closed = (reason: ClosedReason): void => {
    counters[reason].inc();
    const nowMs = performance.now();
    if (nowMs - loggedMs < CLOSED_LOG_MS) return;
    loggedMs = nowMs;
    const facts = { reason, connections_max: connections, connections_per_address_max: perAddress };
    log("connection_refused", facts, { text: CLOSED_MESSAGES[reason] });
  };
  metrics.gauge(SECURITY_METRICS.connectionsLimit, {}).set(connections);
  const connected = metrics.gauge(SECURITY_METRICS.connections, {});
  connected.set(0);
  const held = (count: number): void => {
    connected.set(count);
  };
  const bounds = { connections, perAddress, unreadMs: request_seconds * 1000, held, closed };
  ConnectionLimit.install(server, bounds, server instanceof TlsServer);
}

const CLOSED_MESSAGES: Readonly<Record<ClosedReason, string>> = {
  all_taken:
    "a connection was refused: callers.connections, or the limit on open files, allows no more, and none is idle",
  address_full:
    "a connection was refused: its address holds callers.connections_per_address connections, and none is idle",
  gave_way: "an idle connection was closed to make room for a new one (callers.connections)",
  pipelined: `a connection was closed: more than ${PIPELINED_MAX} of its requests waited for their answers`,
  answer_unread: "a connection was closed: its peer took nothing of an answer for callers.request_seconds",
};

function unusable(setting: string, paths: readonly string[], why: string): SettingsError {
  return settingsError([
    {
      fault: { code: "unusable_setting", setting, source: paths.join(", "), expected: why },
      line: `${setting}: ${paths.join(", ")}: ${why}`,
    },
  ]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
