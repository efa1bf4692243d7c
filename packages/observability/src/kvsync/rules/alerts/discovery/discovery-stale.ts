/** Alert: A source of engines is behind. */

import { DISCOVERY_METRICS } from "../../../catalogue/discovery.ts";
import { ENGINES } from "../../../dashboards/engines.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { equals, max, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, logLines } from "../../commands.ts";
import { BY_SOURCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";

const looking = ["kubernetes", "http"] as const;

/** Its condition, texts, runbook and trial. */
export const DISCOVERY_STALE = alert({
  name: "DiscoveryStale",
  when: equals(max(value(DISCOVERY_METRICS.state, { source: looking, state: "stale" }), BY_SOURCE), 1),
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
        query: sum(rate(DISCOVERY_METRICS.failures, "5m"), ["instance", "source", "reason"]).text,
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
      { text: "Since when?", ...logLines(10, { events: ["discovery_failed", "discovery_recovered"] }) },
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
    prevention:
      "Apply the role and its binding together with the daemon, and keep room in the volume of discovery.state_directory.",
    escalation:
      "The platform team that runs the cluster; kvsync's maintainers when other clients watch pods well.",
  },
  trial: {
    series: (level) => [steady(DISCOVERY_METRICS.state, { source: "kubernetes", state: "stale" }, level)],
    fires: 1,
    calm: 0,
    labels: { ...TARGET, source: "kubernetes" },
  },
});
