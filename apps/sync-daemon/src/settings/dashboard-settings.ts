/** Settings of the daemon's own web page. */

import { flag, integer, section } from "./setting-field.ts";

/** Section `dashboard`. */
export const dashboardSection = section({
  enabled: flag("Serve the web page at /dashboard.", true),
  viewers: integer("Viewers of the page's live stream at once.", 32, 1, 1024),
  history_seconds: integer(
    "How far back the page's charts go; a sample each five seconds is kept for it.",
    3600,
    60,
    43_200,
  ),
});
