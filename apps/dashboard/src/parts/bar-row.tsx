/** A name, a bar and a number: one row of a breakdown. */
import type { ComponentChildren } from "preact";

/** The row. */
export function BarRow({
  name,
  value,
  most,
  text,
  tone,
}: {
  readonly name: ComponentChildren;
  readonly value: number;
  /** The longest bar of the breakdown. */
  readonly most: number;
  readonly text: string;
  /** Class of the color; that of a warning without. */
  readonly tone?: string | undefined;
}): ComponentChildren {
  const width = `${most === 0 ? 0 : (value / most) * 100}%`;
  return (
    <div class="hb">
      <span class="muted">{name}</span>
      <i class={tone ?? ""} style={tone === undefined ? { width } : { width, background: "currentcolor" }} />
      <span class="num">{text}</span>
    </div>
  );
}
