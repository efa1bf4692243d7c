/**
 * Whether engines are followed.
 *
 *     sync.enabled          true    engines that are listed, registered or found are followed; lookups by token ids need no tokenizer
 *                           false   nothing is followed, every lookup answers "fallback"
 *                           unset   sync.aibrix_enabled decides
 *     sync.aibrix_enabled   unset   engines are followed
 *                           true    AIBrix's rule: the remote tokenizer's settings belong to it, or sync is off with one warning
 *                           false   nothing is followed
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
 * @returns on, or off with whether it had been asked for and the setting that is to blame.
 */
export function decideSync(settings: Settings["sync"]): SyncDecision {
  const { enabled, aibrix_enabled: aibrix } = settings;
  if (enabled === false) return { on: false, asked: false, reason: "sync.enabled is false" };
  if (enabled === true || aibrix === null) return { on: true };
  if (!aibrix) return { on: false, asked: false, reason: `${named("aibrix_enabled")} is false` };
  const missing =
    settings.remote_tokenizer !== true
      ? `${named("remote_tokenizer")} must be true`
      : settings.tokenizer_type !== "remote"
        ? `${named("tokenizer_type")} must be remote`
        : settings.tokenizer_endpoint === null
          ? `${named("tokenizer_endpoint")} must be set`
          : null;
  if (missing === null) return { on: true };
  const reason = `${missing}, since ${named("aibrix_enabled")} is true; sync.enabled: true follows engines without a tokenizer`;
  return { on: false, asked: true, reason };
}

const AIBRIX_NAMES = {
  aibrix_enabled: "AIBRIX_KV_EVENT_SYNC_ENABLED",
  remote_tokenizer: "AIBRIX_USE_REMOTE_TOKENIZER",
  tokenizer_type: "AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE",
  tokenizer_endpoint: "AIBRIX_REMOTE_TOKENIZER_ENDPOINT",
} as const;

/** A setting by its name in the file and AIBrix's in the environment. */
function named(setting: keyof typeof AIBRIX_NAMES): string {
  return `sync.${setting} (${AIBRIX_NAMES[setting]})`;
}
