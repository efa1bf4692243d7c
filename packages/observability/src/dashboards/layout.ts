/**
 * Where panels go: rows top to bottom, in a row left to right, wrapping before column 24. A wrapped line begins under the tallest panel of the
 * line before.
 *
 *   ├─ row heading (height 1) ──────────────────────────────┤
 *   │ panel 12×8                │ panel 12×8                │
 *   │ panel 24×10                                           │
 *   ├─ heading of a folded row ─────────────────────────────┤
 *
 * Panels of a folded row take no place until it is opened.
 */

import type { Dashboard, Panel, Row } from "./panel.ts";

/** Columns of Grafana's grid. */
const GRID_COLUMNS = 24;

/** A place in the grid. */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

/** A heading or a panel with its place. */
export type Placed =
  | { readonly kind: "row"; readonly row: Row; readonly place: Place }
  | { readonly kind: "panel"; readonly panel: Panel; readonly place: Place };

/**
 * Lays a dashboard out.
 *
 * @param board - its rows and panels.
 * @param opened - as if every folded row were open.
 * @returns headings and panels in reading order; a folded row's panels stand behind its heading.
 */
export function layOut(board: Dashboard, opened = false): readonly Placed[] {
  const placed: Placed[] = [];
  let y = 0;
  for (const row of board.rows) {
    const top = y;
    placed.push({ kind: "row", row, place: { x: 0, y, w: GRID_COLUMNS, h: 1 } });
    y += 1;
    let x = 0;
    let lineHeight = 0;
    for (const panel of Object.values(row.panels)) {
      if (x + panel.width > GRID_COLUMNS) {
        x = 0;
        y += lineHeight;
        lineHeight = 0;
      }
      placed.push({ kind: "panel", panel, place: { x, y, w: panel.width, h: panel.height } });
      x += panel.width;
      lineHeight = Math.max(lineHeight, panel.height);
    }
    y = row.folded === true && !opened ? top + 1 : y + lineHeight;
  }
  return placed;
}
