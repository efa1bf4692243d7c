/**
 * The selections of the variables at the top of a dashboard, as matchers; and the look-back that
 * fits the zoom.
 */

import { HERE } from "../../dashboards/scope.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { sum } from "../../promql/operators.ts";
import { value } from "../../promql/series.ts";

export { HERE, INSTANCE, RATE } from "../../dashboards/scope.ts";

/** One series for each chosen replica that answers. */
export const REPLICAS = sum(value(SERVICE_METRICS.buildInfo, HERE), ["job", "instance"]);

/** The chosen models on them. */
export const MODELS = { ...HERE, model: { variable: "model" } } as const;

/** Labels of one engine, which every replica follows. */
export const ENGINE = ["pod", "model"] as const;

/** The chosen engines of those models. */
export const PODS = { ...MODELS, pod: { variable: "pod" } } as const;

/** Lines of a panel with one for each engine: a thousand of them show nothing. */
export const LINES_MAX = 20;
