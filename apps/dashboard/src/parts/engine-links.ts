/**
 * Addresses outside of the page: a rank's runbook, its panels in Grafana, and the meaning of codes. Pure.
 *
 *  L1  A link is http or https. Without a configured address there is none.
 */
import type { RankRow } from "../stream/fleet-store.ts";
import { isUnreachable } from "../verdict/fleet-summary.ts";

/** What `GET /api/v1/system` has of addresses. */
export interface Addresses {
  readonly grafana: string | null;
  readonly runbooks: string | null;
  readonly errors: string | null;
}

/** The dashboard of engines, which has a variable for the engine. */
export const GRAFANA_ENGINES = { uid: "kvsync-engines", variable: "pod" } as const;

/** The runbook that explains the reasons for which events are dropped. */
export const DROPS_RUNBOOK = "kv-event-drop-rate.md";

/** The runbook for the state of a rank; null for one that needs none. */
export function runbookFor(row: RankRow): string | null {
  if (isUnreachable(row)) return "kv-sync-connection-failure.md";
  if (row.trust === "exact") return null;
  return row.reason === "gap" ? "kv-event-sequence-gaps.md" : "stream-untrusted.md";
}

/** Where a runbook is. */
export function runbookUrl({ runbooks }: Addresses, file: string | null): string | null {
  return runbooks === null || file === null ? null : web(`${trimmed(runbooks)}/${file}`);
}

/** Headings of the page of error codes: reasons of drops, and codes of answers. */
export const ERRORS_SECTIONS = {
  drops: "why-an-event-or-a-message-was-not-applied",
  problems: "problems-of-the-http-api",
  lookups: "why-a-prompt-could-not-be-looked-up",
} as const;

/** Where a kind of code is explained. */
export function errorsUrl({ errors }: Addresses, section: keyof typeof ERRORS_SECTIONS): string | null {
  return errors === null ? null : web(`${errors}#${ERRORS_SECTIONS[section]}`);
}

/** Where Grafana shows an engine. */
export function grafanaUrl({ grafana }: Addresses, id: string): string | null {
  const { uid, variable } = GRAFANA_ENGINES;
  return grafana === null
    ? null
    : web(`${trimmed(grafana)}/d/${uid}?var-${variable}=${encodeURIComponent(id)}`);
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, "");
}

/** L1 */
function web(url: string): string | null {
  return /^https?:\/\//.test(url) ? url : null;
}
