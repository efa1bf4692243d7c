/** Settings of the log: how much is said from the start. At run time the level is changed over HTTP (http/log-level.controller.ts). */

import { integer, section } from "./setting-field.ts";
import { LOG_LEVEL_MAX } from "../log/log-level.ts";

/** Section `log`. */
export const logSection = section({
  level: integer(
    "How much is logged: 0 warnings and errors, 1 connections and other high-level operations, 2 summaries of messages and requests, 3 single events, 4 their details, 5 debugging.",
    1,
    0,
    LOG_LEVEL_MAX,
  ),
});
