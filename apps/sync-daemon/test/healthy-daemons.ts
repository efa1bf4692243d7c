/**
 * Healthy daemons in every configuration that we ship or describe. Each has its engine, answers
 * lookups, and has no fault, so alerts and panels must stay calm. Their scrapes feed promtool and
 * Prometheus (healthy.e2e.test.ts).
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { parse, parseAllDocuments } from "yaml";

import { Authority } from "./certificates.ts";
import { Cluster } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { TestEngine, until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";

const MANIFEST = new URL("../../../infra/kubernetes/daemon.yaml", import.meta.url);
const TOKEN = "healthy-token-0123456789";
const MODEL = "test/model";
const PROMPT = Uint32Array.from({ length: 160 }, (_, i) => i + 1);
/** The engine computes the last block of a prompt again. */
const CACHED_TOKENS = 144;

/** One daemon, and how it is reached. */
export interface HealthyDaemon {
  readonly name: string;
  readonly daemon: DaemonProcess;
  readonly headers: Readonly<Record<string, string>>;
  readonly hasEngine: boolean;
}

/** All of them, with what they need to be well. Stop it. */
export class HealthyDaemons {
  /** Where certificates, tokens and state lie. */
  readonly folder: string = mkdtempSync(join(tmpdir(), "kvsync-healthy-"));
  /** A token that the daemons with tokens take. */
  readonly token: string = TOKEN;
  readonly #daemons: HealthyDaemon[] = [];
  readonly #engine: TestEngine;
  readonly #cluster: Cluster;
  /** Of the daemon that picks. */
  #gateway: PickerTraffic | null = null;
  #nextRequest = 1e6;

  private constructor(engine: TestEngine, cluster: Cluster) {
    this.#engine = engine;
    this.#cluster = cluster;
  }

  /** Starts one in each configuration, and waits until those with an engine have all its blocks. */
  static async start(): Promise<HealthyDaemons> {
    const engine = await TestEngine.start({ id: "engine-0" }, 11, { httpPort: 0 });
    const cluster = await Cluster.start();
    const all = new HealthyDaemons(engine, cluster);
    const authority = await Authority.make();
    writeFileSync(all.path("ca.crt"), authority.cert);
    const { cert, key } = await authority.sign("daemon", 90);
    writeFileSync(all.path("tls.crt"), cert);
    writeFileSync(all.path("tls.key"), key);
    writeFileSync(all.path("tokens.yaml"), `tokens: [{ name: gateway, scope: read, token: ${TOKEN} }]`);
    const port = (endpoint: string | null): string => /:(\d+)$/.exec(endpoint ?? "")?.[1] ?? "";
    cluster.add("engine-0", "127.0.0.1", {
      annotations: {
        "model.aibrix.ai/name": MODEL,
        "model.aibrix.ai/kv-events-port": port(engine.server.endpoint),
        "model.aibrix.ai/kv-events-replay-port": port(engine.server.replayEndpoint),
      },
    });
    const engines = [engine.entry];
    const tls = { cert_file: all.path("tls.crt"), key_file: all.path("tls.key") };
    const security = { tokens_file: all.path("tokens.yaml") };
    const kubernetes = { enabled: true, kubeconfig: cluster.kubeconfig() };
    await all.#add("defaults", {});
    await all.#add("engines in the file", { engines });
    await all.#add("manifests", all.#manifestSettings(kubernetes), { hasToken: true });
    await all.#add("tokens", { engines, security }, { hasToken: true });
    await all.#add("TLS", { engines, tls }, { ca: authority.cert });
    await all.#add("Kubernetes", { discovery: { kubernetes } });
    await all.#add("snapshots on", {
      engines,
      snapshot: { directory: all.path("kept"), interval_seconds: 1 },
    });
    await all.#add("snapshots off", { engines, snapshot: { directory: null } });
    const pickerPort = await freePort();
    const picker = { ...PickerTraffic.settings(pickerPort), check_sample: 1 };
    await all.#add("picker", { engines: [PickerTraffic.entry(engine)], picker });
    for (const each of all.#daemons)
      if (each.hasEngine)
        await until(`the daemon "${each.name}" has the engine's blocks`, () => all.#isExact(each));
    const gateway = new PickerTraffic(pickerPort);
    await until("the picker takes requests", () => gateway.isReady());
    all.#gateway = gateway;
    await all.traffic();
    return all;
  }

  /** Each with its name. */
  get all(): readonly HealthyDaemon[] {
    return this.#daemons;
  }

  /** A file of this fleet. */
  path(name: string): string {
    return join(this.folder, name);
  }

  /** One request that the engine serves and caches, looked up at every daemon afterwards, and picked for. */
  async traffic(): Promise<void> {
    this.#engine.engine.submit(
      { id: this.#nextRequest++, promptTokens: PROMPT, output: { count: 40, seed: this.#nextRequest } },
      Date.now() / 1000,
    );
    await this.#engine.serve(1);
    const headers = { "content-type": "application/octet-stream" };
    const body = Buffer.from(PROMPT.buffer);
    for (const { daemon, headers: access, hasEngine } of this.#daemons)
      if (hasEngine)
        await daemon.fetch(`/api/v1/match?model=${MODEL}`, {
          method: "POST",
          headers: { ...headers, ...access },
          body,
        });
    const prompt = { model: MODEL, prompt: [...PROMPT] };
    await this.#gateway?.request(prompt, { cachedTokens: CACHED_TOKENS });
  }

  async stop(): Promise<void> {
    this.#gateway?.close();
    await Promise.all(this.#daemons.map(({ daemon }) => daemon.end()));
    await this.#engine.stop();
    await this.#cluster.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The settings of infra/kubernetes/daemon.yaml, with its mounts below our folder and this machine's API server. */
  #manifestSettings(kubernetes: object): object {
    const manifests = parseAllDocuments(readFileSync(MANIFEST, "utf8")).map(
      (document) => document.toJS() as { kind: string; data?: Record<string, string> },
    );
    const text = manifests.find(({ kind }) => kind === "ConfigMap")?.data?.["kvsync.yaml"] ?? "";
    mkdirSync(this.path("manifests"));
    const settings = parse(
      text
        .replaceAll("/etc/kvsync/tokens/", `${this.folder}/`)
        .replaceAll("/var/lib/kvsync", this.path("manifests"))
        .replaceAll("0.0.0.0", "127.0.0.1"),
    ) as { discovery: { kubernetes: object } };
    const discovery = {
      ...settings.discovery,
      kubernetes: { ...settings.discovery.kubernetes, ...kubernetes },
    };
    return { ...settings, discovery };
  }

  async #add(
    name: string,
    settings: object,
    { hasToken = false, ca = "" }: { readonly hasToken?: boolean; readonly ca?: string } = {},
  ): Promise<void> {
    const daemon = await DaemonProcess.start(settings);
    if (ca !== "") daemon.trust(ca, 2);
    const headers: Record<string, string> = hasToken ? { authorization: `Bearer ${TOKEN}` } : {};
    this.#daemons.push({ name, daemon, headers, hasEngine: name !== "defaults" });
  }

  async #isExact({ daemon, headers }: HealthyDaemon): Promise<boolean> {
    const response = await daemon.fetch("/api/v1/engines", { headers });
    const { engines } = (await response.json()) as { engines: { ranks: { trust: string }[] }[] };
    return engines.some(({ ranks }) => ranks.every(({ trust }) => trust === "exact"));
  }
}
