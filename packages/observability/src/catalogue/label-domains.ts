/**
 * The label domains that several families share, so that one label means one thing everywhere.
 */

/** Event types as they are on the wire; `unknown` stands for what could not be told. */
export const EVENT_TYPES = ["BlockStored", "BlockRemoved", "AllBlocksCleared", "unknown"] as const;

/** A worker's id. A thousand engines are the design size; four times that leaves room for churn within a scrape. */
export const POD: { readonly maxValues: 4096 } = { maxValues: 4096 };

/** Model names served by the fleet. */
export const MODEL: { readonly maxValues: 128 } = { maxValues: 128 };

/** Ingest threads. */
export const WORKER: { readonly maxValues: 16 } = { maxValues: 16 };

/** Where a queued message came from. */
export const LANES = ["live", "replay", "snapshot"] as const;

/** Back-pressure levels, mildest first; the position is the value of the state gauge. */
export const BACKPRESSURE_LEVELS = ["normal", "warning", "critical", "overloaded"] as const;
