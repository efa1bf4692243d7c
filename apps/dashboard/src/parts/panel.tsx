/**
 * A panel with a heading, and what it shows while it has no data.
 *
 *     refused ─▶ which scope is missing      loading ─▶ skeleton      empty ─▶ why      stale ─▶ dimmed, with its age
 */
import type { ComponentChildren } from "preact";

import type { ApiError } from "../page/api.ts";
import { connectionState, hasData, staleness } from "../page/state.ts";
import { PANELS } from "../texts/frame.ts";
import { duration, textOf } from "../words.ts";
import { useAddresses } from "./addresses.ts";
import { type ERRORS_SECTIONS, errorsUrl } from "./engine-links.ts";
import { Outward } from "./outward.tsx";
import { Rich } from "./rich.tsx";

/** Data that are older are shown dimmed, with their age. */
export const STALE_MS = 2000;

/** The states that a panel cannot tell by itself. */
export interface PanelProps {
  readonly title: string;
  /** At the right end of the heading. */
  readonly aside?: ComponentChildren;
  readonly class?: string;
  /** Why there is nothing to show; null or absent when there is. */
  readonly empty?: string | null;
  /** Whether its own data have arrived; the stream's by default. */
  readonly isReady?: boolean;
  readonly failure?: ApiError | null;
  readonly onRetry?: () => void;
  readonly children?: ComponentChildren;
}

/** A panel. */
export function Panel(props: PanelProps): ComponentChildren {
  const { title, aside, empty, failure, isReady = hasData.value } = props;
  const isRefused = !isReady && connectionState.value.kind === "refused";
  const age = staleness.value;
  const isStale = isReady && age !== null && age > STALE_MS;
  return (
    <section class={`panel ${props.class ?? ""} ${isStale ? "is-stale" : ""}`} aria-busy={!isReady}>
      <header>
        <h2>{title}</h2>
        <span class="right">
          {isStale ? (
            <span class="tag stale">{PANELS.stale(textOf(duration(age / 1000)))}</span>
          ) : isRefused ? null : (
            aside
          )}
        </span>
      </header>
      {isRefused ? (
        <p class="empty">{PANELS.refused("read")}</p>
      ) : failure !== null && failure !== undefined ? (
        <Failure failure={failure} onRetry={props.onRetry} />
      ) : !isReady ? (
        <Skeleton />
      ) : typeof empty === "string" ? (
        <p class="empty">
          <Rich text={empty} />
        </p>
      ) : (
        <div class="body">{props.children}</div>
      )}
    </section>
  );
}

/** What went wrong with a request, in words. */
export function failureText({ status, title, detail }: ApiError): string {
  if (status === 0) return PANELS.unreachable;
  if (status === 401) return PANELS.refused("read");
  if (status === 403) return PANELS.refused("admin");
  return PANELS.failed(title, detail);
}

function Failure({
  failure,
  onRetry,
}: {
  readonly failure: ApiError;
  readonly onRetry: (() => void) | undefined;
}): ComponentChildren {
  return (
    <p class="empty" role="alert">
      {failureText(failure)} <ErrorCode failure={failure} />{" "}
      {onRetry === undefined ? null : (
        <button type="button" class="link" onClick={onRetry}>
          {PANELS.retry}
        </button>
      )}
    </p>
  );
}

/** The code of an answer, with a link to its meaning where the daemon names one. */
export function ErrorCode({ failure: { status, code } }: { readonly failure: ApiError }): ComponentChildren {
  return status === 0 ? null : <Code code={code} section="problems" />;
}

/** A code of the daemon, with a link to its meaning where the daemon names one. */
export function Code({
  code,
  section,
}: {
  readonly code: string;
  readonly section: keyof typeof ERRORS_SECTIONS;
}): ComponentChildren {
  const url = errorsUrl(useAddresses(), section);
  return url === null ? <code>{code}</code> : <Outward url={url} text={code} />;
}

/** Lines in place of data that are on their way. */
export function Skeleton(): ComponentChildren {
  return (
    <div class="skeleton" role="status" aria-label={PANELS.loading}>
      <i />
      <i />
      <i />
    </div>
  );
}
