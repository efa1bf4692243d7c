/**
 * Finding engines, put together: three sources, their status, the registry that they fill.
 *
 *   ConfigFileSource ──▶┐
 *   HttpRegistrations ─▶├─▶ EngineSources ─▶ EngineRegistry
 *   PodSource ─────────▶┘         └─▶ DiscoveryStatus: log, metrics, health, GET /api/v1/engines
 */

import { hostname } from "node:os";

import type { MetricSlots } from "@kvsync/observability/slots";

import { resolverOf } from "../engine/host-names.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { FleetShard } from "../engine/fleet-shard.ts";
import type { LineGate } from "../log/line-gate.ts";
import { EndpointAdmission } from "../security/endpoint-admission.ts";
import { isLoopback } from "../settings/security-settings.ts";
import type { Settings } from "../settings/settings.ts";
import { ConfigFileSource, statedBy } from "./config-file-source.ts";
import { DiscoveryStatus } from "./discovery-status.ts";
import { EngineSources } from "./engine-sources.ts";
import { HttpRegistrations } from "./http-registrations.ts";
import { credentialReader } from "./kubernetes/credentials.ts";
import { ruleOf } from "./kubernetes/pod-rule.ts";
import { PodSource, type PodSourceSettings } from "./kubernetes/pod-source.ts";
import type { WatchTimes } from "./kubernetes/resource-watch.ts";
import { RegistrationFile } from "./registration-file.ts";
import { SharedRegistrations } from "./shared-registrations.ts";

/** What discovery works with. */
export interface DiscoveryDependencies {
  readonly registry: EngineRegistry;
  /** The part of the fleet to follow. */
  readonly shard: FleetShard;
  readonly metrics: MetricSlots;
  readonly log: LineGate;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** The configuration file, and how to read all settings again; undefined without one. */
  readonly configFile: { readonly path: string; readonly read: () => Settings } | undefined;
}

/** The sources of one daemon. */
export class Discovery {
  readonly sources: EngineSources;
  readonly status: DiscoveryStatus;
  readonly registrations: HttpRegistrations;
  readonly #settings: Settings;
  readonly #configFile: ConfigFileSource | null;
  readonly #pods: PodSource | null;

  /**
   * @param settings - as read at the start.
   * @param dependencies - the registry, and who hears.
   */
  constructor(
    settings: Settings,
    { registry, shard, metrics, now, configFile, ...told }: DiscoveryDependencies,
  ) {
    const log = told.log.write;
    const { state_directory: folder, shared_directory: shared, ...times } = settings.discovery;
    const { config_poll_seconds, shared_poll_seconds } = times;
    const { port } = settings.http;
    // A port that the system chooses says nothing; the process does.
    const replica = `${hostname()}:${port === 0 ? `process-${process.pid}` : port}`;
    const status = new DiscoveryStatus({ metrics, log, now });
    const sources = new EngineSources(registry, { log, refused: status.refused.bind(status) }, shard);
    const fileOf = (name: "registrations.json" | "pods.json"): RegistrationFile | null =>
      folder === null ? null : new RegistrationFile(folder, name);
    this.#settings = settings;
    this.sources = sources;
    this.status = status;
    this.#configFile =
      configFile === undefined
        ? null
        : new ConfigFileSource(settings, config_poll_seconds * 1000, {
            ...configFile,
            sources,
            status: status.of("file"),
            log,
          });
    this.registrations = new HttpRegistrations({
      sources,
      admission: new EndpointAdmission(
        settings.security.registration_ranges,
        isLoopback(settings.http.host),
        resolverOf(settings.discovery.dns_servers),
      ),
      resolveMs: settings.discovery.resolve_seconds * 1000,
      status: status.of("http"),
      file: shared === null ? fileOf("registrations.json") : null,
      shared:
        shared === null
          ? null
          : { registrations: new SharedRegistrations(shared, replica), pollMs: shared_poll_seconds * 1000 },
      replica,
      log,
    });
    const { kubernetes } = settings.discovery;
    this.#pods =
      kubernetes.enabled === true
        ? new PodSource(podSettings(kubernetes), {
            sources,
            status: status.of("kubernetes"),
            file: fileOf("pods.json"),
            metrics,
            log,
          })
        : null;
  }

  /** Has every source name its engines: resolves when file and registrations have, the cluster follows when it can. */
  async start(): Promise<void> {
    if (this.#configFile === null) this.sources.state("file", statedBy(this.#settings));
    else this.#configFile.start();
    await this.registrations.restore();
    await this.#pods?.start();
  }

  /** Looks no more; resolves when registrations are on the disk. */
  async stop(): Promise<void> {
    this.#configFile?.stop();
    await this.#pods?.stop();
    await this.registrations.saved();
    await this.registrations.stop();
  }
}

/** How long watches of the API server wait, and pause. */
export function watchTimes(settings: Settings["discovery"]["kubernetes"]): WatchTimes {
  const ms = (seconds: number): number => seconds * 1000;
  return {
    requestMs: ms(settings.request_timeout_seconds),
    watchMs: ms(settings.watch_seconds),
    resyncMs: ms(settings.resync_seconds),
    pauseMsMin: ms(settings.retry_seconds_min),
    pauseMsMax: Math.max(ms(settings.retry_seconds_min), ms(settings.retry_seconds_max)),
  };
}

function podSettings(settings: Settings["discovery"]["kubernetes"]): PodSourceSettings {
  return {
    credentials: credentialReader(settings.kubeconfig),
    namespaces: settings.namespaces,
    namespaceSelector: settings.namespace_selector,
    pools: settings.pools,
    services: settings.services,
    selector: settings.selector,
    rule: ruleOf(settings),
    modelsTokenFile: settings.models_token_file,
    times: watchTimes(settings),
  };
}
