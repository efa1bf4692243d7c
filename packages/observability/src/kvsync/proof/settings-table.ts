/**
 * The settings of the daemon, read from their generated reference page: this package must not import the daemon.
 */

/** A setting, as its row has it. */
export interface SettingRow {
  readonly name: string;
  /** Environment variables. */
  readonly variables: readonly string[];
  /** Its default as text; `unset` where there is none. */
  readonly preset: string;
}

/** Where the reference page is. */
export const SETTINGS_PAGE = "docs/generated/settings.md";

/**
 * Reads the tables of the page.
 *
 * @param page - Markdown.
 * @returns by name; empty when the page is missing.
 */
export function settingRows(page: string): ReadonlyMap<string, SettingRow> {
  const rows = [...page.matchAll(/^\| `([a-z0-9_.]+)` \| ([^|]*) \| [^|]* \| ([^|]*) \|/gm)];
  return new Map(
    rows.map(([, name = "", variables = "", preset = ""]) => [
      name,
      {
        name,
        variables: [...variables.matchAll(/`([A-Z0-9_]+)`/g)].map(([, variable = ""]) => variable),
        preset: preset.trim().replaceAll("`", ""),
      },
    ]),
  );
}
