/** The replica, engine and pod that trials of kvsync's alerts speak of, and the makers of their series. */

import { type TrialMakers, trialMakersOf } from "../../rules/trial.ts";
import { DAEMON_JOB } from "./thresholds.ts";

/** The replica that trials speak of unless they say otherwise. */
export const TARGET = {
  cluster: "example",
  namespace: "kvsync",
  job: DAEMON_JOB,
  instance: "10.0.0.1:7070",
} as const;

/** The model that trials use. */
export const MODEL = "example/model";

/** The replica and model, as an alert per model carries them. */
export const MODEL_LABELS = { ...TARGET, model: MODEL } as const;

/** The engine that trials use. */
export const ENGINE = { pod: "engine-0", model: MODEL } as const;

/** The daemon's pod, as exporters of the cluster name it. */
export const POD = { cluster: "example", namespace: "kvsync", pod: "kvsync-daemon-0" } as const;

/** The daemon's container in that pod. */
export const CONTAINER = { ...POD, container: "daemon" } as const;

const MAKERS = trialMakersOf(TARGET);

/** A gauge of the replica that stays where it is. */
export const steady: TrialMakers["steady"] = MAKERS.steady;

/** A counter of the replica that grows evenly. */
export const growing: TrialMakers["growing"] = MAKERS.growing;

/** A histogram of the replica with a given quantile. */
export const distributed: TrialMakers["distributed"] = MAKERS.distributed;

/** A histogram of the replica with a given share at or below a bound. */
export const sharedAt: TrialMakers["sharedAt"] = MAKERS.sharedAt;
