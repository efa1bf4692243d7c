/**
 * Settings of snapshots: their folder, how often they are made, and which daemon may give a first
 * one.
 */

import type { z } from "zod";

import { baseUrl, flag, seconds, section, text } from "./setting-field.ts";

/** File name of the snapshot in its folder. */
export const SNAPSHOT_NAME = "kvsync.snapshot";

/** Section `snapshot`. */
export const snapshotSection = section({
  enabled: flag("Keep snapshots: a restarted daemon continues from the last one.", true),
  directory: text(
    "Folder for snapshots, of this daemon alone. Unset: below STATE_DIRECTORY or XDG_STATE_HOME, else in ~/.local/state/kvsync; none with http.port 0.",
    null,
  ),
  interval_seconds: seconds("Time between snapshots.", 60, 1, 86_400),
  warm_from: baseUrl("Base URL of a running daemon whose snapshot a first start may take."),
  warm_timeout_seconds: seconds("Longest wait for that.", 30, 0.1, 3600),
  warm_token_file: text("File with the bearer token for that daemon.", null),
});

/** How snapshots are kept. */
export type SnapshotSettings = z.output<typeof snapshotSection>;
