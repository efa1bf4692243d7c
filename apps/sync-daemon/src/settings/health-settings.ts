/** Settings of health checks: their thresholds, and the other services that they check. */

import { isCheckName } from "@kvsync/observability/kvsync/health-checks";
import { z } from "zod";

import { integer, SETTING_FACTS, section } from "./setting-field.ts";

const NAME_EXPECTED = "a name of 1-64 characters a-z 0-9 _";
/** Results are told apart by their names alone. */
const OWN_NAME_EXPECTED = "a name that no other check has";
const URL_EXPECTED = "an http or https address";

const DEPENDENCIES_EXPECTED = "a list of {name, url, timeout_seconds, critical}";

const dependency = z.strictObject({
  name: z.string(NAME_EXPECTED).regex(/^[a-z0-9_]{1,64}$/, NAME_EXPECTED),
  url: z.string(URL_EXPECTED).refine((text) => /^https?:/.test(text) && URL.canParse(text), URL_EXPECTED),
  timeout_seconds: z.number("seconds from 0.05 to 60").min(0.05).max(60).default(2),
  critical: z.boolean("true or false").default(false),
});

/** Section `health`. */
export const healthSection = section({
  event_loop_lag_ms: integer("Event-loop lag (p99) above which the daemon is degraded.", 100, 1, 60_000),
  memory_percent: integer("Share of the memory limit above which the daemon is degraded.", 80, 1, 100),
  dependencies: z
    .array(dependency, DEPENDENCIES_EXPECTED)
    .max(32, "at most 32 dependencies")
    .superRefine((dependencies, context) => {
      for (const [i, { name }] of dependencies.entries())
        if (isCheckName(name) || dependencies.findIndex((one) => one.name === name) < i)
          context.addIssue({ code: "custom", path: [i, "name"], message: OWN_NAME_EXPECTED });
    })
    .default([])
    .register(SETTING_FACTS, {
      about: "Other services whose address must answer below 500.",
      expected: DEPENDENCIES_EXPECTED,
      textForm: "none",
    }),
});
