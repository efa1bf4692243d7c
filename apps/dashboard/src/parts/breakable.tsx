/** A name of parts, such as a setting or a path. It breaks behind a separator where its line ends, and not within a word. */
import type { ComponentChildren } from "preact";

/** The name. */
export function Breakable({ text }: { readonly text: string }): ComponentChildren {
  return text.split(/(?<=[._/,])/).map((part, i) => [i === 0 ? null : <wbr key={i} />, part]);
}
