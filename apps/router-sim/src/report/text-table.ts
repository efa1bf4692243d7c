/** Rows of text as columns, for the terminal. */

/**
 * Lays cells out in columns as wide as their widest cell. The first column holds names and is
 * aligned left.
 *
 * @param rows - as many cells each; the first row holds the titles.
 * @param figures - alignment of the other columns.
 * @param gap - spaces between columns.
 * @returns one line per row, without trailing spaces.
 */
export function textTable(
  rows: readonly (readonly string[])[],
  figures: "left" | "right" = "right",
  gap = 2,
): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string =>
    column > 0 && figures === "right" ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0);
  return rows.map((row) => row.map(pad).join(" ".repeat(gap)).trimEnd());
}
