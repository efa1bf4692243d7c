/**
 * The view and its filters, kept in the address behind `#`: `#/engines?trust=stale&sort=missed`.
 *
 * A path of its own for each view would break relative addresses of files behind a proxy.
 */
import { computed, signal } from "@preact/signals";

/** The names of the views. */
export type ViewName =
  | "overview"
  | "engines"
  | "prefixes"
  | "routing"
  | "index"
  | "alerts"
  | "events"
  | "logs"
  | "system";

/** The views, in the order of their links. */
export const VIEW_NAMES: readonly ViewName[] = [
  "overview",
  "engines",
  "prefixes",
  "routing",
  "index",
  "alerts",
  "events",
  "logs",
  "system",
];

/** Where the page stands. */
export interface Route {
  /** As written; a name that is no view is shown as such. */
  readonly view: string;
  readonly params: URLSearchParams;
}

/** Reads the part of an address behind `#`. Without a view it is the overview. */
function readRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { view: path === "" ? "overview" : path, params: new URLSearchParams(query) };
}

/** The address of a view. Empty values are left out. */
export function linkTo(view: ViewName, params: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "")).toString();
  return `#/${view}${query === "" ? "" : `?${query}`}`;
}

const hash = signal(location.hash);

/** The present route. */
export const route = computed(() => readRoute(hash.value));

/** Follows the address. */
export function followAddress(): void {
  window.addEventListener("hashchange", () => {
    hash.value = location.hash;
  });
}

/** Goes to a view, as a link would. */
export function goTo(view: ViewName, params: Readonly<Record<string, string>> = {}): void {
  location.hash = linkTo(view, params);
}

/** Sets parameters of the present view without a new entry in the browser's history. An empty value removes one. */
export function setParams(changes: Readonly<Record<string, string>>): void {
  const { view, params } = route.value;
  const next = linkTo(view as ViewName, { ...Object.fromEntries(params), ...changes });
  history.replaceState(null, "", next);
  hash.value = next;
}
