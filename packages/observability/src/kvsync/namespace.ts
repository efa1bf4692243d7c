/** The one place where the namespace of kvsync's metrics is written; every name begins with it. */

import { type Definers, definersOf } from "../definition.ts";

/** See CONTRIBUTING.md for a change of it. */
export const NAMESPACE = "aibrix";

const DEFINERS = definersOf(NAMESPACE);

/** Defines a counter of kvsync. */
export const counter: Definers["counter"] = DEFINERS.counter;

/** Defines a gauge of kvsync. */
export const gauge: Definers["gauge"] = DEFINERS.gauge;

/** Defines a histogram of kvsync. */
export const histogram: Definers["histogram"] = DEFINERS.histogram;
