/**
 * The dashboard of the way from the socket to the index: does ingest keep up, and if not, where does it wait?
 */

import { KEY_FIGURES } from "./ingest/key-figures.ts";
import { PRESSURE_AND_ERRORS } from "./ingest/pressure-and-errors.ts";
import { QUEUE } from "./ingest/queue.ts";
import { THROUGHPUT } from "./ingest/throughput.ts";
import { WORKERS_AND_LATENCY } from "./ingest/workers-and-latency.ts";
import { dashboard } from "../../dashboards/panel.ts";
import { MODEL_VARIABLE, REPLICA_VARIABLES } from "./variables.ts";

/** Ingest stream. */
export const INGEST = dashboard({
  uid: "kvsync-ingest",
  title: "KV ingest stream",
  description: "From the socket to the index: rates, queue, workers, latency, back-pressure, errors.",
  variables: [...REPLICA_VARIABLES, MODEL_VARIABLE],
  refresh: "5s",
  rows: [KEY_FIGURES, THROUGHPUT, QUEUE, PRESSURE_AND_ERRORS, WORKERS_AND_LATENCY],
});
