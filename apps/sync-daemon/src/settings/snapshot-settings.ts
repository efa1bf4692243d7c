/**
 * Settings of snapshots: their folder, how often they are made, and which daemon may give a first
 * one.
 */

import { SHARDS_MAX } from "@kvsync/core";
import { z } from "zod";

import { flag, isBaseUrl, seconds, section, SETTING_FACTS, text } from "./setting-field.ts";

/** File name of the snapshot in its folder. */
export const SNAPSHOT_NAME = "kvsync.snapshot";

/** As many as there can be shards. */
const GIVERS_MAX = SHARDS_MAX;
const GIVERS_EXPECTED =
  "base URLs of daemons, http:// or https://, without query or fragment; one, or a list";

const url = z.string(GIVERS_EXPECTED);
const warmFrom = z
  .union(
    [
      z.array(url, GIVERS_EXPECTED).max(GIVERS_MAX, `at most ${GIVERS_MAX} base URLs`),
      url.transform((one) => [one]),
      z.null().transform((): string[] => []),
    ],
    GIVERS_EXPECTED,
  )
  .refine((givers) => givers.every(isBaseUrl), GIVERS_EXPECTED)
  .default([])
  .register(SETTING_FACTS, {
    about:
      "Running daemons whose snapshots a first start may take. A shard takes the rows of its own workers from each of them.",
    expected: GIVERS_EXPECTED,
    textForm: "list",
  });

/** Section `snapshot`. */
export const snapshotSection = section({
  enabled: flag("Keep snapshots: a restarted daemon continues from the last one.", true),
  directory: text(
    "Folder for snapshots, of this daemon alone. Unset: below STATE_DIRECTORY or XDG_STATE_HOME, else in ~/.local/state/kvsync; none with http.port 0.",
    null,
  ),
  interval_seconds: seconds("Time between snapshots.", 60, 1, 86_400),
  warm_from: warmFrom,
  warm_timeout_seconds: seconds("Longest wait for that.", 30, 0.1, 3600),
  warm_token_file: text("File with the bearer token for that daemon.", null),
});

/** How snapshots are kept. */
export type SnapshotSettings = z.output<typeof snapshotSection>;
