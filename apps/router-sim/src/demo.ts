/**
 * The `demo` command: the purpose of kvsync, in about a minute and in plain words. Nothing in it is
 * staged: it is `replay` with small settings, and its output is computed from the runs.
 *
 *     round 1   the same workload routed blindly and by prefix match
 *     round 2   prefix match again, while messages are lost, an engine restarts and the daemon is killed
 *     round 3   the same workload as HTTP requests: through Envoy, or a plain gateway, that asks the daemon's picker
 *     then      (without --once) a fleet with light traffic stays up, with addresses to try, until Ctrl-C
 */
import { setTimeout as sleep } from "node:timers/promises";
import { OWN_SECONDS } from "@kvsync/routing";

import { DaemonClient, LOOKUP_TIMEOUT_MS } from "./daemon/daemon-client.ts";
import { DaemonProcess } from "./daemon/daemon-process.ts";
import { FleetClient } from "./fleet/fleet-client.ts";
import { hasEnvoy } from "./gateway/envoy-gateway.ts";
import { type PickedRunResult, runPicked } from "./gateway/picked-run.ts";
import { makePolicy } from "./policy/policies.ts";
import { parseFault } from "./replay/fault-plan.ts";
import { loadWorkload, MODEL, type ReplayOptions, runOnce } from "./replay/replay.ts";
import { Router } from "./replay/router.ts";
import type { Console } from "./report/console.ts";
import { describeProvenance, provenanceOf } from "./report/provenance.ts";
import type { RunReport } from "./report/run-report.ts";
import { resultTable, runDetails } from "./report/table.ts";
import { textTable } from "./report/text-table.ts";
import { generateWorkload } from "./trace/generator.ts";
import { promptTokens } from "./trace/prompt.ts";
import type { WorkloadRequest } from "./workload/workload.ts";

/** What the demo is told. */
export interface DemoOptions {
  readonly once: boolean;
  readonly seed: number;
  readonly daemonPath: string;
  readonly daemonLogPath: string | null;
}

const WORKLOAD = { requests: 900, minutes: 40, scale: 0.4 };
const ENGINES = 8;
const BLOCKS = 4_096;
const BLOCK_SIZE = 16;
const SPEEDUP = 200;
/** Slower than a replay: every request is an HTTP request with its prompt, at the engine's own pace. */
const TRAFFIC_SPEED = 100;
/** Twelve hours of a request every three seconds. */
const LIGHT_TRAFFIC = { requests: 14_400, minutes: 720, scale: 0.4 };

/**
 * Runs the demo.
 *
 * @param options - see DemoOptions.
 * @param console - where lines and progress go.
 * @param signal - ends it.
 * @returns whether every expectation was met.
 * @throws FleetError, DaemonError, EngineError when a part cannot be run at all.
 */
export async function runDemo(options: DemoOptions, console: Console, signal: AbortSignal): Promise<boolean> {
  console.line(describeProvenance(await provenanceOf(options.seed)));
  const calm = replayOptions(options);
  const requests = await loadWorkload(calm);
  console.line(INTRODUCTION);
  const blind = await runOnce(calm, "random", requests, console, signal);
  const informed = await runOnce(calm, "kvsync", requests, console, signal);
  console.line(`${resultTable([blind, informed], "brief")}\n\n${comparison(blind, informed)}\n${TROUBLE}`);
  const troubled = await runOnce(troubledOptions(calm), "kvsync", requests, console, signal);
  console.line(`\n${runDetails(troubled)}\n${afterTrouble(troubled)}`);
  console.line(TRAFFIC);
  const picked = await runTraffic(options, requests, console, signal);
  console.line(trafficTable(blind, informed, picked));
  const failures = [blind, informed, troubled].flatMap((run) =>
    run.failures.map((failure) => `${run.policy}: ${failure}`),
  );
  failures.push(...picked.failures.map((failure) => `through the picker: ${failure}`));
  console.line(
    failures.length === 0
      ? "\nAll audits agree: the daemon's index equals the engines' contents."
      : `\nNot as it should be:\n${failures.map((failure) => `  ${failure}`).join("\n")}`,
  );
  if (!options.once) await stayUp(options, console, signal);
  return failures.length === 0;
}

const INTRODUCTION = `
${ENGINES} simulated inference engines publish KV-cache events as vLLM does, over ZeroMQ; one kvsync daemon follows them. A router
sends them ${WORKLOAD.requests} chat requests (${WORKLOAD.minutes} minutes of traffic at ${SPEEDUP} times real time), many of which continue an
earlier conversation. First it routes blindly, then it asks the daemon who holds the longest part of each prompt.
After each run the daemon's whole index is compared with what the engines really hold.
`;

const TROUBLE = `
The same again with trouble: 5 % of all messages are lost, two engines restart empty, the daemon is killed and started again.
`;

const TRAFFIC = `
Now as real traffic: the same requests over HTTP, to engines that answer OpenAI's API, through a gateway that asks the
daemon's picker where to send each one. The engines' own usage shows how much of each prompt was cached.
`;

const PREDICTED = `Predicted counts a prompt that was sent to an engine within ${OWN_SECONDS} s as held there. At ${TRAFFIC_SPEED} times real time these are
${Math.round((OWN_SECONDS * TRAFFIC_SPEED) / 60)} minutes of traffic, and engines as small as these evict some of it before it is asked for again.`;

function replayOptions({ seed, daemonPath, daemonLogPath }: DemoOptions): ReplayOptions {
  return {
    workload: { kind: "generated", spec: WORKLOAD },
    requestsMax: null,
    policies: ["random", "kvsync"],
    engineCount: ENGINES,
    blockCount: BLOCKS,
    hostBlockCount: 0,
    blockSize: BLOCK_SIZE,
    slowness: 1,
    dialect: null,
    bufferSteps: null,
    speedup: SPEEDUP,
    seed,
    dropPercent: 0,
    faults: [],
    settleSecondsMax: 30,
    recoverySecondsMax: 30,
    lookupTimeoutMs: LOOKUP_TIMEOUT_MS,
    plantedDifference: null,
    daemonPath,
    daemonLogPath,
    jsonPath: null,
  };
}

function troubledOptions(calm: ReplayOptions): ReplayOptions {
  const faults = [parseFault("restart_engines", "2@30"), parseFault("kill_daemon", "65")];
  return { ...calm, dropPercent: 5, faults };
}

async function runTraffic(
  { seed, daemonPath, daemonLogPath }: DemoOptions,
  requests: readonly WorkloadRequest[],
  console: Console,
  signal: AbortSignal,
): Promise<PickedRunResult> {
  console.begin("picker", requests.length);
  try {
    return await runPicked(
      {
        model: MODEL,
        engineCount: ENGINES,
        blockCount: BLOCKS,
        blockSize: BLOCK_SIZE,
        requests,
        seed,
        usesEnvoy: hasEnvoy(),
        speed: TRAFFIC_SPEED,
        daemonPath,
        daemonLogPath,
      },
      (ended) => {
        console.progress(ended, "");
      },
      signal,
    );
  } finally {
    console.end();
  }
}

/** Cached tokens as engines counted them, and as the picker predicted them. */
function trafficTable(blind: RunReport, informed: RunReport, picked: PickedRunResult): string {
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const share = (tokens: number): string => percent(tokens / Math.max(1, picked.promptTokens));
  const rows = [
    ["", "requests", "prompt tokens cached", "predicted"],
    ["routed blindly", String(blind.requests), percent(blind.tokenHitRate), "-"],
    ["routed by prefix match", String(informed.requests), percent(informed.tokenHitRate), "-"],
    [
      "through the picker",
      String(picked.answered),
      share(picked.cachedTokens),
      share(picked.predictedTokens),
    ],
  ];
  return `${textTable(rows, "right", 3).join("\n")}\n\nThe gateway was ${picked.gateway}.\n${PREDICTED}`;
}

function comparison(blind: RunReport, informed: RunReport): string {
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const wait = (run: RunReport): string => `${(1000 * (run.firstTokenSeconds?.p50 ?? 0)).toFixed(0)} ms`;
  return [
    `Routed blindly, the engines had ${percent(blind.blockHitRate)} of all prompt blocks cached already; routed by prefix match,`,
    `${percent(informed.blockHitRate)}, which is ${percent(informed.oracleShare)} of what perfect knowledge would have given.`,
    `The median (modeled) wait for the first token went from ${wait(blind)} to ${wait(informed)}. A lookup took ` +
      `${(informed.lookupMs?.p50 ?? 0).toFixed(2)} ms (p50).`,
  ].join("\n");
}

function afterTrouble(run: RunReport): string {
  const fallbacks = Object.values(run.routedWithoutAdvice).reduce((sum, count) => sum + count, 0);
  return (
    `${run.messagesDropped} messages were lost in transit, ${run.gaps} gaps were found and ` +
    `${run.replays.completed} replays filled them. ${fallbacks} requests were routed without advice while the daemon was away.`
  );
}

/** A fleet with light traffic in real time, until the signal. */
async function stayUp(options: DemoOptions, console: Console, signal: AbortSignal): Promise<void> {
  let router: Router | null = null;
  const requests = generateWorkload(LIGHT_TRAFFIC, options.seed);
  const fleet = await FleetClient.start(
    {
      engineCount: ENGINES,
      model: MODEL,
      blockSize: BLOCK_SIZE,
      blockCount: BLOCKS,
      hostBlockCount: 0,
      dialect: null,
      costModel: "llama-3.1-8b/1xh100",
      slowness: 1,
      bufferSteps: null,
      speedup: 1,
      seed: options.seed,
      dropPercent: 0,
      requests,
      tellsHeldBlocks: false,
    },
    {
      arrival: (arrival) => router?.arrival(arrival),
      progress: (progress) => router?.progress(progress),
    },
  );
  const daemon = await DaemonProcess.start({
    path: options.daemonPath,
    logPath: options.daemonLogPath,
    engines: fleet.engines.map(({ worker, endpoint, replayEndpoint }) => ({
      id: worker,
      model: MODEL,
      endpoint,
      replay_endpoint: replayEndpoint,
    })),
  });
  const client = new DaemonClient(daemon.url);
  const workers = fleet.engines.map(({ worker }) => ({ worker, capacityTokens: BLOCKS * BLOCK_SIZE }));
  router = new Router(
    {
      model: MODEL,
      blockSize: BLOCK_SIZE,
      requestCount: requests.length,
      workers,
      sessionOf: () => null,
      sharedLater: () => 0,
    },
    makePolicy("kvsync", workers, options.seed),
    client,
    (request, engine) => {
      fleet.submit(request, engine);
    },
  );
  await fleet.call("begin", null);
  const [first] = requests;
  const example =
    first === undefined ? [] : [...promptTokens(first, options.seed).subarray(0, 3 * BLOCK_SIZE)];
  console.line(addresses(daemon.url, example));
  await sleep(2 ** 31 - 1, undefined, { signal }).catch(() => undefined);
  console.line("\nstopping");
  client.close();
  await daemon.stop();
  await fleet.stop();
}

/** Commands to try. The example's tokens are the system prompt that every conversation of the workload begins with. */
function addresses(url: string, exampleTokens: readonly number[]): string {
  const body = JSON.stringify({ model: MODEL, token_ids: exampleTokens });
  return `
The daemon and ${ENGINES} engines stay up with light traffic. The daemon's web page:
  ${url}/dashboard/
Or ask it:
  curl -s ${url}/api/v1/engines
  curl -s '${url}/readyz?verbose'
  curl -s ${url}/metrics
  curl -s ${url}/api/v1/match -H 'content-type: application/json' -d '${body}'
Ctrl-C ends it.`;
}
