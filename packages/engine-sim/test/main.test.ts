// engine-sim as a process: its output, its routes and its end. Runs the built program.
// Numbers in titles: O of completion-routes.ts, W of engine-worker.ts.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { complete, events, post as postTo, send } from "./http-client.ts";
import { replay, until } from "./listener.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));

interface Program {
  readonly child: ChildProcessWithoutNullStreams;
  readonly output: { stdout: string; stderr: string };
  readonly exit: Promise<number | null>;
}

function start(...options: string[]): Program {
  const child = spawn(process.execPath, [MAIN, ...options]);
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  const exit = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, output, exit };
}

/** Asks until the answer is as wanted, one question after the other. */
async function untilAnswer(
  url: string,
  isWanted: (response: Response) => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await isWanted(await fetch(url))))
    if (performance.now() > deadline) throw new Error(`${url} did not answer as wanted in 10 seconds`);
}

test("serves events of its own load, tells its ports in one line, and ends with 0 on SIGTERM", async () => {
  const program = start(
    "--port=0",
    "--replay-port=0",
    "--http-port=0",
    "--load=50",
    "--load-prompt-tokens=64",
    "--speed=20",
  );
  try {
    await until("it listens", () => program.output.stdout.includes("\n"));
    const line = JSON.parse(program.output.stdout) as Record<string, string>;
    expect(line).toMatchObject({ event: "listening", id: "engine-0" });
    let numbers: number[] = [];
    let polling = false;
    await until("its load is published", () => {
      if (!polling) {
        polling = true;
        void replay(line["replayEndpoint"]!, 0).then((answer) => {
          numbers = answer.numbers;
          polling = false;
        });
      }
      return numbers.length > 20;
    });
    expect(numbers).toEqual(numbers.map((_, index) => index));
    expect((await fetch(`${line["httpUrl"]!}/health`)).status).toBe(200);
  } finally {
    program.child.kill("SIGTERM");
  }
  expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
});

test("answers completions, tells how much of the prompt was cached, and loses them in a restart", async () => {
  const program = start("--port=0", "--replay-port=0", "--http-port=0", "--speed=100", "--lora=adapter");
  try {
    await until("it listens", () => program.output.stdout.includes("\n"));
    const { httpUrl } = JSON.parse(program.output.stdout) as { httpUrl: string };
    const post = async (path: string, body: object) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${httpUrl}${path}`, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const prompt = Array.from({ length: 100 }, (_, i) => i);
    const usage = { prompt_tokens: 100, completion_tokens: 3, total_tokens: 103 };
    for (const [model, cached] of [
      ["simulated/model", 0],
      ["simulated/model", 96],
      ["adapter", 0],
    ] as const)
      expect(await post("/v1/completions", { model, prompt, max_tokens: 3 })).toMatchObject({
        status: 200,
        body: { usage: { ...usage, prompt_tokens_details: { cached_tokens: cached } } },
      });
    expect((await post("/v1/completions", { prompt: [-1] })).body).toMatchObject({
      error: { code: "malformed_body" },
    });
    expect(await post("/v1/completions", { model: "other", prompt })).toMatchObject({ status: 404 });
    const endless = post("/v1/completions", { prompt, max_tokens: 100_000, ignore_eos: true });
    await untilAnswer(`${httpUrl}/counters`, async (response) => {
      const { engine } = (await response.json()) as { engine: { steps: number } };
      return engine.steps > 20;
    });
    await post("/faults", { kind: "restart" });
    expect(await endless).toMatchObject({ status: 503, body: { error: { code: "request_aborted" } } });
  } finally {
    program.child.kill("SIGTERM");
  }
  expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
});
const ON_FREE_PORTS = ["--port=0", "--replay-port=0", "--http-port=0"];

interface Listening {
  readonly httpUrl: string;
  readonly ranks: readonly {
    readonly dpRank: number;
    readonly endpoint: string;
    readonly replayEndpoint: string;
    readonly httpUrl: string;
  }[];
}

async function listening(program: Program): Promise<Listening> {
  await until("it listens", () => program.output.stdout.includes("\n"));
  return JSON.parse(program.output.stdout) as Listening;
}

/** Completion tokens and finish reason of a stream, or its error. */
async function outcomeOf(response: Response): Promise<unknown> {
  const data = await events(response);
  if (data.at(-1) !== "[DONE]") return JSON.parse(data.at(-1) ?? "null");
  const { choices } = JSON.parse(data.at(-2) ?? "null") as {
    choices: readonly { finish_reason: string | null }[];
  };
  return [data.length - 1, choices[0]?.finish_reason];
}

const isDraining = ({ status }: Response): boolean => status === 503;

test("serves the ranks of --dp-size at one port, each with events of its own", async () => {
  const program = start(...ON_FREE_PORTS, "--speed=1000", "--dp-size=3", "--dp-rank=1");
  try {
    const { httpUrl, ranks } = await listening(program);
    expect(ranks.map(({ dpRank, httpUrl: url }) => [dpRank, url])).toEqual(
      [1, 2, 3].map((rank) => [rank, httpUrl]),
    );
    const prompt = Array.from({ length: 40 }, (_, i) => i);
    for (const rank of ["3", "3", "1"])
      await complete(
        `${httpUrl}/v1/completions`,
        { prompt, max_tokens: 1 },
        { "x-data-parallel-rank": rank },
      );
    const counts = await Promise.all(ranks.map(({ replayEndpoint }) => replay(replayEndpoint, 0)));
    expect(counts.map(({ numbers }) => numbers)).toEqual([[0], [], [0]]);
    const info = await fetch(`${httpUrl}/server_info?dp_rank=3`);
    expect(await info.json()).toMatchObject({
      dp_size: 3,
      kv_events: { dp_rank: 3, endpoint: ranks[2]?.endpoint },
    });
  } finally {
    program.child.kill("SIGTERM");
  }
  expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
});

test("serves each rank at a port of its own with --port-per-rank", async () => {
  const program = start(...ON_FREE_PORTS, "--speed=1000", "--dp-size=2", "--port-per-rank");
  try {
    const { ranks } = await listening(program);
    const [first = "", second = ""] = ranks.map(({ httpUrl }) => httpUrl);
    expect(first).not.toBe(second);
    const cached = async (url: string): Promise<number> => {
      const { usage } = await complete(`${url}/v1/completions`, { prompt: "x ".repeat(100), max_tokens: 1 });
      return usage.prompt_tokens_details.cached_tokens;
    };
    expect([await cached(first), await cached(second)]).toEqual([0, 0]);
    expect((await cached(second)) > 0).toBe(true);
    const refused = await postTo(
      `${second}/v1/completions`,
      { prompt: "x" },
      { "x-data-parallel-rank": "0" },
    );
    expect(refused).toMatchObject({ status: 400, body: { error: { code: "unknown_rank" } } });
    const page = await (await fetch(`${second}/metrics`)).text();
    expect([page.includes('engine="0"'), page.includes('engine="1"')]).toEqual([false, true]);
  } finally {
    program.child.kill("SIGTERM");
  }
  expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
});

test("O3: after SIGTERM it finishes what is under way, refuses what is new, and ends with 0", async () => {
  const program = start(...ON_FREE_PORTS);
  const { httpUrl } = await listening(program);
  const url = `${httpUrl}/v1/completions`;
  const body = { prompt: "Once", max_tokens: 150, ignore_eos: true, stream: true };
  const streamed = await send(url, body);
  const whole = complete(url, { ...body, stream: false });
  await untilAnswer(`${httpUrl}/metrics`, async (response) =>
    /num_requests_running\{.*\} 2/.test(await response.text()),
  );
  program.child.kill("SIGTERM");
  await untilAnswer(`${httpUrl}/health`, isDraining);
  expect(await postTo(url, body)).toMatchObject({ status: 503, body: { error: { code: "draining" } } });
  expect(await outcomeOf(streamed)).toEqual([150, "length"]);
  expect((await whole).usage.completion_tokens).toBe(150);
  expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
});

test("W2: after --drain-seconds, or a second signal, it ends what is still under way with an error", async () => {
  for (const [option, signals] of [
    ["--drain-seconds=0.2", 1],
    ["--drain-seconds=60", 2],
  ] as const) {
    const program = start(...ON_FREE_PORTS, option);
    const { httpUrl } = await listening(program);
    const body = { prompt: "Once", max_tokens: 100_000, ignore_eos: true, stream: true };
    const streamed = await send(`${httpUrl}/v1/completions`, body);
    program.child.kill("SIGTERM");
    if (signals === 2) {
      await untilAnswer(`${httpUrl}/health`, isDraining);
      program.child.kill("SIGINT");
    }
    expect(await outcomeOf(streamed)).toMatchObject({ error: { code: "request_aborted" } });
    expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
  }
});

test("stopped and continued, it answers nothing meanwhile and loses nothing", async () => {
  const program = start(...ON_FREE_PORTS);
  try {
    const { httpUrl } = await listening(program);
    const body = { prompt: "Once", max_tokens: 200, ignore_eos: true, stream: true };
    const streamed = await send(`${httpUrl}/v1/completions`, body);
    program.child.kill("SIGSTOP");
    await expect(fetch(`${httpUrl}/health`, { signal: AbortSignal.timeout(300) })).rejects.toThrow("timeout");
    program.child.kill("SIGCONT");
    expect(await outcomeOf(streamed)).toEqual([200, "length"]);
    expect((await fetch(`${httpUrl}/health`)).status).toBe(200);
  } finally {
    program.child.kill("SIGCONT");
    program.child.kill("SIGTERM");
  }
  expect([await program.exit, program.output.stderr]).toEqual([0, ""]);
});

test.each([
  [
    ["--port=x"],
    /'--port <port>' argument 'x' is invalid\. Not a number: expected a number; write it in decimal/,
  ],
  [["--blocks=0x10"], /'--blocks <count>' argument '0x10' is invalid\. Not a number/],
  [["--dialect=vllm-1"], /--dialect.*Allowed choices are vllm-0.9.0/],
  [["--blocks=0"], /blockCount is 0, expected a whole number in 1/],
  [["--speed=0"], /speed is 0, expected a factor above 0/],
  [["--dp-size=0"], /dpSize is 0, expected a whole number in 1 … 256/],
  [["--dp-size=2", "--dp-rank=255"], /dpSize is 2, expected a whole number in 1 … 1/],
  [["--answer-tokens=0"], /answerTokens is 0, expected a whole number in 1/],
  [["--drain-seconds=-1"], /drainSeconds is -1, expected 0 to 3600 seconds/],
  [
    ["--http-port=65535", "--dp-size=2", "--port-per-rank"],
    /httpPort is 65535, expected a whole number in 0 … 65534/,
  ],
  [["--seed=1.5"], /seed is 1.5, expected a whole number in 0/],
  [["--load=20", "--speed=1000"], /load is 20, expected a rate of 0 to 10000, times the speed/],
  [["--load=1", "--blocks=10"], /loadPromptTokens is 2048, expected at most 96/],
  [["--nonsense"], /unknown option '--nonsense'\n--help lists all options/],
  [["--dialect=trtllm", "--lora=a"], /loraNames is "a", expected none: trtllm/],
])("with %j it ends with 2 and says what was wrong", async (options, message) => {
  const program = start(...options);
  expect(await program.exit).toBe(2);
  expect(program.output.stderr).toMatch(message);
  expect(program.output.stdout).toBe("");
});

test("--help lists every option and ends with 0", async () => {
  const program = start("--help");
  expect(await program.exit).toBe(0);
  for (const option of [
    "--model",
    "--port",
    "--replay-port",
    "--http-port",
    "--blocks",
    "--block-size",
    "--dialect",
    "--load",
    "--dp-size",
    "--port-per-rank",
    "--answer-tokens",
    "--drain-seconds",
  ])
    expect(program.output.stdout).toContain(option);
});
