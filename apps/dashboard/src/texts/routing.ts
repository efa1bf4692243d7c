/** Sentences and labels of the view of the endpoint picker. */

/** Routing. */
export const ROUTING = {
  off: "The endpoint picker is off",
  offHow:
    "This daemon answers lookups, and gateways choose by them. With the picker on, the daemon chooses the endpoint of each request itself, and this view shows how well. To turn it on, set `picker.enabled` to true, or start the daemon with `--picker-enabled true`.",
  offWhere: "How to connect a gateway is in docs/operations/endpoint-picker.md.",
  picks: "Picks",
  openPicks: "Open requests",
  accuracy: "Predictions that were right",
  delivered: "Cached tokens delivered",
  ofPredicted: "of those predicted",
  compared: (count: string): string => `of ${count} compared with the engines' own counts`,
  nothingCompared: "no engine has reported its own count yet",
  since: "since the start",
  onThreads: (threads: string, streams: string): string => `${threads}, ${streams}`,
  decisions: "Picks by decision",
  decisionNames: {
    index: "by the index",
    degraded: "without a shard",
    own: "by own picks",
    load: "by load alone",
    immediate: "refused at once",
  },
  decisionHelp: {
    index: "The index knew who holds the prompt.",
    degraded: "A shard of the index did not answer; the others knew.",
    own: "The picker sent the same beginning there lately.",
    load: "No endpoint was known to hold the prompt.",
    immediate: "No endpoint could take the request.",
  },
  missingShards: (shards: readonly string[]): string =>
    `No answer from shard **${shards.join(", ")}**: its engines count as engines without a match.`,
  noPicks: "The picker has handled no request since the daemon started.",
  reasons: "Why the index was not used",
  noReasons: "Each pick used the index.",
  tokens: "Predicted against delivered",
  tokensAside: "cached tokens, of predictions that were compared",
  predicted: "Predicted",
  reported: "Delivered",
  tokensNote: (share: string): string =>
    `Engines delivered **${share}** of the cached tokens that were predicted.`,
  noTokens:
    "No prediction was compared yet. Engines report their own counts in answers with usage, or gateways report them (`POST /api/v1/outcomes`).",
  elsewhere: (requests: string): string =>
    `**${requests}** requests were served by another endpoint than the picked one.`,
  endpoints: "Load by endpoint",
  endpointsAside: (eligible: string, others: readonly string[]): string =>
    [`${eligible} eligible`, ...others].join(" · "),
  states: { not_ready: "not ready", penalty: "set aside after failures", stale: "without fresh load" },
  noEndpoints: "The picker has no endpoint. An engine needs its `http` address, or a pool in Kubernetes.",
  columns: {
    endpoint: "Endpoint",
    model: "Model",
    running: "Running",
    waiting: "Waiting",
    pending: "To compute",
    context: "Context",
    capacity: "Cache in use",
    foreign: "Not by this picker",
  },
  differ: (share: string): string => `**${share}** of the predictions differ from what engines report.`,
  blind: (share: string, reason: string): string =>
    `**${share}** of the picks did not use the index. The most frequent reason is **${reason}**.`,
  runbook: "Runbook",
  refused: (requests: string): string => `**${requests}** requests were refused at once.`,
  unready: "The picker does not serve gateways yet. It waits for endpoints, or for the index.",
};
