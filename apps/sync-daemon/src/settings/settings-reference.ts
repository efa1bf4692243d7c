/** The settings as people read them: the text of `--help` and the generated reference page. */

import { SETTING_ROWS, type SettingRow } from "./settings.ts";

/**
 * The text of `--help`.
 *
 * @returns usage, one paragraph per setting, exit codes.
 */
export function helpText(): string {
  const named = SETTING_ROWS.filter(({ flags }) => flags.length > 0);
  const lines = named.map(({ flags, environment, initial, facts }) => {
    const head = flags.map((name) => `--${name}`).join(", ");
    const what = `${facts.about} Expected: ${facts.expected}. Default: ${shown(initial)}.`;
    return `  ${head}\n      ${what}\n      Environment: ${environment.join(" or ")}`;
  });
  const fileOnly = SETTING_ROWS.filter(({ flags }) => flags.length === 0).map(({ path }) => path.join("."));
  return [
    "kvsync-daemon: follows engines, keeps the prefix index, answers lookups.",
    "",
    "usage: kvsync-daemon [--config FILE] [--SETTING VALUE ...]",
    "",
    "  --config FILE\n      YAML file with the same settings by path.",
    "  --check-config\n      Checks the settings, and the files, folders, credentials and ports that they name, and ends: 0 when nothing is wrong, 2 with everything that is.",
    "  --print-config\n      Prints the settings in effect as YAML, each with its source, secrets masked, and ends.",
    "  --version\n      Prints version, commit and Node.",
    "  --help\n      This text.",
    "",
    "Settings (flags win over the environment, which wins over the file):",
    ...lines,
    "",
    `In the file alone: ${fileOnly.join(", ")}.`,
    "Exit codes: 0 stopped by a signal, 1 failed, 2 settings that cannot be used, 3 an ingest worker or the picker stopped.",
    "",
  ].join("\n");
}

/**
 * The reference page.
 *
 * @returns Markdown.
 */
export function settingsReference(): string {
  const sectionOf = ({ path }: SettingRow): string => (path.length > 1 ? (path[0] ?? "") : "");
  const sections = [...new Set(SETTING_ROWS.map(sectionOf))];
  const table = (rows: readonly SettingRow[]): string[] => [
    "| setting | environment | flag | default | expected | meaning |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows.map(({ path, environment, flags, initial, facts }) =>
      [
        "",
        `\`${path.join(".")}\``,
        environment.length === 0 ? "file only" : environment.map((name) => `\`${name}\``).join(" "),
        flags.map((name) => `\`--${name}\``).join(" ") || "–",
        initial === null ? "unset" : `\`${shown(initial)}\``,
        facts.expected.replaceAll("|", "\\|"),
        `${facts.about}${facts.secret === true ? " Secret: never shown." : ""}${facts.textForm === "list" ? " In the environment and as a flag: with commas between." : ""}`,
        "",
      ]
        .join(" | ")
        .trim(),
    ),
    "",
  ];
  return [
    "<!-- Generated from the code by apps/sync-daemon/src/openapi/main.ts; a test fails when it is out of date. -->",
    "# Settings",
    "",
    "Set a setting in a YAML file (`--config FILE`), in the environment, or with a flag. Flags have priority over the",
    "environment, and the environment over the file. When a setting is unusable, the daemon does not start (exit code 2). It",
    "names the source, the value and the expected value. See [settings](../operations/settings.md).",
    "",
    ...sections.flatMap((section) => [
      section === "" ? "## At the top" : `## ${section}`,
      ...table(SETTING_ROWS.filter((row) => sectionOf(row) === section)),
    ]),
  ].join("\n");
}

function shown(initial: unknown): string {
  return JSON.stringify(initial);
}
