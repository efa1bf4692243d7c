/** A short word in a colored frame: a trust, a state, a decision. The word always stands there, never the color alone. */
import type { ComponentChildren } from "preact";

const CLASSES: Readonly<Record<string, string>> = {
  exact: "exact",
  partial: "partial",
  stale: "stale",
  unknown: "unknown",
  degraded: "stale",
  fallback: "bad",
  disconnected: "bad",
  unreachable: "bad",
  replaying: "stale",
  verifying: "stale",
  connecting: "stale",
  paused: "stale",
  healthy: "exact",
  unhealthy: "bad",
  critical: "bad",
  warning: "stale",
  firing: "bad",
  pending: "stale",
  silenced: "unknown",
  inhibited: "unknown",
};

/** The class of a word; empty for one without a color. */
export function toneOf(word: string): string {
  return CLASSES[word] ?? "";
}

/** The word in its frame. */
export function Tag({ word }: { readonly word: string }): ComponentChildren {
  return <span class={`tag ${toneOf(word)}`}>{word}</span>;
}

/** A dot in a color that a word next to it explains. */
export function Dot({ tone }: { readonly tone: string }): ComponentChildren {
  return <i class={`dot ${tone}`} aria-hidden="true" />;
}
