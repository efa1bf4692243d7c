/**
 * The command line of `engine-sim`, one engine as a process.
 *
 * Numbers are checked where they are used (EngineError `invalid_setting`), so that a wrong option
 * and a wrong setting get the same sentence. Here only texts that are not numbers are refused.
 */
import { type Dialect, DIALECTS, numberParser } from "@kvsync/core";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  DEFAULT_BATCHED_TOKENS,
  DEFAULT_DIALECT,
  DEFAULT_HASH_SEED,
  DEFAULT_SEQUENCES,
} from "./engine-settings.ts";
import { DEFAULT_ANSWER_TOKENS } from "./engine-server.ts";
import { HASH_ALGORITHMS, type HashAlgorithm } from "./engine-hash.ts";

/** What the command line says, by option. */
export interface EngineOptions {
  readonly id: string;
  readonly model: string;
  readonly host: string;
  readonly port: number;
  readonly replayPort: number;
  readonly replay: boolean;
  readonly httpPort: number;
  readonly portPerRank?: boolean;
  readonly dpRank: number;
  readonly dpSize: number;
  readonly blocks: number;
  readonly blockSize: number;
  readonly hostBlocks: number;
  readonly maxBatchedTokens: number;
  readonly maxSequences: number;
  readonly dialect: Dialect;
  readonly hashAlgorithm?: HashAlgorithm;
  readonly hashSeed: string;
  readonly randomHashSeed?: boolean;
  readonly hashForm: "int" | "bytes";
  readonly reportMode: "delta" | "full";
  readonly lora: readonly string[];
  readonly topic: string;
  readonly bufferSteps?: number;
  readonly load: number;
  readonly loadPromptTokens: number;
  readonly speed: number;
  readonly answerTokens: number;
  readonly drainSeconds: number;
  readonly seed: number;
}

/**
 * The command, ready to parse.
 *
 * @param run - called with the options when they are in order.
 * @returns the caller calls `parseAsync`. Wrong usage ends the process with 2 by commander's `exitOverride`.
 */
export function engineCommand(run: (options: EngineOptions) => Promise<void>): Command {
  const number = numberParser({ kind: "number" }, InvalidArgumentError);
  const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value];
  return new Command("engine-sim")
    .description(
      "A simulated inference engine: publishes KV-cache events as a real one does, in scaled real time.",
    )
    .option("--id <id>", "worker id", "engine-0")
    .option("--model <name>", "model name", "simulated/model")
    .option("--host <address>", "address to bind to", "127.0.0.1")
    .option("--port <port>", "event port of DP rank 0; 0 takes a free one", number, 5557)
    .option("--replay-port <port>", "replay port of DP rank 0; 0 takes a free one", number, 5657)
    .option("--no-replay", "run without a replay socket")
    .option("--http-port <port>", "HTTP port; 0 takes a free one", number, 8000)
    .option("--dp-rank <rank>", "first data-parallel rank; a rank is added to both event ports", number, 0)
    .option("--dp-size <count>", "data-parallel ranks, all in this process", number, 1)
    .option("--port-per-rank", "give each rank an HTTP port of its own, from --http-port on")
    .option("--blocks <count>", "physical KV blocks", number, 16_384)
    .option("--block-size <tokens>", "tokens per KV block", number, 16)
    .option("--host-blocks <count>", "blocks of the host tier", number, 0)
    .option("--max-batched-tokens <count>", "token budget of a step", number, DEFAULT_BATCHED_TOKENS)
    .option("--max-sequences <count>", "requests running at once", number, DEFAULT_SEQUENCES)
    .addOption(
      new Option("--dialect <name>", "engine version to speak as")
        .choices(Object.keys(DIALECTS))
        .default(DEFAULT_DIALECT),
    )
    .addOption(
      new Option(
        "--hash-algorithm <name>",
        "how blocks are named (default: as the dialect's engine)",
      ).choices([...HASH_ALGORITHMS]),
    )
    .option(
      "--hash-seed <text>",
      "PYTHONHASHSEED; engines with equal seeds name blocks alike",
      DEFAULT_HASH_SEED,
    )
    .option("--random-hash-seed", "draw a random root at every start instead")
    .addOption(
      new Option("--hash-form <form>", "hashes on the wire").choices(["int", "bytes"]).default("int"),
    )
    .addOption(
      new Option("--report-mode <mode>", "full announces cached blocks again")
        .choices(["delta", "full"])
        .default("delta"),
    )
    .option("--lora <name>", "adapter to serve; may be repeated", collect, [])
    .option("--topic <text>", "topic of every message", "")
    .option("--buffer-steps <count>", "batches of replay history (default: 10000)", number)
    .option("--load <rate>", "requests per second that the engine gives itself; 0 for none", number, 0)
    .option("--load-prompt-tokens <count>", "prompt length of these", number, 2048)
    .option("--speed <factor>", "modeled seconds per real second", number, 1)
    .option(
      "--answer-tokens <count>",
      "tokens after which an answer ends by itself, if max_tokens allows",
      number,
      DEFAULT_ANSWER_TOKENS,
    )
    .option("--drain-seconds <seconds>", "how long completions may take after SIGTERM", number, 30)
    .option("--seed <number>", "seed of load and faults", number, 1)
    .showHelpAfterError("--help lists all options.")
    .exitOverride()
    .action(run);
}
