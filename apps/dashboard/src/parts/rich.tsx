/** A text with bold parts between `**` and code between backticks. Everything in it stays text. */
import type { ComponentChildren } from "preact";

import { Breakable } from "./breakable.tsx";

/** Shows one of those texts. */
export function Rich({ text }: { readonly text: string }): ComponentChildren {
  return text.split(/(\*\*.+?\*\*|`.+?`)/).map((part) => {
    if (part.startsWith("**") && part.endsWith("**") && part.length > 4) return <b>{part.slice(2, -2)}</b>;
    if (part.startsWith("`") && part.endsWith("`") && part.length > 2)
      return (
        <code>
          <Breakable text={part.slice(1, -1)} />
        </code>
      );
    return part;
  });
}
