/** kvsync's observability, put together. */

import { type Knowledge, type Project, projectOf } from "../project.ts";
import { CATALOGUE } from "./catalogue/catalogue.ts";
import { SEEN_BY_EVERY_REPLICA } from "./catalogue/families.ts";
import { DEPENDENCY_CHECK, HEALTH_CHECKS } from "./catalogue/health-checks.ts";
import { LOG_EVENTS } from "./catalogue/log-events.ts";
import { SPANS } from "./catalogue/spans.ts";
import { POD } from "./catalogue/label-domains.ts";
import { EXTERNAL_CATALOGUE } from "./catalogue/platform.ts";
import { dashboardsWith } from "./dashboards/dashboards.ts";
import { ENGINES } from "./dashboards/engines.ts";
import { OVERVIEW } from "./dashboards/overview.ts";
import { SERVICE } from "./dashboards/service.ts";
import { NAMESPACE } from "./namespace.ts";
import { alertGroupsOf } from "./rules/alerts.ts";
import { PLACEHOLDERS } from "./rules/commands.ts";
import { inhibitionsOf } from "./rules/inhibitions.ts";
import { RECORDINGS, recordingGroupsOf } from "./rules/recordings.ts";
import { TEAM_OF } from "./rules/teams.ts";
import { type KvsyncObjectives, plain } from "./rules/objective-shares.ts";
import { DAEMON_JOB, OBJECTIVES } from "./rules/thresholds.ts";
import { STATE_NAMES } from "./state-names.ts";
import { VALUE_WORDS } from "./value-words.ts";

/**
 * A DP rank takes 40 samples, and one more for each reason for which its events are dropped; so much
 * is enough for as many as the catalogue tells apart.
 */
const SAMPLES_MAX = 60 * POD.maxValues;

/** Spans of rare work: of each, a trace tells what a metric cannot. */
const KEPT_SPANS: readonly (keyof typeof SPANS)[] = ["ingest.replay", "snapshot.write", "snapshot.find"];

const KNOWLEDGE: Partial<Knowledge> = {
  seenByEveryReplica: SEEN_BY_EVERY_REPLICA,
  // Lookups are spread over replicas; each is counted by one of them.
  ofOneReplica: { operation: "match" },
  unchosen: new Map([
    [
      "kvsync-overview#16#model",
      "the limit is of all models' contexts together, so must be what is compared with it",
    ],
    ...["kvsync-overview#30", "kvsync-overview#38", "kvsync-service#70", "kvsync-service#71"].flatMap(
      (panel) =>
        ["job", "instance"].map(
          (label) => [`${panel}#${label}`, "alerts of the platform have no label of a replica"] as const,
        ),
    ),
  ]),
  crowded: new Set(["pod", "endpoint"]),
  uncrowded: new Map(
    [60, 61, 64, 69].map((id) => [`kvsync-service#${id}`, "pods of ours alone, as many as replicas"]),
  ),
  namedValues: {
    component: Object.keys(TEAM_OF),
    route: ["/api/v1/match", "/metrics"],
    status: ["200", "500"],
    check: Object.keys(HEALTH_CHECKS),
    pod: ["kvsync-daemon-0", "engine-0"],
    deployment: ["kvsync-daemon"],
    statefulset: ["kvsync-daemon"],
    horizontalpodautoscaler: ["kvsync-daemon"],
    persistentvolumeclaim: ["state-kvsync-daemon-0"],
  },
  stateNames: STATE_NAMES,
  valueWords: VALUE_WORDS,
};

/**
 * All of it.
 *
 * @param objectives - settings of the objectives; the generator may be given others.
 */
function kvsyncWith(objectives: KvsyncObjectives): Project {
  const { budgets, slowSeconds } = objectives;
  const good = (budget: number): string => `${plain((1 - budget) * 100)} %`;
  return projectOf({
    name: "kvsync",
    title: "KV sync",
    exporter: "the daemon",
    generator: "packages/observability",
    job: DAEMON_JOB,
    samplesMax: SAMPLES_MAX,
    families: CATALOGUE,
    logEvents: LOG_EVENTS,
    spans: SPANS,
    healthChecks: { ...HEALTH_CHECKS, "a name of `health.dependencies`": DEPENDENCY_CHECK },
    externalFamilies: EXTERNAL_CATALOGUE,
    recordingGroups: recordingGroupsOf(objectives),
    alertGroups: alertGroupsOf(objectives),
    inhibitions: inhibitionsOf(objectives),
    dashboards: dashboardsWith(objectives),
    drillDowns: { model: OVERVIEW.uid, instance: SERVICE.uid, pod: ENGINES.uid },
    teamOf: TEAM_OF,
    stack: {
      service: "daemon",
      container: "daemon",
      port: 7070,
      keptSpans: KEPT_SPANS,
      slowMs: 50,
      spanMetrics: {
        labels: { "kvsync.model": "model" },
        series: { "Lookup p99": RECORDINGS.lookupLatencyP99.name },
      },
    },
    compiledRules: "packages/observability/generated/kvsync.rules.json",
    // The changelog keeps the names that its versions had.
    pages: { namespace: NAMESPACE, paths: ["README.md", "CONTRIBUTING.md", "docs"] },
    objectives: {
      settings: objectives,
      withSettings: (settings) => kvsyncWith(settings as KvsyncObjectives),
      opening: "kvsync promises two things about `POST /api/v1/match`, each",
      promises: [
        {
          key: "availability",
          title: "Availability",
          promise: `${good(budgets.availability)} of the requests do not fail with a status of 500 or above`,
        },
        {
          key: "latency",
          title: "Latency",
          promise: `${good(budgets.latency)} of the requests take at most ${plain(slowSeconds.latency * 1000)} ms`,
        },
      ],
      shownAt: "The row Objectives of the dashboard [Service](dashboards.md) shows both.",
    },
    placeholders: { word: "DAEMON", text: PLACEHOLDERS },
    knowledge: KNOWLEDGE,
  });
}

/** With kvsync's own objectives. */
export const KVSYNC = kvsyncWith(OBJECTIVES);
