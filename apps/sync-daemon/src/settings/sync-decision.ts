/**
 * Whether engines are followed.
 *
 *   sync.enabled  unset  engines that are listed, registered or found are followed; lookups by token ids need no tokenizer
 *                 true   AIBrix's rule: the remote tokenizer's settings belong to it, or sync is off with one warning
 *                 false  nothing is followed, every lookup answers "fallback"
 */

import type { Settings } from "./settings.ts";

/** Whether engines are followed, and why not. */
export type SyncDecision =
  | { readonly on: true }
  | { readonly on: false; readonly asked: boolean; readonly reason: string };

/**
 * Decides it (contract: sync asked for without its tokenizer settings is off, with one warning).
 *
 * @param settings - the `sync` section.
 * @returns on, or off with whether it had been asked for and the variable that is to blame.
 */
export function decideSync(settings: Settings["sync"]): SyncDecision {
  if (settings.enabled === null) return { on: true };
  if (!settings.enabled) return { on: false, asked: false, reason: "sync.enabled is false" };
  const missing =
    settings.remote_tokenizer !== true
      ? "AIBRIX_USE_REMOTE_TOKENIZER must be true"
      : settings.tokenizer_type !== "remote"
        ? "AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE must be remote"
        : settings.tokenizer_endpoint === null
          ? "AIBRIX_REMOTE_TOKENIZER_ENDPOINT must be set"
          : null;
  return missing === null ? { on: true } : { on: false, asked: true, reason: missing };
}
