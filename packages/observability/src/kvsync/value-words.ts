/**
 * Names that texts of panels and runbooks have for some values of a label. A query that keeps these values has the words in its text
 * (proof/check-value-words.ts). Values that a text names by themselves are not here.
 */

import type { ValueWords } from "../project.ts";
import { DROP_REASONS } from "./catalogue/label-domains.ts";
import { NO_PROMPT_REASONS, PICK_REASONS, SHARD_OUTCOMES } from "./catalogue/picker.ts";
import { TOKENIZER_FAULTS } from "./catalogue/tokenizer.ts";
import { HARMLESS_DROP_REASONS } from "./rules/drop-reasons.ts";

function without(all: readonly string[], some: readonly string[]): readonly string[] {
  return all.filter((one) => !some.includes(one));
}

/** All of them. */
export const VALUE_WORDS: readonly ValueWords[] = [
  { label: "trust", values: ["partial", "stale", "unknown"], words: "not exact" },
  {
    label: "reason",
    values: without(DROP_REASONS, HARMLESS_DROP_REASONS),
    words: "drops that lose nothing are left out",
  },
  { label: "reason", values: without(PICK_REASONS, ["none"]), words: "not decided by the index" },
  { label: "reason", values: without(PICK_REASONS, NO_PROMPT_REASONS), words: "requests with a prompt" },
  { label: "outcome", values: TOKENIZER_FAULTS, words: "did not answer in time or at all" },
  { label: "outcome", values: without(SHARD_OUTCOMES, ["ok"]), words: "no usable answer" },
  { label: "outcome", values: ["differ"], words: "store otherwise" },
  { label: "outcome", values: ["agree", "differ"], words: "checked prompts" },
  { label: "event_type", values: ["AllBlocksCleared"], words: "caches cleared" },
  { label: "state", values: ["stale"], words: "is behind" },
  { label: "operation", values: ["match"], words: "lookups" },
  { label: "kind", values: ["foreign_running"], words: "foreign requests" },
];
