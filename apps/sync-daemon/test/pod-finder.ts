/** A source of pods against an API server, for tests: started at once, stopped after the test. */
import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, expect, vi } from "vitest";

import { DiscoveryStatus } from "../src/discovery/discovery-status.ts";
import { EngineSources } from "../src/discovery/engine-sources.ts";
import { credentialReader, type CredentialReader } from "../src/discovery/kubernetes/credentials.ts";
import { presetRule } from "../src/discovery/kubernetes/pod-rule.ts";
import { PodSource, type PodSourceSettings } from "../src/discovery/kubernetes/pod-source.ts";
import { RegistrationFile } from "../src/discovery/registration-file.ts";
import { EngineRegistry } from "../src/engine/engine-registry.ts";
import type { FollowedRank } from "../src/engine/followed-rank.ts";
import { recordedLog } from "../src/log/testing/recorded-log.ts";
import { Cluster, eligibleEngines } from "./cluster.ts";

const FOUND_MS = 60_000;
/** Short, so that a test need not wait for them. */
export const TIMES = { requestMs: 400, watchMs: 60_000, resyncMs: 600_000, pauseMsMin: 10, pauseMsMax: 80 };

/** Run after the test, the last one first. */
export const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** An API server, stopped after the test. */
export async function clusterOf(pem: Parameters<typeof Cluster.start>[0] = null): Promise<Cluster> {
  const cluster = await Cluster.start(pem);
  cleanups.push(() => cluster.stop());
  return cluster;
}

/** A source that looks at a server, and everything that hears of it. */
export function find(
  from: string | CredentialReader,
  more: Partial<PodSourceSettings> = {},
  folder: string | null = null,
) {
  const { log, lines } = recordedLog();
  const exposition = new Exposition(CATALOGUE);
  const metrics = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  const follows: FollowedRank[] = [];
  const redialled: number[] = [];
  const follower = {
    follow: (rank: FollowedRank) => void follows.push(rank),
    forget: () => Promise.resolve(),
    redial: (slot: number) => void redialled.push(slot),
  };
  const registry = new EngineRegistry(follower, {
    engines: 4096,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  const discovery = new DiscoveryStatus({ metrics, log, now: () => performance.now() });
  const status = discovery.of("kubernetes");
  const sources = new EngineSources(registry, { log, refused: discovery.refused.bind(discovery) });
  const credentials = typeof from === "string" ? credentialReader(from) : from;
  const settings = {
    credentials,
    namespaces: [],
    namespaceSelector: null,
    pools: [],
    services: [],
    selector: null,
    rule: presetRule("aibrix"),
    modelsTokenFile: null,
    times: TIMES,
    ...more,
  };
  const file = folder === null ? null : new RegistrationFile(folder, "pods.json");
  const source = new PodSource(settings, { sources, status, file, metrics, log });
  void source.start();
  cleanups.push(() => source.stop());
  const found = () =>
    new Map([...registry.engines()].map(({ engine }) => [engine.id, engine.ranks[0]?.endpoint ?? ""]));
  const events = () => lines.map(({ event }) => event);
  const scrape = () => exposition.scrape();
  return { registry, sources, status, found, events, lines, follows, redialled, scrape, source };
}

/** Waits for a result, not for time. */
export const wait = (check: () => void | Promise<void>) =>
  vi.waitFor(check, { timeout: FOUND_MS, interval: 5 });
/** Ids of the engines that are followed. */
export const idsOf = ({ found }: { found: () => Map<string, string> }) => [...found().keys()].sort();

/** Waits until what is found is what the cluster has. */
export async function settled(cluster: Cluster, finder: { found: () => Map<string, string> }): Promise<void> {
  await wait(() => {
    expect(finder.found()).toEqual(eligibleEngines(cluster.pods()));
  });
}
