/** Tracing, if the settings want it: the only way in, and the only import of what needs OpenTelemetry. */

import type { Tracing, TracingDependencies } from "./tracing.ts";
import type { TracingSettings } from "../settings/tracing-settings.ts";

/**
 * Starts tracing.
 *
 * @param settings - where to.
 * @param dependencies - who hears of spans' fates.
 * @returns null when it is off; then no code of OpenTelemetry has been loaded.
 */
export async function startTracing(
  settings: TracingSettings,
  dependencies: TracingDependencies,
): Promise<Tracing | null> {
  if (settings.endpoint === null) return null;
  const { Tracing: Started } = await import("./tracing.ts");
  return new Started(settings.endpoint, settings, dependencies);
}
