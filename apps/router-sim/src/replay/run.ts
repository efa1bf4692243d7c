/**
 * One run: one policy, one fresh fleet, one fresh daemon, the whole workload, the planned faults, the final audit.
 *
 *     start fleet ─▶ start daemon ─▶ daemon ready ─▶ clock begins ─▶ arrivals … faults … ─▶ all requests ended
 *     ─▶ pause ─▶ checkpoint ─▶ collect ─▶ stop daemon ─▶ stop fleet
 *
 * Daemon and fleet are always stopped before the run ends, also after an error.
 */
import { setTimeout as sleep } from "node:timers/promises";

import type { EngineTruth, LineageOf } from "../audit/audit.ts";
import { lineageFromPrompts } from "../audit/lineage.ts";
import { DaemonClient } from "../daemon/daemon-client.ts";
import { DaemonError } from "../daemon/daemon-error.ts";
import { DaemonProcess } from "../daemon/daemon-process.ts";
import { FleetClient } from "../fleet/fleet-client.ts";
import type { FleetSettings, FleetTotals } from "../fleet/messages.ts";
import { makePolicy } from "../policy/policies.ts";
import type { PolicyName } from "../policy/policies.ts";
import { answerTokens, promptTokens } from "../trace/prompt.ts";
import { TRACE_BLOCK_TOKENS } from "../trace/request.ts";
import { WorkloadFuture } from "../workload/workload-future.ts";
import type { WorkloadRequest } from "../workload/workload.ts";
import { type Checkpoint, checkpoint } from "./checkpoint.ts";
import type { FaultRecord, FaultSubjects } from "./faults.ts";
import { Router, type RouterBooks } from "./router.ts";
import type { StreamWish } from "./stream-watch.ts";
import { addStreamTotals, noStreamTotals, type StreamTotals, streamTotals } from "./stream-totals.ts";

/** The daemon has to say that it is ready within this time of its start. */
const READY_SECONDS_MAX = 30;
const POLL_MS = 25;

/** A corruption planted into the truth, to check that the audit finds it. */
export type PlantedDifference = "ghost" | "missing";

/**
 * Makes things go wrong while a run goes on. Called once, when its clock has begun; the run ends when it has.
 *
 * @param subjects - what it works on.
 * @param workloadEnded - aborted when the last request has ended.
 * @returns the faults that count for the run's report.
 */
export type Trouble = (
  subjects: FaultSubjects,
  workloadEnded: AbortSignal,
) => Promise<readonly FaultRecord[]>;

/** What a run is told. */
export interface RunSettings {
  readonly policy: PolicyName;
  readonly fleet: FleetSettings;
  readonly daemonPath: string;
  /** File that the daemon's log goes to; null for nowhere. */
  readonly daemonLogPath: string | null;
  readonly trouble: Trouble;
  /** What streams have to be before an audit, and how long that may take. */
  readonly settledWhen: StreamWish;
  readonly settleSecondsMax: number;
  readonly recoverySecondsMax: number;
  /** After which a lookup fails, and its request is routed without advice. */
  readonly lookupTimeoutMs: number;
  readonly plantedDifference: PlantedDifference | null;
}

/** What a run says while it goes on. */
export interface RunObserver {
  /** A line worth reading. */
  announce(line: string): void;
  /** Requests ended so far, and how far modelled time has come. */
  progress(ended: number, modelledSeconds: number): void;
}

/** What a run brought. */
export interface RunResult {
  readonly policy: PolicyName;
  readonly wallSeconds: number;
  readonly router: RouterBooks;
  readonly fleet: FleetTotals;
  readonly streams: StreamTotals;
  readonly faults: readonly FaultRecord[];
  readonly final: Checkpoint;
  /** 0 when the daemon ended in good order; null when it had to be killed. */
  readonly daemonExitCode: number | null;
}

/**
 * Runs.
 *
 * @param settings - see RunSettings.
 * @param observer - told what happens.
 * @param signal - ends the run early; it then throws the signal's reason.
 * @throws FleetError, DaemonError, EngineError when a part cannot be run at all.
 */
export async function runPolicy(
  settings: RunSettings,
  observer: RunObserver,
  signal: AbortSignal,
): Promise<RunResult> {
  let router: Router | null = null;
  const { requests } = settings.fleet;
  const fleet = await FleetClient.start(settings.fleet, {
    arrival: (arrival) => router?.arrival(arrival),
    progress: (progress) => {
      router?.progress(progress);
      const ended = (router?.counts.completions ?? 0) + (router?.counts.refusals ?? 0);
      observer.progress(Math.min(ended, requests.length), progress.modelledSeconds);
    },
  });
  let process: DaemonProcess | null = null;
  let daemon: DaemonClient | null = null;
  try {
    process = await DaemonProcess.start({
      path: settings.daemonPath,
      logPath: settings.daemonLogPath,
      engines: fleet.engines.map(({ worker, endpoint, replayEndpoint }) => ({
        id: worker,
        model: settings.fleet.model,
        endpoint,
        replay_endpoint: replayEndpoint,
      })),
    });
    daemon = new DaemonClient(process.url, settings.lookupTimeoutMs);
    await waitUntilReady(daemon, signal);
    const capacityTokens = settings.fleet.blockCount * settings.fleet.blockSize;
    const workers = fleet.engines.map(({ worker }) => ({ worker, capacityTokens }));
    router = new Router(
      {
        model: settings.fleet.model,
        blockSize: settings.fleet.blockSize,
        requestCount: requests.length,
        workers,
        sessionOf: (request) => requests[request]?.sessionId ?? null,
        sharedLater: settings.policy === "oracle" ? sharedLater(requests) : () => 0,
      },
      makePolicy(settings.policy, workers, settings.fleet.seed),
      daemon,
      (request, engine) => {
        fleet.submit(request, engine);
      },
    );
    const run = new Run(settings, { fleet, process, daemon, router }, observer, signal);
    return await run.toEnd();
  } finally {
    daemon?.close();
    await process?.stop();
    await fleet.stop();
  }
}

/** The parts of a run. */
interface RunParts {
  readonly fleet: FleetClient;
  readonly process: DaemonProcess;
  readonly daemon: DaemonClient;
  readonly router: Router;
}

class Run {
  readonly #settings: RunSettings;
  readonly #parts: RunParts;
  readonly #observer: RunObserver;
  readonly #signal: AbortSignal;
  /** Counters of daemons that were killed. */
  #formerStreams: StreamTotals = noStreamTotals();

  constructor(settings: RunSettings, parts: RunParts, observer: RunObserver, signal: AbortSignal) {
    this.#settings = settings;
    this.#parts = parts;
    this.#observer = observer;
    this.#signal = signal;
  }

  async toEnd(): Promise<RunResult> {
    const { fleet, process, daemon, router } = this.#parts;
    const beganMs = performance.now();
    await fleet.call("begin", null);
    const workloadEnded = new AbortController();
    const faults = this.#faults(workloadEnded.signal);
    // A fault's failure is reported when it is awaited below; until then it must not count as unhandled.
    faults.catch(() => undefined);
    while (!router.done) {
      this.#signal.throwIfAborted();
      if (fleet.failure !== null) throw fleet.failure;
      await sleep(POLL_MS);
    }
    workloadEnded.abort();
    const faultRecords = await faults;
    await fleet.call("pause", null);
    const final = await this.#checkpoint();
    const wallSeconds = (performance.now() - beganMs) / 1000;
    const streams = addStreamTotals(this.#formerStreams, streamTotals(await daemon.engines()));
    const totals = await fleet.call("totals", null);
    daemon.close();
    return {
      policy: this.#settings.policy,
      wallSeconds,
      router,
      fleet: totals,
      streams,
      faults: faultRecords,
      final,
      daemonExitCode: await process.stop(),
    };
  }

  #faults(workloadEnded: AbortSignal): Promise<readonly FaultRecord[]> {
    const { fleet, process, daemon, router } = this.#parts;
    return this.#settings.trouble(
      {
        fleet,
        process,
        daemon,
        seed: this.#settings.fleet.seed,
        dropPercent: this.#settings.fleet.dropPercent,
        recoverySecondsMax: this.#settings.recoverySecondsMax,
        arrivedShare: () => router.arrivedShare,
        beforeKill: async () => {
          this.#formerStreams = addStreamTotals(this.#formerStreams, streamTotals(await daemon.engines()));
        },
        checkpoint: () => this.#checkpoint(),
        announce: (line) => {
          this.#observer.announce(line);
        },
      },
      workloadEnded,
    );
  }

  async #checkpoint(): Promise<Checkpoint> {
    const { fleet, daemon } = this.#parts;
    return await checkpoint({
      fleet,
      daemon,
      model: this.#settings.fleet.model,
      blockSize: this.#settings.fleet.blockSize,
      settledWhen: this.#settings.settledWhen,
      settleSecondsMax: this.#settings.settleSecondsMax,
      lineageOf: this.#lineage,
      alterTruth: (truths) => plant(truths, this.#settings.plantedDifference),
    });
  }

  /** Rebuilds parents from the prompts and answers of all requests that a worker was ever sent. */
  readonly #lineage: LineageOf = (stream) => {
    const { requests, seed, blockSize } = this.#settings.fleet;
    const sent = this.#parts.router.requestsSentTo(stream.worker);
    return lineageFromPrompts(new Set(stream.hashes), wholeTexts(requests, sent, seed), blockSize);
  };
}

function* wholeTexts(
  requests: readonly WorkloadRequest[],
  indexes: Iterable<number>,
  seed: number,
): Generator<Uint32Array, void, undefined> {
  for (const index of indexes) {
    const request = requests[index];
    if (request === undefined) continue;
    const text = new Uint32Array(request.inputTokens + request.outputTokens);
    text.set(promptTokens(request, seed));
    text.set(answerTokens(request, index, seed), request.inputTokens);
    yield text;
  }
}

/** How much of each request later ones share. */
function sharedLater(requests: readonly WorkloadRequest[]): (request: number) => number {
  const workload = {
    name: "replay",
    requestCount: requests.length,
    blockTokens: TRACE_BLOCK_TOKENS,
    requests: () => requests,
  };
  const future = new WorkloadFuture(workload);
  return (position) => {
    const request = requests[position];
    return request === undefined ? 0 : future.sharedTokens(request, position);
  };
}

async function waitUntilReady(daemon: DaemonClient, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + 1000 * READY_SECONDS_MAX;
  while (!(await daemon.isReady())) {
    signal.throwIfAborted();
    if (performance.now() >= deadlineMs) {
      const facts = { code: "daemon_not_ready", seconds: READY_SECONDS_MAX } as const;
      throw new DaemonError(
        facts,
        `the daemon was not ready ${READY_SECONDS_MAX} s after its start (GET /readyz)`,
      );
    }
    await sleep(POLL_MS);
  }
}

/** Alters one row of the first engine that holds anything. */
function plant(truths: readonly EngineTruth[], planted: PlantedDifference | null): readonly EngineTruth[] {
  const victim = truths.findIndex(({ hashes }) => hashes.length > 0);
  if (planted === null || victim < 0) return truths;
  return truths.map((truth, position) => {
    if (position !== victim) return truth;
    if (planted === "ghost") {
      // The engine forgets its first row, so that what the daemon has of it is a ghost.
      const others = (_: unknown, row: number): boolean => truth.hashes[row] !== truth.hashes[0];
      return {
        ...truth,
        adapterOf: truth.adapterOf.filter(others),
        tierOf: truth.tierOf.filter(others),
        hashes: truth.hashes.filter(others),
        announcedIn: truth.announcedIn.filter(others),
      };
    }
    // The engine holds one block more than it announced.
    return {
      ...truth,
      adapterOf: Uint16Array.from([...truth.adapterOf, 0]),
      tierOf: Uint8Array.from([...truth.tierOf, 0]),
      hashes: BigUint64Array.from([...truth.hashes, 0xdead_beefn]),
      announcedIn: Float64Array.from([...truth.announcedIn, Number.MAX_SAFE_INTEGER]),
    };
  });
}
