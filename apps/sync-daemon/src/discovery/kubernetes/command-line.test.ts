import fc from "fast-check";
import { expect, test } from "vitest";

import { type ContainerText, modelOfFlags, modelOfTopic, topicOfFlags } from "./command-line.ts";

const container = (
  command: readonly string[],
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): readonly ContainerText[] => [{ command, args, env: new Map(Object.entries(env)) }];

test.each<[string, readonly ContainerText[], string | null]>([
  ["what serve names", container(["vllm", "serve"], ["org/model", "--port=1"]), "org/model"],
  ["a flag", container(["python3", "-m", "dynamo.vllm"], ["--model", "org/model"]), "org/model"],
  ["a flag with =", container(["x"], ["--model-path=org/model"]), "org/model"],
  ["the served name before the model", container(["x"], ["--model=a", "--served_model_name", "b"]), "b"],
  [
    "a script, with its lines joined",
    container(
      ["/bin/bash", "-c"],
      ["find /dev/shm -delete\nexec vllm serve \\\n  org/model \\\n  --port 8200"],
    ),
    "org/model",
  ],
  ["a script with quotes", container(["sh", "-c", "vllm serve 'org/model' --port 1"]), "org/model"],
  ["a variable of the pod", container(["x"], ["--model=$(NAME)"], { NAME: "org/model" }), "org/model"],
  ["a variable in a variable", container(["x"], ["--model=${A}"], { A: "org/$(B)", B: "b" }), "org/b"],
  ["a variable that only the shell knows", container(["x"], ["--model=$NAME"]), null],
  ["a variable of itself", container(["x"], ["--model=$(A)"], { A: "$(A)$(A)" }), null],
  ["serve with a flag first", container(["vllm", "serve"], ["--port=1"]), null],
  ["a program of another name", container(["ray", "serve"], ["org/model"]), null],
  ["nothing", [], null],
])("the model of a command line: %s", (_, containers, model) => {
  expect(modelOfFlags(containers)).toBe(model);
});

test.each<[readonly string[], string | null]>([
  [["--kv-events-config", '{"publisher":"zmq","topic":"kv@$(IP)@m"}'], "kv@10.0.0.1@m"],
  [['--kv_events_config={"topic": "kv@p@m"}'], "kv@p@m"],
  [["-c", 'vllm serve m --kv-events-config "{\\"topic\\":\\"kv@${IP}@m\\"}"'], "kv@10.0.0.1@m"],
  [["--kv-events-config", '{"topic":"kv@$OTHER@m"}'], null],
  [["--kv-events-config", "{"], null],
  [["--kv-events-config"], null],
])("the topic of %j", (args, topic) => {
  expect(topicOfFlags(container(["x"], args, { IP: "10.0.0.1" }))).toBe(topic);
});

test.each([
  ["kv@10.0.0.1:8000@org/model", "org/model"],
  ["kv@pod@", null],
  ["kv@pod", null],
  ["kv@pod@a@b", null],
  ["kv-events", null],
])("the model of the topic %j", (topic, model) => {
  expect(modelOfTopic(topic)).toBe(model);
});

test("no command line throws", () => {
  const part = fc.string({
    unit: fc.constantFrom("-", "c", '"', "'", "\\", "$", "(", ")", "{", "}", " ", "\n", "=", "a"),
  });
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.dictionary(fc.constantFrom("a", "c"), part),
      (args, env) => {
        modelOfFlags(container(["vllm", "serve", "-c"], args, env));
        topicOfFlags(container(["-c"], ["--kv-events-config", ...args], env));
      },
    ),
  );
});

test("the time that a command line takes grows with its length, not with its square", () => {
  const timeOf = (characters: number): number => {
    const script = `vllm serve ${'"\\'.repeat(characters / 2)}`;
    const began = performance.now();
    for (let i = 0; i < 5; i++) modelOfFlags(container(["sh", "-c", script]));
    return performance.now() - began;
  };
  timeOf(1000);
  expect(timeOf(60_000) / timeOf(6000)).toBeLessThan(60);
});
