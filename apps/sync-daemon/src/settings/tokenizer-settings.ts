/**
 * Settings of tokenizers. Where the default one is has the operators' names, in section `sync` (settings/settings.ts); how it is asked, and which
 * models have another one, is here.
 *
 *     sync.tokenizer_endpoint   every model without an entry
 *     tokenizer.models          one entry a model; the section's limits hold for each of them
 *       {model, endpoint, engine}                        asked over HTTP
 *       {model, tokenizer_file, config_file}             prompts are encoded by threads of the daemon, conversations over HTTP
 *       {…, template: local}                             conversations too, while they agree with the engine
 *
 * Lookups by prompt or messages use a tokenizer whenever there is one for their model.
 */

import { z } from "zod";

import { NAME_LENGTH_MAX } from "../engine/engine-entry.ts";
import {
  BASE_URL_EXPECTED,
  baseUrl,
  integer,
  isBaseUrl,
  seconds,
  section,
  SETTING_FACTS,
} from "./setting-field.ts";

const MIB = 1024 * 1024;
const ENGINE_EXPECTED = "vllm or sglang (their POST /tokenize)";
/** What metrics and the log call the tokenizer of all models that have none of their own. */
export const DEFAULT_TOKENIZER = "default";
/** Models with a tokenizer of their own. Each has connections, and series of metrics. */
const TOKENIZER_MODELS_MAX = 64;
const MODELS_EXPECTED = `a list of at most ${TOKENIZER_MODELS_MAX} {model, endpoint, engine, tokenizer_file, config_file, template}`;
const FILE_EXPECTED = "the path of a file";
const TEMPLATE_EXPECTED = "remote or local";
const SOURCE_EXPECTED = "endpoint, or tokenizer_file and config_file";
const MODEL_EXPECTED = `a model name of 1-${NAME_LENGTH_MAX} characters`;

/** Base URL of the tokenizer; `/tokenize` is put behind its path. */
export const tokenizerEndpoint = baseUrl(
  "Base URL of the tokenizer of all models that have none in tokenizer.models, for lookups by prompt or messages.",
  {
    env: "AIBRIX_REMOTE_TOKENIZER_ENDPOINT",
  },
);

const ENGINES = ["vllm", "sglang"] as const;

/** Whose `/tokenize` a tokenizer has. */
export type TokenizerEngine = (typeof ENGINES)[number];

/** Whose dialect of /tokenize it speaks. */
export const tokenizerEngine = z.enum(ENGINES, ENGINE_EXPECTED).default("vllm").register(SETTING_FACTS, {
  about: "Whose /tokenize is asked.",
  expected: ENGINE_EXPECTED,
  env: "AIBRIX_REMOTE_TOKENIZER_ENGINE",
});

const modelEntry = z.strictObject(
  {
    model: z.string(MODEL_EXPECTED).min(1, MODEL_EXPECTED).max(NAME_LENGTH_MAX, MODEL_EXPECTED),
    endpoint: z.string(BASE_URL_EXPECTED).refine(isBaseUrl, BASE_URL_EXPECTED).nullable().default(null),
    engine: z.enum(ENGINES, ENGINE_EXPECTED).default("vllm"),
    tokenizer_file: z.string(FILE_EXPECTED).min(1, FILE_EXPECTED).nullable().default(null),
    config_file: z.string(FILE_EXPECTED).min(1, FILE_EXPECTED).nullable().default(null),
    template: z.enum(["remote", "local"], TEMPLATE_EXPECTED).default("remote"),
  },
  MODELS_EXPECTED,
);

/** The field of an entry that does not fit the others. */
function contradictionIn(
  entry: z.output<typeof modelEntry>,
): { readonly field: keyof typeof entry; readonly expected: string } | null {
  const { endpoint, tokenizer_file: file, config_file: config, template } = entry;
  if (endpoint === null && file === null && config === null)
    return { field: "endpoint", expected: SOURCE_EXPECTED };
  if (file !== null && config === null)
    return { field: "config_file", expected: "the tokenizer_config.json of tokenizer_file" };
  if (file === null && config !== null)
    return { field: "tokenizer_file", expected: "the tokenizer.json of config_file" };
  if (file === null && template === "local")
    return { field: "template", expected: "remote, or tokenizer_file and config_file for local" };
  return null;
}

const models = z
  .array(modelEntry, MODELS_EXPECTED)
  .max(TOKENIZER_MODELS_MAX, MODELS_EXPECTED)
  .superRefine((entries, context) => {
    const refuse = (i: number, message: string): void => {
      context.addIssue({ code: "custom", path: [i, "model"], message });
    };
    for (const [i, { model }] of entries.entries()) {
      const first = entries.findIndex((one) => one.model === model);
      if (first < i) refuse(i, `a model of its own; tokenizer.models.${first} has the same`);
      if (model === DEFAULT_TOKENIZER)
        refuse(i, `another name: ${DEFAULT_TOKENIZER} stands for sync.tokenizer_endpoint in metrics`);
    }
    for (const [i, entry] of entries.entries()) {
      const contradiction = contradictionIn(entry);
      if (contradiction === null) continue;
      const { field, expected: message } = contradiction;
      context.addIssue({ code: "custom", path: [i, field], message });
    }
  })
  .default([])
  .register(SETTING_FACTS, {
    about: "Models with a tokenizer of their own. An adapter has that of its model.",
    expected: MODELS_EXPECTED,
    textForm: "none",
  });

/** Section `tokenizer`. */
export const tokenizerSection = section({
  timeout_seconds: seconds("Longest wait for tokens, a second attempt included.", 1, 0.01, 60),
  connections: integer("Connections kept open to each tokenizer.", 16, 1, 1024),
  requests: integer(
    "Open or waiting requests to each tokenizer at once; more are answered by fallback.",
    256,
    1,
    65_536,
  ),
  cache_bytes: integer(
    "Memory for remembered tokens of all tokenizers; 0 remembers none.",
    64 * MIB,
    0,
    4096 * MIB,
  ),
  circuit_failures: integer(
    "Failures in a row after which a tokenizer is left alone for a while.",
    5,
    1,
    1000,
  ),
  models,
  threads: integer(
    "Threads that encode by tokenizer_file of tokenizer.models. Each holds every vocabulary in memory.",
    1,
    1,
    16,
  ),
  segment_cache_bytes: integer(
    "Memory for remembered segments of prompts that are encoded here; 0 remembers none.",
    256 * MIB,
    0,
    4096 * MIB,
  ),
  parity_sample: integer(
    "One of so many conversations that are rendered here is compared with the remote tokenizer.",
    1000,
    1,
    1_000_000,
  ),
  circuit_open_seconds: seconds("How long it is left alone before one request tries it again.", 5, 0.05, 600),
});

/** A model's own tokenizer. */
export type TokenizerModel = z.output<typeof modelEntry>;

/**
 * Refuses templates that nobody could compare with the engine.
 *
 * @param settings - of the two sections.
 * @param refuse - hears of each, with its path and what is expected.
 */
export function refuseUnwatchedTemplates(
  settings: {
    readonly sync: { readonly tokenizer_endpoint: string | null };
    readonly tokenizer: { readonly models: readonly Partial<TokenizerModel>[] };
  },
  refuse: (path: readonly PropertyKey[], message: string) => void,
): void {
  if (settings.sync.tokenizer_endpoint !== null) return;
  for (const [i, { template, endpoint }] of settings.tokenizer.models.entries())
    if (template === "local" && (endpoint === null || endpoint === undefined))
      refuse(
        ["tokenizer", "models", i, "endpoint"],
        "an endpoint to compare the template with, or sync.tokenizer_endpoint",
      );
}

/** How tokenizers are asked. */
export type TokenizerSettings = z.output<typeof tokenizerSection>;
