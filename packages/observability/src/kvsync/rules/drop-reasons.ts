/**
 * Drop reasons that lose nothing: events that engines publish and the index does not hold, and
 * messages that a replay covers. They are counted like every drop, but fire no alert.
 */

import type { DROP_REASONS } from "../catalogue/label-domains.ts";

/** Reasons that cannot make an answer wrong. */
export const HARMLESS_DROP_REASONS = [
  "repeated_block",
  "no_blocks",
  "other_attention_kind",
  "unknown_group",
  "remote_locality",
  "never_indexed",
  "unknown_block",
  "duplicate",
  "covered_by_replay",
  "late_replay",
  "before_restart",
] as const satisfies readonly (typeof DROP_REASONS)[number][];
