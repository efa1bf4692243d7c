/**
 * Settings of the remote tokenizer. Where it is has the operators' names, in section `sync` (settings/settings.ts); how it is asked is here.
 *
 * Lookups by prompt or messages use the tokenizer whenever its endpoint is set.
 */

import { z } from "zod";

import { baseUrl, integer, seconds, section, SETTING_FACTS } from "./setting-field.ts";

const MIB = 1024 * 1024;
const ENGINE_EXPECTED = "vllm (its POST /tokenize)";

/** Base URL of the tokenizer; `/tokenize` is put behind its path. */
export const tokenizerEndpoint = baseUrl("Base URL of the tokenizer, for lookups by prompt or messages.", {
  env: "AIBRIX_REMOTE_TOKENIZER_ENDPOINT",
});

/** Whose dialect of /tokenize it speaks. */
export const tokenizerEngine = z.enum(["vllm"], ENGINE_EXPECTED).default("vllm").register(SETTING_FACTS, {
  about: "Whose /tokenize is asked.",
  expected: ENGINE_EXPECTED,
  env: "AIBRIX_REMOTE_TOKENIZER_ENGINE",
});

/** Section `tokenizer`. */
export const tokenizerSection = section({
  timeout_seconds: seconds("Longest wait for tokens, a second attempt included.", 1, 0.01, 60),
  connections: integer("Connections kept open to the tokenizer.", 16, 1, 1024),
  requests: integer(
    "Open or waiting requests to the tokenizer at once; more are answered by fallback.",
    256,
    1,
    65_536,
  ),
  cache_bytes: integer("Memory for remembered tokens; 0 remembers none.", 64 * MIB, 0, 4096 * MIB),
  circuit_failures: integer(
    "Failures in a row after which the tokenizer is left alone for a while.",
    5,
    1,
    1000,
  ),
  circuit_open_seconds: seconds("How long it is left alone before one request tries it again.", 5, 0.05, 600),
});

/** How the tokenizer is asked. */
export type TokenizerSettings = z.output<typeof tokenizerSection>;
