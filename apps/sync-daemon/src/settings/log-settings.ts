/**
 * Settings of the log: its level at the start. At run time the level is changed over HTTP
 * (http/log-level.controller.ts).
 */

import { integer, section } from "./setting-field.ts";
import { LOG_LEVEL_MAX } from "../log/log-level.ts";

/** Section `log`. */
export const logSection = section({
  level: integer(
    "Log level: 0 warnings and errors; 1 connections and other high-level operations; 2 one line per message and request; 3 events; 4 details; 5 debugging.",
    1,
    0,
    LOG_LEVEL_MAX,
  ),
});
