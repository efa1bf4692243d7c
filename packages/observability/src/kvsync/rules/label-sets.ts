/** Labels that an alert's expression keeps: one alert fires per combination. */

/** One alert per replica. */
export const INSTANCE = ["job", "instance"] as const;

/** One alert per replica and model. */
export const BY_MODEL = ["job", "instance", "model"] as const;

/** One alert per replica and engine. */
export const BY_ENGINE = ["job", "instance", "pod", "model"] as const;

/** One alert per replica and source of engines. */
export const BY_SOURCE = ["job", "instance", "source"] as const;
