/**
 * The views and the chunk of each. A chunk is asked for when its view is opened first, and kept from then on. So the first load
 * has the head of the page and one view.
 *
 *     not asked ─open─▶ coming ──▶ here
 *                         └──────▶ failed ─open again─▶ coming
 *
 * A chunk that does not come has another name by now: the daemon was updated while the page was open.
 *
 *  W1  A view is a file of `views/` with a chunk and a budget of its own (test/budget.test.ts).
 */

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";

import { VIEW_NAMES, type ViewName } from "../page/route.ts";

const CHUNKS: Readonly<Record<ViewName, () => Promise<ComponentType>>> = {
  overview: async () => (await import("./overview.tsx")).Overview,
  engines: async () => (await import("./engines.tsx")).Engines,
  alerts: async () => (await import("./alerts.tsx")).Alerts,
  prefixes: async () => (await import("./prefixes.tsx")).Prefixes,
  routing: async () => (await import("./routing.tsx")).Routing,
  index: async () => (await import("./index-view.tsx")).Index,
  events: async () => (await import("./events.tsx")).Events,
  logs: async () => (await import("./logs.tsx")).Logs,
  system: async () => (await import("./system.tsx")).System,
};

/** Where a chunk stands. */
type Chunk =
  | { readonly kind: "coming" }
  | { readonly kind: "failed" }
  | { readonly kind: "here"; readonly View: ComponentType };

const chunks = signal<Readonly<Partial<Record<ViewName, Chunk>>>>({});

/** Whether an address names a view. */
export function isView(name: string): name is ViewName {
  return (VIEW_NAMES as readonly string[]).includes(name);
}

/** The chunk of a view as far as it is here; the caller is drawn again when that changes. */
export function chunkOf(view: ViewName): Chunk {
  return chunks.value[view] ?? { kind: "coming" };
}

/** Asks for the chunk of a view, unless it is here or on its way. */
export function loadView(view: ViewName): void {
  const known = chunks.peek()[view]?.kind;
  if (known === "here" || known === "coming") return;
  set(view, { kind: "coming" });
  CHUNKS[view]().then(
    (View) => {
      set(view, { kind: "here", View });
    },
    () => {
      set(view, { kind: "failed" });
    },
  );
}

function set(view: ViewName, chunk: Chunk): void {
  chunks.value = { ...chunks.peek(), [view]: chunk };
}
