/**
 * Every sentence and label of the page, in one place, by view.
 *
 * `**` marks what is shown in bold. Names of the daemon (states, reasons, checks) are shown as they are: they can be searched for.
 *
 * Not here: numbers and times (words.ts).
 */
import type { ConnectionState, LossReason } from "./stream/connection.ts";

/** The verdict (verdict/verdict.ts). */
export const VERDICTS = {
  connecting: "Connecting to the daemon.",
  refused: {
    401: "The daemon asks for a token.",
    403: "This token may not read. It needs the scope read or admin.",
  },
  lost: (since: string, hasData: boolean): string =>
    `Not connected to the daemon since ${since}.${hasData ? " The data shown is old." : ""}`,
  unhealthy: (check: string, message: string): string =>
    `The daemon is unhealthy: ${check}${message === "" ? "" : `, ${message}`}`,
  syncOff: (missing: readonly string[], message: string): string =>
    missing.length > 0
      ? `KV event sync is off: ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing.`
      : `KV event sync is off: ${message}`,
  noInformation: "Lookups answer that no cache information is available.",
  noEngine: (sources: readonly string[]): string =>
    sources.length === 0 ? "No engine is known." : `No engine is known. Sources: ${sources.join(", ")}.`,
  catchingUp: (inSync: string, all: string, number: number): string =>
    `Catching up: ${inSync} of ${all} ${number === 1 ? "engine is" : "engines are"} in sync.`,
  modelWithoutExact: (model: string, engines: number, areUnreachable: boolean): string => {
    const who = engines === 1 ? "its only engine is" : `all ${engines} engines are`;
    return `Nothing exact is known about ${model}: ${who} ${areUnreachable ? "unreachable" : "below exact"}.`;
  },
  fallbacks: (oneIn: number, reason: string | null): string =>
    `${oneIn === 1 ? "Most lookups" : `1 lookup in ${oneIn}`} cannot be answered${reason === null ? "" : `: ${reason}`}.`,
  backPressure: (level: number, messages: string | null): string =>
    `Events wait to be applied: back-pressure level ${level} of 3${messages === null ? "" : `, ${messages} messages in queues`}.`,
  firing: (name: string, summary: string, others: number): string => {
    const more = others === 0 ? "" : ` ${others} more ${others === 1 ? "alert fires" : "alerts fire"}.`;
    return `${name} fires${summary === "" ? "." : `: ${summary}`}${more}`;
  },
  someExact: (exact: string, all: string, number: number): string =>
    `Answers are exact for ${exact} of ${all} ${number === 1 ? "engine" : "engines"}.`,
  allExact: (all: string, number: number, p50: string | null): string => {
    const who = number === 1 ? "The engine is" : `All ${all} engines are`;
    return `${who} followed exactly.${p50 === null ? "" : ` Lookups take ${p50}.`}`;
  },
  stale: (engines: number): string =>
    engines === 0
      ? ""
      : `**${engines}** ${engines === 1 ? "verifies" : "verify"} their blocks after lost messages`,
  partial: (engines: number): string =>
    engines === 0 ? "" : `**${engines}** may hold more than the index has`,
  unknown: (engines: number): string =>
    engines === 0 ? "" : `**${engines}** ${engines === 1 ? "is" : "are"} not in sync yet`,
  unreachable: (engines: number): string => (engines === 0 ? "" : `**${engines}** cannot be reached`),
  nothingDropped: "Every received event was applied.",
  dropped: (reasons: readonly string[]): string => `Some events were not applied: ${reasons.join(", ")}.`,
  noLookups: "No lookup was asked lately.",
  lookups: (p50: string, p99: string | null): string =>
    `Lookups take **${p50}**${p99 === null ? "" : ` (p99 **${p99}**)`}.`,
};

/** Why there is no stream. */
export const LOSSES: Readonly<Record<LossReason, string>> = {
  unreachable: "The daemon cannot be reached.",
  ended: "The connection ended.",
  silent: "The daemon sent nothing for 32 seconds.",
  offline: "This computer is offline.",
  missing_message: "A message was missing. The page asks for the whole state again.",
  unreadable_message: "The daemon sent a message that this page cannot read. Reload the page.",
  stopping: "The daemon is stopping.",
  replaced: "The daemon closed this stream in favor of another one.",
  too_many_viewers: "Too many people watch this daemon. See the setting `dashboard.viewers`.",
  no_route: "This daemon has no dashboard stream. See the setting `dashboard.enabled`.",
  refused_status: "The daemon, or a proxy in front of it, refused the stream.",
};

/** The head of the page. */
export const FRAME = {
  views: "Views",
  live: (age: string): string => `live, ${age} ago`,
  states: {
    connecting: "connecting",
    waiting: "not connected",
    refused: "refused",
    paused: "paused",
    hidden: "paused while hidden",
  } satisfies Readonly<Record<Exclude<ConnectionState["kind"], "live">, string>>,
  retry: (seconds: string): string => `The next attempt is in ${seconds}.`,
  retryNow: "Connect now",
  range: "Time range",
  quarter: "15 m",
  hour: "1 h",
  pause: "Pause",
  resume: "Resume",
  theme: "Change between dark and light",
  logIn: "Log in",
  logOut: "Log out",
  kept: "Data kept here: one hour in steps of 5 seconds.",
  rate: (rate: string, n: string): string => `message ${n}, ${rate}/s`,
  noView: "There is no such view.",
  twoInstances: (ours: string, other: string): string =>
    `Answers come from two replicas: the stream from ${ours}, this answer from ${other}. Open one pod's page with kubectl port-forward.`,
};

/** The dialog for a token. */
export const LOGIN = {
  title: "Token",
  reason: {
    401: "The daemon asks for a token with the scope read or admin.",
    403: "This token has no right to read. Give one with the scope read or admin.",
  },
  wrong: "The daemon does not accept this token.",
  label: "Token",
  kept: "It is kept in this tab alone, and sent to this daemon alone.",
  submit: "Log in",
  cancel: "Cancel",
};

/** What a panel shows in place of its data. */
export const PANELS = {
  loading: "Loading",
  stale: (age: string): string => `${age} old`,
  refused: (scope: string): string => `This needs a token with the scope ${scope}.`,
  failed: (title: string, detail: string): string =>
    detail === "" ? `The daemon answered: ${title}.` : `The daemon answered: ${title}. ${detail}`,
  unreachable: "The daemon did not answer.",
  retry: "Try again",
  asTable: "as table",
  asChart: "as chart",
  time: "Time",
};

/** The overview. */
export const OVERVIEW = {
  attention: (engines: number): string =>
    `${engines} ${engines === 1 ? "engine needs" : "engines need"} attention`,
  exactStreams: "Exact engines",
  exactOf: (exact: string, all: string): string => `${exact} of ${all}; normal ≥ 99.5 %`,
  lookups: "Lookups",
  decisions: (exact: string, degraded: string, fallback: string): string =>
    `${exact} exact · ${degraded} degraded · ${fallback} fallback`,
  noLookups: "none in the last seconds",
  lookupP99: "Lookup p99",
  objective: (p50: string): string => `p50 ${p50}; objective 5 ms`,
  objectiveLine: "objective 5 ms",
  eventsApplied: "Events applied",
  lag: (p99: string): string => `received → applied p99 ${p99}`,
  hitRate: "Prefix hit rate",
  hitOf: "of prompt blocks in lookups",
  memory: "Index memory",
  memoryOf: (limit: string, blocks: string): string => `of ${limit}; ${blocks} blocks`,
  trustMap: "Trust by engine",
  exactOfModel: (exact: string, all: string): string => `${exact} of ${all} exact`,
  noModel: "no model",
  unreachable: "unreachable",
  noEngines:
    "No engine is known. Engines come from a file, the HTTP API or Kubernetes (setting `discovery`).",
  mapLabel: (model: string, exact: string, all: string): string =>
    `Engines of ${model}: ${exact} of ${all} are exact. The table of engines lists them.`,
  mapMore: (left: string): string => `${left} more engines are in the table.`,
  perSecond: "per second",
  perSecondByType: "per second, by type",
  latency: "Lookup latency",
  ms: "milliseconds",
  msLog: "milliseconds, log scale",
  byDecision: "Lookups by decision",
  hitByModel: "share of prompt blocks, by model",
  noEvents: "No event was applied in this time.",
  noLatency: "No lookup was measured in this time.",
  noDecisions: "No lookup was answered in this time.",
  noHits: "No lookup with blocks was answered in this time.",
  alerts: "Alerts",
  noAlerts: "No alert fires or is pending.",
  needsAttention: "Needs attention",
  allEngines: "engines",
  nothingNeeds: "All engines are followed exactly.",
  health: "Health",
  healthy: (healthy: number, all: number): string => `${healthy} of ${all} healthy`,
  noChecks: "The first health checks are running.",
  recent: "Recent events",
  nothingRecent: "Nothing happened since the daemon started.",
  p99: "p99",
  p50: "p50",
};

/** The engines and their drawer. */
export const ENGINES = {
  search: "Engine, model or address",
  searchLabel: "Search engines",
  all: "All",
  model: "Model",
  source: "Source",
  state: "State",
  anyModel: "all models",
  anySource: "all sources",
  anyState: "all states",
  copy: "Copy as CSV",
  copied: "Copied",
  columns: {
    id: "Engine",
    model: "Model",
    state: "State",
    trust: "Trust",
    seq: "Sequence",
    age: "Last event",
    tiers: "Blocks by tier",
    blocks: "Blocks",
    gaps: "Gaps",
    missed: "Missed",
    restarts: "Restarts",
    drops: "Dropped",
  },
  table: "Engines",
  shown: (shown: string, all: string): string => `${shown} of ${all} engines`,
  ranks: (ranks: number): string => `${ranks} ranks`,
  rank: (rank: number): string => `rank ${rank}`,
  keys: "↑ ↓ to move, Enter to open, Esc to close, / to search",
  none: "No engine is known.",
  noMatch: "No engine matches this filter.",
  clear: "Clear the filter",
  never: "never",
  now: "< 1 s",
  idle: (age: string): string => `idle ${age}`,
  ago: (age: string): string => `${age} ago`,
  close: "Close",
  gone: "The daemon no longer follows this engine.",
  position: "Position",
  sequence: "Sequence",
  lastEvent: "Last event",
  historyFrom: "History from",
  applied: "Messages applied",
  restarts: "Restarts",
  replays: "Replays",
  missed: "Missed messages",
  gapsCount: "Gaps",
  gaps: "Gaps and replays",
  noGaps: "No message was lost.",
  gapFrom: (sequence: string): string => `from ${sequence}`,
  tiers: "Blocks by tier",
  held: (blocks: string): string => `${blocks} held`,
  noTiers: "The daemon does not count this engine's blocks by tier.",
  timeline: "State, last hour",
  drops: "Events not applied, by reason",
  noDrops: "Every event was applied.",
  lastHour: "last hour",
  exact: "Followed exactly: lookups name what this engine holds, no more and no less.",
  why: (reason: string): string => `Not exact because of **${reason}**.`,
  trusts: {
    partial: "Some blocks may be missing from the index. Lookups name nothing that the engine does not hold.",
    stale: "Lookups may name blocks that the engine no longer holds.",
    unknown: "This engine is not in sync yet. A block that lookups do not name may still be there.",
  },
  unreachable: "There is no connection to this engine.",
  lostMessages: (missed: string): string => `**${missed}** messages were lost so far.`,
};

/** The lookup of a prompt. */
export const PREFIXES = {
  title: "Who holds this prompt?",
  model: "Model",
  adapter: "Adapter",
  none: "none",
  kinds: { prompt: "Prompt", messages: "Messages", tokens: "Token ids" },
  input: "Form of the input",
  examples: {
    prompt: "Paste the prompt as the engine gets it.",
    messages: '[{"role": "user", "content": "…"}]',
    tokens: "1, 15043, 29892, 3186",
  },
  lookUp: "Look up",
  looking: "Looking up",
  privacy: "Ctrl+Enter looks it up. The text goes to the daemon and its tokenizer alone. It is not stored.",
  badTokens: "Token ids are whole numbers from 0 to 4,294,967,295, with commas or spaces between them.",
  badMessages: "Messages are a JSON list of objects with role and content.",
  emptyInput: "Enter a prompt, messages or token ids.",
  noModel: "Enter the name of a model.",
  holders: (held: string, all: string, number: number): string =>
    `${held} of ${all} ${number === 1 ? "engine holds" : "engines hold"} the beginning of it`,
  nobody: "No engine holds the beginning of it.",
  noRank: "No engine of this model is known.",
  took: (ms: string): string => `answered in ${ms}`,
  blocksOf: (blocks: string, size: string): string => `**${blocks}** blocks of ${size} tokens`,
  blocks: "blocks",
  tokens: "tokens",
  decision: "decision",
  best: (blocks: string, share: string): string => `best **${blocks}** blocks, **${share}** of the prompt`,
  saves: (tokens: string, worker: string): string =>
    `The best engine, ${worker}, can skip **${tokens}** prompt tokens.`,
  decisions: {
    exact: "The decision is **exact**: route by it.",
    degraded: "The decision is **degraded**: some engines of this model are not exact.",
    fallback: "The decision is **fallback**: route as without cache information.",
  },
  reasons: {
    tokenizer_not_configured:
      "A prompt needs a tokenizer, and none is configured. Set `sync.tokenizer_endpoint` or `tokenizer.models`, or look up token ids.",
    tokenizer_unavailable: "The tokenizer cannot be reached.",
    tokenizer_timeout: "The tokenizer did not answer in time.",
    tokenizer_refused: "The tokenizer refused the prompt.",
    tokenizer_malformed: "The tokenizer's answer could not be read.",
    tokenizer_overloaded: "Too many prompts wait for the tokenizer.",
    circuit_open: "The tokenizer failed several times, so it is not asked for a while.",
  } as Readonly<Record<string, string>>,
  tiers: {
    device: "on the device",
    host: "in host memory",
    disk: "on disk",
    remote: "in a remote store",
    computed: "to be computed",
  },
  faded: "Faded bars: the engine's stream is not exact.",
  copyCurl: "copy as curl",
  copied: "copied",
  before: "Enter a prompt to see which engines hold its beginning, and how much of it.",
  picker: "Where the picker would send it",
  pickerColumns: {
    endpoint: "Endpoint",
    cost: "Cost",
    held: "Held",
    fresh: "To compute",
    running: "Running",
    pending: "Pending",
  },
  pickerUnit: "in tokens of prefill, best first",
};

/** Titles of the views. */
export const VIEWS = {
  overview: "Overview",
  engines: "Engines",
  prefixes: "Prefixes",
  index: "Index",
  alerts: "Alerts",
  events: "Events",
  system: "System",
};
