/** The contents of `vectors/vllm-0.33.0.json`, and the runs that were recorded in it. */

/** One scenario's run. */
export interface Recording {
  readonly scenario: string;
  /** Lines of a `Transcript`. */
  readonly lines: readonly string[];
}

/** The runs: short enough to read, long enough to evict. */
export const RECORDED = { seed: 10_000, shape: { steps: 25, asksPerStep: 2 } } as const;
