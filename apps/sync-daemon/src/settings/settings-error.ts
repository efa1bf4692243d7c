/**
 * The errors in the settings, all at once: a person who corrects three mistakes should not need
 * three starts to find them.
 */

import { CodedError } from "@kvsync/core";

/** Exit code for unusable settings. */
export const EXIT_UNUSABLE_SETTINGS = 2;

/** One thing that is wrong. */
type SettingFault =
  | {
      readonly code: "unusable_setting";
      readonly setting: string;
      readonly source: string;
      readonly expected: string;
    }
  | { readonly code: "unknown_setting"; readonly setting: string; readonly source: string }
  | { readonly code: "unreadable_file"; readonly path: string };

/** Facts of settings that cannot be used: at least one fault. */
export interface SettingsFacts {
  readonly code: "unusable_settings";
  readonly faults: readonly SettingFault[];
}

/** Settings that the daemon cannot start with. The message has one line per fault, each with value, source and what is expected. */
export class SettingsError extends CodedError<SettingsFacts> {}

/** A fault, and the line that tells it. */
export interface ToldFault {
  readonly fault: SettingFault;
  readonly line: string;
}

/**
 * Puts faults into one error.
 *
 * @param told - at least one.
 * @returns the error; of one fault its message is that fault's line.
 */
export function settingsError(told: readonly ToldFault[]): SettingsError {
  const lines = told.map(({ line }) => line);
  const message =
    lines.length === 1
      ? (lines[0] ?? "")
      : [`${lines.length} settings cannot be used:`, ...lines].join("\n  ");
  return new SettingsError({ code: "unusable_settings", faults: told.map(({ fault }) => fault) }, message);
}
