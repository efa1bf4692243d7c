/**
 * Alerts about finding engines: a source that is behind, a configuration that is not taken, engines that are wanted in vain.
 */

import { DISCOVERY_METRICS } from "../catalogue/discovery.ts";
import { ENGINES } from "../dashboards/engines.ts";
import { panelOf } from "../dashboards/panel.ts";
import { above, equals, max, sum } from "../promql/operators.ts";
import { rate, value } from "../promql/series.ts";
import { alert, type Alert } from "./alert.ts";
import { ask, logLines } from "./commands.ts";
import { THRESHOLDS } from "./thresholds.ts";
import { steady, TARGET } from "./trial.ts";

const D = DISCOVERY_METRICS;
const BY_SOURCE = ["job", "instance", "source"] as const;
const looking = ["kubernetes", "http"] as const;
const withoutReason = ["conflict", "no_room", "malformed"] as const;

/** Alerts of the sources of engines. */
export const DISCOVERY_ALERTS: readonly Alert[] = [
  alert({
    name: "DiscoveryStale",
    when: equals(max(value(D.state, { source: looking, state: "stale" }), BY_SOURCE), 1),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "A source of engines is behind.",
    description: ({ label }) =>
      `${label("instance")} cannot bring its engines from ${label("source")} up to date; it follows those that it knew.`,
    panel: panelOf(ENGINES, "discoveryState"),
    runbook: {
      meaning:
        "For `kubernetes`, the API server cannot be reached or refuses; for `http`, the file of registrations cannot be written or was refused at the start.",
      impact:
        "Engines that came since are not known to lookups, those that went count as stale. With `http`, a restart forgets the engines that were registered.",
      diagnosis: [
        {
          text: "What fails?",
          query: sum(rate(D.failures, "5m"), ["instance", "source", "reason"]).text,
        },
        {
          text: "The last failure in words, by source.",
          command: `${ask("/api/v1/engines")} | jq .sources`,
        },
        {
          text: "May the daemon list and watch pods?",
          command:
            "kubectl auth can-i watch pods --as=system:serviceaccount:NAMESPACE:kvsync-daemon -n NAMESPACE",
        },
      ],
      mitigation: [
        {
          cause: "unreachable, timeout, disconnected or server_error: the API server is away or overloaded.",
          fix: "Nothing is lost meanwhile but news; it is asked again with growing pauses, half a minute at most.",
        },
        {
          cause: "forbidden: the role or its binding is missing.",
          fix: "Apply infra/kubernetes/rbac.yaml, whose role allows list and watch on pods.",
        },
        {
          cause: "unauthorized: the service account's token is not accepted.",
          fix: "It is read again at each refusal; look whether the token's volume is mounted and the account exists.",
        },
        {
          cause: "write_failed: the state directory takes no file.",
          fix: "See to its volume. The next registration writes all of them again.",
        },
        {
          cause: "registrations_refused: the file was damaged, and is kept aside with the ending .refused.",
          fix: "Register the engines again; the first one that is written ends the alert.",
        },
      ],
      escalation:
        "The platform team that runs the cluster; kvsync's maintainers when other clients watch pods well.",
    },
    trial: {
      series: (level) => [steady(D.state, { source: "kubernetes", state: "stale" }, level)],
      fires: 1,
      calm: 0,
      labels: { ...TARGET, source: "kubernetes" },
    },
  }),
  alert({
    name: "DiscoverySilent",
    when: above(max(value(D.age, { source: "kubernetes" }), BY_SOURCE), THRESHOLDS.discoveryAgeSeconds),
    for: "2m",
    severity: "warning",
    component: "ingest",
    summary: "Nothing has been heard of the Kubernetes API server for long.",
    description: ({ label, value: seconds }) =>
      `${label("instance")} was last in touch with the API server ${seconds} ago.`,
    panel: panelOf(ENGINES, "discoveryAge"),
    runbook: {
      meaning:
        "No list, watch, event or bookmark has come through for longer than a watch may last. Either every attempt fails, or the loop that watches is stuck.",
      impact: "As with DiscoveryStale: new engines are not known to lookups, gone ones count as stale.",
      diagnosis: [
        { text: "Since when?", query: max(value(D.age), ["instance", "source"]).text },
        {
          text: "Does it fail, or is it silent?",
          query: sum(rate(D.failures, "5m"), ["instance", "source", "reason"]).text,
        },
      ],
      mitigation: [
        { cause: "It fails.", fix: "See DiscoveryStale." },
        {
          cause: "It is silent without failing, or discovery.kubernetes.watch_seconds is set long.",
          fix: "Restart the replica, which goes on from its snapshot; report it with the log.",
        },
      ],
      escalation: "kvsync's maintainers when there are no failures beside it.",
    },
    trial: {
      series: (level) => [steady(D.age, { source: "kubernetes" }, level)],
      fires: THRESHOLDS.discoveryAgeSeconds + 1,
      calm: THRESHOLDS.discoveryAgeSeconds,
      labels: { ...TARGET, source: "kubernetes" },
    },
  }),
  alert({
    name: "ConfigReloadFailed",
    when: equals(max(value(D.state, { source: "file", state: "stale" }), BY_SOURCE), 1),
    for: "1m",
    severity: "warning",
    component: "configuration",
    summary: "A changed configuration file is not used.",
    description: ({ label }) =>
      `${label("instance")} could not use the changed configuration file and goes on with the engines listed before.`,
    panel: panelOf(ENGINES, "discoveryState"),
    runbook: {
      meaning:
        "The configuration file changed, and what is in it now cannot be read or has settings that cannot be used.",
      impact: "The list of engines stays as it was. A restart would fail with exit code 2.",
      diagnosis: [
        {
          text: "Which replicas?",
          query: max(value(D.state, { source: "file", state: "stale" }), ["instance"]).text,
        },
        {
          text: "Which setting, in which line?",
          command: logLines("discovery_failed", 1),
        },
        {
          text: "The same before it is rolled out.",
          command: "kvsync-daemon --config kvsync.yaml --check-config",
        },
      ],
      mitigation: [
        {
          cause: "The new file has a mistake.",
          fix: "Correct it, or bring the old one back; the daemon sees it within seconds.",
        },
        {
          cause: "The file cannot be read (its volume or its rights).",
          fix: "Mount it again. A ConfigMap mounted with subPath is never updated: mount the folder.",
        },
      ],
      escalation: "Whoever changed the configuration last.",
    },
    trial: {
      series: (level) => [steady(D.state, { source: "file", state: "stale" }, level)],
      fires: 1,
      calm: 0,
      labels: { ...TARGET, source: "file" },
    },
  }),
  alert({
    name: "EnginesRefused",
    when: above(sum(value(D.refused, { reason: withoutReason }), BY_SOURCE), 0),
    for: "10m",
    severity: "warning",
    component: "ingest",
    summary: "Engines that should be followed are not.",
    description: ({ label, value: count }) =>
      `${label("instance")} does not follow ${count} engines that ${label("source")} wants followed.`,
    panel: panelOf(ENGINES, "refused"),
    runbook: {
      meaning:
        "Two sources contradict each other about an engine (the file goes before registrations over HTTP, those before Kubernetes), an engine is described in a way that cannot be, or there is no room for it.",
      impact: "Lookups do not know these engines, or know them as the source that won describes them.",
      diagnosis: [
        { text: "Why?", query: sum(value(D.refused), ["instance", "source", "reason"]).text },
        {
          text: "Which engines, in which field, and who has it instead?",
          command: `${ask("/api/v1/engines")} | jq .refused`,
        },
      ],
      mitigation: [
        {
          cause: "conflict",
          fix: "Take the engine out of one of the two sources, or make both say the same.",
        },
        {
          cause: "malformed",
          fix: "Correct the pod's labels and annotations; the message names the one and what is expected.",
        },
        {
          cause: "no_room",
          fix: "Raise limits.engines, or the limit on open files (four for each DP rank); the message names the limit.",
        },
      ],
      escalation: "The team that runs the engines, with the list of the second step.",
    },
    trial: {
      series: (level) => [
        steady(D.refused, { source: "kubernetes", reason: "malformed" }, level),
        steady(D.refused, { source: "kubernetes", reason: "duplicate" }, 7),
      ],
      fires: 1,
      calm: 0,
      labels: { ...TARGET, source: "kubernetes" },
    },
  }),
];
