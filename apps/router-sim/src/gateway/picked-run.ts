/**
 * One workload as real traffic: engines that answer OpenAI's API, the daemon with its picker, and a gateway that asks it.
 *
 *     workload ─▶ gateway ─▶ engines ─events─▶ daemon ─▶ picker ─▶ gateway
 *                               └ usage: what was cached, by the engine's own count
 *
 * The gateway is Envoy, or a plain client of `POST /api/v1/pick`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { COST_MODELS, EngineWorker, freePort } from "@kvsync/engine-sim";

import { DaemonClient } from "../daemon/daemon-client.ts";
import { DaemonError } from "../daemon/daemon-error.ts";
import { DaemonProcess } from "../daemon/daemon-process.ts";
import type { WorkloadRequest } from "../workload/workload.ts";
import { EnvoyGateway } from "./envoy-gateway.ts";
import type { Gateway } from "./gateway.ts";
import { type PacedResult, sendPaced } from "./paced-requests.ts";
import { PickGateway } from "./pick-gateway.ts";

/** The daemon has to say that it is ready within this time of its start. */
const READY_SECONDS_MAX = 30;
const POLL_MS = 25;

/** What a run is made of. */
export interface PickedRunSettings {
  readonly model: string;
  readonly engineCount: number;
  readonly blockCount: number;
  readonly blockSize: number;
  readonly requests: readonly WorkloadRequest[];
  readonly seed: number;
  /** Whether Envoy is the gateway, rather than a plain one. */
  readonly usesEnvoy: boolean;
  /** Modeled seconds per real second. */
  readonly speed: number;
  readonly daemonPath: string;
  readonly daemonLogPath: string | null;
}

/** What came of it. */
export interface PickedRunResult extends PacedResult {
  readonly gateway: string;
  /** Of the prompts' tokens, as predicted when engines were chosen. */
  readonly predictedTokens: number;
}

/**
 * Runs.
 *
 * @param progress - told how many requests have ended.
 * @param signal - ends it early; it then throws the signal's reason.
 * @throws EngineError, DaemonError, GatewayError when a part cannot be run at all.
 */
export async function runPicked(
  settings: PickedRunSettings,
  progress: (ended: number) => void,
  signal: AbortSignal,
): Promise<PickedRunResult> {
  const closers: (() => Promise<unknown>)[] = [];
  try {
    const workers = await startEngines(settings);
    closers.push(() => Promise.all(workers.map((worker) => worker.stop())));
    const addresses = workers.flatMap(({ httpUrls }) => httpUrls.map((url) => new URL(url).host));
    const port = settings.usesEnvoy ? await freePort() : 0;
    const daemon = await DaemonProcess.start({
      path: settings.daemonPath,
      logPath: settings.daemonLogPath,
      engines: workers.flatMap(({ ranks: [rank] }, position) =>
        rank === undefined
          ? []
          : {
              id: rank.engine.settings.id,
              model: settings.model,
              endpoint: rank.server.endpoint,
              replay_endpoint: rank.server.replayEndpoint,
              http: [addresses[position] ?? ""],
            },
      ),
      picker: { enabled: true, port, health_port: 0, tls: { mode: "none" } },
    });
    closers.push(() => daemon.stop());
    await waitUntilReady(daemon.url, signal);
    const gateway: Gateway =
      port === 0
        ? new PickGateway(daemon.url)
        : await EnvoyGateway.start(addresses, `127.0.0.1:${port}`, daemon.url);
    closers.push(() => gateway.stop());
    const result = await sendPaced(settings, gateway, progress, signal);
    return {
      ...result,
      gateway: gateway.description,
      predictedTokens: await gateway.predictedTokens(),
    };
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

async function startEngines(settings: PickedRunSettings): Promise<EngineWorker[]> {
  const { model, engineCount, blockCount, blockSize, speed, seed } = settings;
  const started = await Promise.allSettled(
    Array.from({ length: engineCount }, (_, position) =>
      EngineWorker.start({
        engine: {
          id: `engine-${position}`,
          model,
          blockSize,
          blockCount,
          costModel: COST_MODELS["llama-3.1-8b/1xh100"],
        },
        replayPort: 0,
        speed,
        seed: seed + position,
      }),
    ),
  );
  const workers = started.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
  const failed = started.find((one) => one.status === "rejected");
  if (failed === undefined) return workers;
  await Promise.all(workers.map((worker) => worker.stop()));
  throw failed.reason;
}

async function waitUntilReady(url: string, signal: AbortSignal): Promise<void> {
  const client = new DaemonClient(url);
  const untilMs = performance.now() + 1000 * READY_SECONDS_MAX;
  try {
    while (!(await client.isReady())) {
      signal.throwIfAborted();
      if (performance.now() >= untilMs)
        throw new DaemonError(
          { code: "daemon_not_ready", seconds: READY_SECONDS_MAX },
          `the daemon was not ready ${READY_SECONDS_MAX} s after its start (GET /readyz)`,
        );
      await sleep(POLL_MS);
    }
  } finally {
    client.close();
  }
}
