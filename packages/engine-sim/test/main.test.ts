// engine-sim as a process: its output, its routes and its end. Runs the built program.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
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
    const endless = post("/v1/completions", { prompt, max_tokens: 100_000 });
    let running = false;
    await until("it runs", () => {
      void fetch(`${httpUrl}/counters`).then(async (response) => {
        const { engine } = (await response.json()) as { engine: { steps: number } };
        running = engine.steps > 20;
      });
      return running;
    });
    await post("/faults", { kind: "restart" });
    expect(await endless).toMatchObject({ status: 503, body: { error: { code: "request_aborted" } } });
  } finally {
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
  ])
    expect(program.output.stdout).toContain(option);
});
