/** Settings of the daemon's own web page. */

import type { z } from "zod";

import { flag, section } from "./setting-field.ts";

/** Section `dashboard`. */
export const dashboardSection = section({
  enabled: flag("Serve the web page at /dashboard.", true),
});

/** How the page is served. */
export type DashboardSettings = z.output<typeof dashboardSection>;
