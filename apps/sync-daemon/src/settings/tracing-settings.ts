/** Settings of traces: where they go, and how many are taken. */

import type { z } from "zod";

import { baseUrl, section, share } from "./setting-field.ts";

/** Section `tracing`. Headers and certificates for the collector have OpenTelemetry's own variables, which the exporter reads. */
export const tracingSection = section({
  endpoint: baseUrl(
    "Base URL of a collector that takes OTLP over HTTP (`/v1/traces` is put behind it); unset for no traces.",
    { env: "OTEL_EXPORTER_OTLP_ENDPOINT" },
  ),
  ratio: share("Share of requests that are traced, of those whose caller has not decided it.", 0.01, {
    env: "OTEL_TRACES_SAMPLER_ARG",
  }),
  batch_ratio: share("Share of engines' messages whose application is traced.", 0.0001),
});

/** How traces are taken. */
export type TracingSettings = z.output<typeof tracingSection>;
