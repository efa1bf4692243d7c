/**
 * `engine-sim`: one simulated worker as a process. When its sockets are bound it writes one JSON line with the actual
 * endpoints to stdout, then runs until SIGINT or SIGTERM. Then it takes no new completions, finishes the
 * earlier ones, and ends. A second signal ends it at once.
 *
 * Exit codes: 0 ended by a signal, or help shown; 2 wrong usage or unusable settings, with one sentence on stderr; 1 a crash.
 */
import { CommanderError } from "commander";
import type { EngineSettings } from "./engine-contract.ts";
import { EngineError } from "./engine-error.ts";
import { engineCommand, type EngineOptions } from "./engine-options.ts";
import { checkInteger } from "./engine-settings.ts";
import { EngineWorker } from "./engine-worker.ts";
import { LOAD_OUTPUT_TOKENS, SelfLoad } from "./self-load.ts";

const USAGE_EXIT = 2;
/** Requests in a real second: many times what one process steps through, and a lag of a second is made up in one turn. */
const LOAD_PER_SECOND_MAX = 10_000;
const DRAIN_SECONDS_MAX = 3600;

function engineOf(options: EngineOptions): EngineSettings {
  return {
    id: options.id,
    model: options.model,
    blockSize: options.blockSize,
    blockCount: options.blocks,
    dpRank: options.dpRank,
    maxBatchedTokens: options.maxBatchedTokens,
    maxSequences: options.maxSequences,
    hashAlgorithm: options.hashAlgorithm,
    hashSeed: options.randomHashSeed === true ? null : options.hashSeed,
    dialect: options.dialect,
    hashForm: options.hashForm,
    reportMode: options.reportMode,
    loraNames: options.lora,
    hostBlockCount: options.hostBlocks,
  };
}

/** What only the process has; the rest is checked where it is used. */
function checkOptions(options: EngineOptions): void {
  const { blocks, blockSize, load, loadPromptTokens, seed, speed, drainSeconds } = options;
  const wrong = (setting: string, value: number, expected: string) =>
    new EngineError(
      { code: "invalid_setting", setting, value: String(value) },
      `setting ${setting} is ${value}, expected ${expected}`,
    );
  checkInteger("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  if (speed <= 0) throw wrong("speed", speed, "a factor above 0");
  if (!(drainSeconds >= 0 && drainSeconds <= DRAIN_SECONDS_MAX))
    throw wrong("drainSeconds", drainSeconds, `0 to ${DRAIN_SECONDS_MAX} seconds`);
  if (load < 0 || load * speed > LOAD_PER_SECOND_MAX)
    throw wrong("load", load, `a rate of 0 to ${LOAD_PER_SECOND_MAX}, times the speed`);
  if (!Number.isInteger(loadPromptTokens) || loadPromptTokens < 2)
    throw wrong("loadPromptTokens", loadPromptTokens, "a whole number from 2");
  const promptTokensMax = blocks * blockSize - LOAD_OUTPUT_TOKENS;
  if (load > 0 && loadPromptTokens > promptTokensMax)
    throw wrong("loadPromptTokens", loadPromptTokens, `at most ${promptTokensMax}: all blocks hold no more`);
}

/** Submits requests until the returned function is called. What is refused or aborted is said once per code. */
function generateLoad(options: EngineOptions, worker: EngineWorker): () => void {
  const load = new SelfLoad(options.load * options.speed, options.loadPromptTokens, options.seed);
  const reported = new Set<string>();
  let timer: NodeJS.Timeout;
  let ended = false;
  let dueMs = performance.now();
  const report = (error: unknown): void => {
    if (!(error instanceof EngineError)) throw error;
    if (!ended && !reported.has(error.code)) process.stderr.write(`own load: ${error.message}\n`);
    reported.add(error.code);
  };
  const submit = () => {
    try {
      worker.submit(load.nextRequest()).catch(report);
    } catch (error) {
      report(error);
    }
  };
  // Against a running due time: a timer takes a millisecond at least, and at high rates several requests fall into one.
  const schedule = () => {
    dueMs += load.nextDelaySeconds() * 1000;
    for (; dueMs <= performance.now(); dueMs += load.nextDelaySeconds() * 1000) submit();
    timer = setTimeout(
      () => {
        submit();
        schedule();
      },
      Math.max(0, dueMs - performance.now()),
    );
  };
  schedule();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

async function run(options: EngineOptions): Promise<void> {
  checkOptions(options);
  const worker = await EngineWorker.start({
    engine: engineOf(options),
    dpSize: options.dpSize,
    speed: options.speed,
    host: options.host,
    port: options.port,
    replayPort: options.replay ? options.replayPort : null,
    httpPort: options.httpPort,
    portPerRank: options.portPerRank,
    answerTokens: options.answerTokens,
    topic: options.topic,
    bufferSteps: options.bufferSteps,
    seed: options.seed,
  });
  const stopLoad = options.load > 0 ? generateLoad(options, worker) : () => undefined;
  const ranks = worker.ranks.map(({ engine, server, httpUrl }) => ({
    dpRank: engine.settings.dpRank,
    endpoint: server.endpoint,
    replayEndpoint: server.replayEndpoint,
    httpUrl,
  }));
  // The first rank's are at the top too: most workers have no other.
  process.stdout.write(`${JSON.stringify({ event: "listening", id: options.id, ...ranks[0], ranks })}\n`);
  await signal();
  stopLoad();
  await Promise.race([worker.drain(options.drainSeconds), signal()]);
  await worker.stop();
}

function signal(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const)
      process.once(name, () => {
        resolve();
      });
  });
}

try {
  await engineCommand(run).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE_EXIT;
  else if (error instanceof EngineError) {
    process.stderr.write(`engine-sim: ${error.message}\n`);
    process.exitCode = USAGE_EXIT;
  } else throw error;
}
