import { describe, expect, test } from "vitest";

import { ChatTemplate, isPlainChat } from "./chat-template.ts";
import { CHAT_PROBES } from "./parity-probes.ts";
import { qwen3 } from "./testing/qwen3.ts";
import { tokenizeRequest, type TokenizerFields } from "./tokenize-request.ts";
import { VocabularyError } from "./vocabulary.ts";

const messages = [{ role: "user", content: "Hello" }];
const tool = { type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } };
const isPlain = (fields: TokenizerFields): boolean =>
  isPlainChat(tokenizeRequest("m", fields, { source: JSON.stringify(fields) }));

describe("P1: a conversation is plain", () => {
  test.each([
    { messages },
    { messages: [{ role: "system", content: "" }, ...messages, { role: "assistant", content: "Hi" }] },
    { messages, add_generation_prompt: false, add_special_tokens: true },
    { messages, tools: [tool], chat_template_kwargs: { enable_thinking: false } },
    ...CHAT_PROBES.map(({ fields }) => fields),
  ])("%j", (fields) => {
    expect(isPlain(fields)).toBe(true);
  });
});

describe("P1: the engine renders what it changes before", () => {
  test.each([
    { prompt: "a" },
    { messages: [{ role: "user", content: [{ type: "text", text: "Hello" }] }] },
    { messages: [{ role: "user", content: "Hello", name: "me" }] },
    { messages: [{ role: "assistant", content: null, tool_calls: [] }] },
    { messages: [{ role: "tool", content: "1" }] },
    { messages: [{ role: "user", content: "\ud800" }] },
    { messages, chat_template: "{{ messages }}" },
    { messages, continue_final_message: true },
    { messages, tools: [{ ...tool, strict: true }] },
    { messages, tools: [{ type: "function", function: { name: "f", parameters: {} } }] },
    { messages, tools: [{ function: tool.function, type: "function" }] },
    { messages, tools: ["f"] },
  ])("%j", (fields) => {
    expect(isPlain(fields as TokenizerFields)).toBe(false);
  });
});

test("P2: a conversation with names that JavaScript puts in another order is the engine's", () => {
  const parameters = { b: 1, 1: "first here, second in Python" };
  expect(isPlain({ messages, tools: [{ ...tool, function: { ...tool.function, parameters } }] })).toBe(false);
  expect(isPlain({ messages, chat_template_kwargs: { 0: true } })).toBe(false);
});

test("P2: tools with numbers that Python writes otherwise are the engine's, and so are those whose source is not known", () => {
  const fields = { messages, tools: [tool] };
  const source = JSON.stringify(fields).replace('"object"', '"object","default":1.0');
  expect(isPlainChat(tokenizeRequest("m", fields, { source }))).toBe(false);
  expect(isPlainChat(tokenizeRequest("m", fields))).toBe(false);
  expect(isPlainChat(tokenizeRequest("m", { messages }))).toBe(true);
});

test("a conversation is rendered by the template of the file, with its special tokens and the caller's arguments", () => {
  const template = new ChatTemplate(qwen3().config);
  expect(template.render({ messages })).toBe("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  expect(template.render({ messages, add_generation_prompt: false })).toBe(
    "<|im_start|>user\nHello<|im_end|>\n",
  );
  expect(template.render({ messages, chat_template_kwargs: { enable_thinking: false } })).toMatch(
    /<\|im_start\|>assistant\n<think>\n\n<\/think>\n\n$/,
  );
  const own = new ChatTemplate(
    JSON.stringify({
      bos_token: { content: "<s>" },
      eos_token: "</s>",
      chat_template: [
        { name: "tool_use", template: "" },
        { name: "default", template: "{{ bos_token }}{{ messages|length }}{{ eos_token }}" },
      ],
    }),
  );
  expect(own.render({ messages })).toBe("<s>1</s>");
});

test.each([
  ["{}", "has no chat_template to render with"],
  ['{"chat_template":[]}', "has no chat_template to render with"],
  ['{"chat_template":"{% if %}"}', "has a chat_template that @huggingface/jinja cannot read"],
])("a file %s is refused: it %s", (config, says) => {
  expect(() => new ChatTemplate(config)).toThrow(VocabularyError);
  expect(() => new ChatTemplate(config)).toThrow(says);
});
