/**
 * Renders a conversation with a model's own chat template, as far as that can be done here.
 *
 *     conversation ─▶ plain? ─yes─▶ Jinja ─▶ text ─▶ vocabulary.ts
 *                        └no─▶ the engine renders it
 *
 * An engine changes a conversation before its template gets it: parts become one text, arguments of calls are parsed, fields are added to
 * tools. Python also writes some numbers otherwise than JavaScript. A plain conversation has none of this:
 *
 *  P1  Messages have a role and a text, and nothing else. Tools have every field that an engine would add, in its order
 *      (chat-template.test.ts "P1").
 *  P2  Python and JavaScript write all numbers of tools and template arguments alike, and keep names in the same order
 *      (chat-template.test.ts "P2").
 *
 * Even so the text can be another one: @huggingface/jinja is not Jinja. So the local tokenizer compares (template-trust.ts).
 * Source: apply_chat_template of huggingface/transformers; vllm/entrypoints/chat_utils.py (vllm-project/vllm).
 */

import { Template } from "@huggingface/jinja";
import { z } from "zod";

import type { TokenizeRequest, TokenizerFields } from "./tokenize-request.ts";
import { VocabularyError } from "./vocabulary.ts";
import { isWellFormed } from "../engine/well-formed.ts";

const tokenText = z.union([
  z.string(),
  z.looseObject({ content: z.string() }).transform(({ content }) => content),
]);
const namedTemplate = z.looseObject({ name: z.string(), template: z.string() });
const config = z.looseObject({
  chat_template: z.union([z.string(), z.array(namedTemplate)]).nullish(),
  bos_token: tokenText.nullish(),
  eos_token: tokenText.nullish(),
  unk_token: tokenText.nullish(),
  pad_token: tokenText.nullish(),
});

/** A model's template. */
export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: Readonly<Record<string, string>>;

  /**
   * @param text - of tokenizer_config.json.
   * @throws VocabularyError no_template.
   */
  constructor(text: string) {
    const read = config.safeParse(JSON.parse(text));
    const given = read.data?.chat_template ?? null;
    const source = Array.isArray(given) ? given.find(({ name }) => name === "default")?.template : given;
    const fault = (what: string): VocabularyError =>
      new VocabularyError({ code: "no_template", file: "config_file" }, what);
    if (source === undefined || source === null) throw fault("has no chat_template to render with");
    try {
      this.#template = new Template(source);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw fault(`has a chat_template that @huggingface/jinja cannot read: ${reason}`);
    }
    const { bos_token, eos_token, unk_token, pad_token } = read.data ?? {};
    this.#tokens = Object.fromEntries(
      Object.entries({ bos_token, eos_token, unk_token, pad_token }).flatMap(([name, token]) =>
        typeof token === "string" ? [[name, token]] : [],
      ),
    );
  }

  /**
   * Renders a plain conversation.
   *
   * @returns its text.
   * @throws Error of the template.
   */
  render(fields: TokenizerFields): string {
    return this.#template.render({
      ...this.#tokens,
      messages: fields.messages,
      tools: fields.tools === undefined || fields.tools.length === 0 ? null : fields.tools,
      documents: null,
      add_generation_prompt: fields.add_generation_prompt ?? true,
      ...fields.chat_template_kwargs,
    });
  }
}

/**
 * Whether a conversation is plain (P1, P2).
 *
 * @param request - with messages.
 * @returns false: the engine is to render it.
 */
export function isPlainChat({ fields, hasOddNumbers }: TokenizeRequest): boolean {
  const { messages, tools, chat_template_kwargs: options } = fields;
  if (messages === undefined || fields.chat_template !== undefined) return false;
  if (fields.continue_final_message === true || hasOddNumbers) return false;
  return messages.every(isPlainMessage) && (tools ?? []).every(isPlainTool) && hasOrder(options);
}

function isPlainMessage(message: Readonly<Record<string, unknown>>): boolean {
  const { role, content, ...others } = message;
  const isText = typeof content === "string" && isWellFormed(content);
  return isText && typeof role === "string" && role !== "tool" && Object.keys(others).length === 0;
}

/** As vLLM writes a tool: two fields, three in the function. Another order, or a field that is missing, would be rendered otherwise. */
function isPlainTool(tool: unknown): boolean {
  if (!isRecord(tool) || !isRecord(tool["function"])) return false;
  const { function: definition, type } = tool;
  const names = [...Object.keys(tool), ...Object.keys(definition)].join();
  return type === "function" && names === "type,function,name,description,parameters" && hasOrder(tool);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether JavaScript keeps the order of all names in a value, and its texts are well formed. The depth of bodies is bounded. */
function hasOrder(value: unknown): boolean {
  if (typeof value === "string") return isWellFormed(value);
  if (Array.isArray(value)) return value.every(hasOrder);
  if (!isRecord(value)) return true;
  return Object.entries(value).every(([name, one]) => !/^(?:0|[1-9]\d*)$/.test(name) && hasOrder(one));
}
