/** A link to another server, in a tab of its own; nothing without an address. */
import type { ComponentChildren } from "preact";

/** The link. */
export function Outward({
  url,
  text,
  isButton = false,
}: {
  readonly url: string | null;
  readonly text: string;
  readonly isButton?: boolean;
}): ComponentChildren {
  return url === null ? null : (
    <a class={isButton ? "btn" : ""} href={url} target="_blank" rel="noopener noreferrer">
      {text}
    </a>
  );
}
