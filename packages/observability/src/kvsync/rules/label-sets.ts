/** Labels that an alert's expression keeps: one alert fires per combination. */

/** One alert per replica. */
export const INSTANCE = ["cluster", "namespace", "job", "instance"] as const;

/** One alert per replica and model. */
export const BY_MODEL = ["cluster", "namespace", "job", "instance", "model"] as const;

/** One alert per replica and engine. */
export const BY_ENGINE = ["cluster", "namespace", "job", "instance", "pod", "model"] as const;

/** One alert per replica and source of engines. */
export const BY_SOURCE = ["cluster", "namespace", "job", "instance", "source"] as const;
