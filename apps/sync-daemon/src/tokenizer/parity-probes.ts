/** Questions of our own, no user's, that show differences between tokenizers and between templates. */

import type { TokenizerFields } from "./tokenize-request.ts";

const user = (content: string): { readonly role: string; readonly content: string } => ({
  role: "user",
  content,
});
const assistant = (content: string): { readonly role: string; readonly content: string } => ({
  role: "assistant",
  content,
});
const system = (content: string): { readonly role: string; readonly content: string } => ({
  role: "system",
  content,
});

const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a place, née <météo>.",
    parameters: {
      type: "object",
      properties: {
        place: { type: "string" },
        days: { type: "integer", maximum: 14, default: 1 },
        above: { type: "number", minimum: -0.5 },
      },
      required: ["place"],
    },
  },
} as const;

/** One question. */
export interface ParityProbe {
  readonly name: string;
  readonly fields: TokenizerFields;
}

/** Texts. */
export const TEXT_PROBES: readonly ParityProbe[] = [
  { name: "a text", fields: { prompt: "The KV cache holds 1234 blocks,  two spaces, and a tab\there." } },
  { name: "a text without special tokens", fields: { prompt: "plain words", add_special_tokens: false } },
  { name: "several scripts", fields: { prompt: "naïve façade, 東京 и Москва, emoji 🧩, line\nbreak" } },
];

/** Conversations that templates render. */
export const CHAT_PROBES: readonly ParityProbe[] = [
  {
    name: "a conversation",
    fields: { messages: [system("Be brief."), user("Which blocks?")], add_generation_prompt: true },
  },
  { name: "one question", fields: { messages: [user("Hello")] } },
  {
    name: "several turns",
    fields: {
      messages: [
        system("Be brief."),
        user("One?"),
        assistant("Two."),
        user("Three?"),
        assistant("4"),
        user("5"),
      ],
    },
  },
  {
    name: "white space at the ends of turns",
    fields: { messages: [user("\n  spaces\t\n"), assistant("\n\n  indented\n\n"), user(" again ")] },
  },
  {
    name: "an answer with thoughts",
    fields: {
      messages: [user("Why?"), assistant("<think>\n\n  because \n</think>\n\n\t So."), user("Go on")],
    },
  },
  {
    name: "an open turn at the end",
    fields: { messages: [user("Count."), assistant("\n  One, two")], add_generation_prompt: false },
  },
  {
    name: "several scripts in turns",
    fields: { messages: [user("naïve 東京 🧩\r\n"), assistant("Москва"), user("<|x|>")] },
  },
  { name: "a tool", fields: { messages: [system("Be brief."), user("Rain in Nîmes?")], tools: [WEATHER] } },
];
