/**
 * `router-sim load`: sends a workload to a gateway that runs somewhere, round after round, and reports what engines counted.
 *
 *     workload, seed + round ─▶ POST /v1/completions ─▶ a line per round
 *
 * A round begins when all requests of the one before have ended, so at most one round's requests are open.
 */
import { Command, InvalidArgumentError } from "commander";

import { coded, numberOption } from "../option-parsers.ts";
import {
  openWorkload,
  parseWorkloadSource,
  WORKLOAD_HELP,
  type WorkloadSource,
} from "../workload/workload-source.ts";
import { complete } from "./completion.ts";
import { type PacedResult, sendPaced } from "./paced-requests.ts";

/** Of one round; its prompts are in memory. */
const REQUESTS_MAX = 100_000;
const ROUNDS_MAX = 1_000_000;
const SPEED_MAX = 10_000;
const SEED_MAX = 4_294_967_295;

interface LoadFlags {
  readonly url: string;
  readonly model: string;
  readonly workload: WorkloadSource;
  readonly requests: number;
  readonly rounds: number;
  readonly speed: number;
  readonly seed: number;
}

/**
 * The command.
 *
 * @param signal - ends it, as a fault of the run.
 * @param say - takes each line.
 * @param end - told whether every round had an answer.
 */
export function loadCommand(
  signal: AbortSignal,
  say: (line: string) => void,
  end: (isWell: boolean) => void,
): Command {
  return new Command("load")
    .description("Sends a workload to a gateway's POST /v1/completions, with prompts as token ids.")
    .requiredOption("--url <url>", "the gateway, for example http://127.0.0.1:8081", parseUrl)
    .requiredOption("--model <name>", "the model to ask for")
    .option("--workload <workload>", WORKLOAD_HELP, coded(parseWorkloadSource), parseWorkloadSource("chat"))
    .option("--requests <n>", "requests of a round", numberOption(1, REQUESTS_MAX), 300)
    .option("--rounds <n>", "rounds", numberOption(1, ROUNDS_MAX), ROUNDS_MAX)
    .option("--speed <x>", "workload seconds per second", numberOption(0.01, SPEED_MAX, "number"), 1)
    .option(
      "--seed <n>",
      "seeds the workload of the first round; each next one has the next seed",
      numberOption(0, SEED_MAX),
      1,
    )
    .action(async (flags: LoadFlags) => {
      end(await runLoad(flags, say, signal));
    });
}

async function runLoad(
  { url, model, workload: source, requests: requestsMax, rounds, speed, seed }: LoadFlags,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<boolean> {
  let isWell = true;
  for (let round = 0; round < rounds; round++) {
    const roundSeed = (seed + round) % (SEED_MAX + 1);
    const workload = await openWorkload(source, roundSeed);
    const requests = [];
    for (const request of workload.requests()) {
      requests.push(request);
      if (requests.length === requestsMax) break;
    }
    const gateway = { complete: ({ body }: { readonly body: string }) => complete(url, body) };
    const paced = { requests, model, seed: roundSeed, speed };
    const result = await sendPaced(paced, gateway, () => undefined, signal);
    say(roundLine(round, result));
    isWell &&= result.answered > 0;
  }
  return isWell;
}

function roundLine(round: number, result: PacedResult): string {
  const { answered, failed, failures, promptTokens, cachedTokens, seconds } = result;
  const share = ((100 * cachedTokens) / Math.max(1, promptTokens)).toFixed(1);
  const counts = `round ${round + 1}: ${answered} answered, ${failed} failed in ${seconds.toFixed(0)} s`;
  const why = failures[0] === undefined ? "" : `; first failure: ${failures[0]}`;
  return `${counts}, ${share} % of prompt tokens cached${why}`;
}

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.search + url.hash === "")
    return text.replace(/\/+$/, "");
  throw new InvalidArgumentError("Not a URL: expected http://HOST:PORT.");
}
