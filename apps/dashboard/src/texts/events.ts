/** Sentences and labels of the view of live events. */

/** Live events. */
export const EVENTS = {
  title: "Live events",
  engine: "Engine",
  rank: "Rank",
  choose: "Choose an engine to see its events as they are applied.",
  noEngine: "No engine is known, so there are no events.",
  waiting: "Connected. The engine has sent no event since.",
  connecting: "Connecting to the stream of events.",
  ended: "The stream of events ended. It is opened again in a few seconds.",
  gone: "The daemon no longer follows this engine.",
  full: "Eight people watch events already. Try again when one of them has closed the view.",
  pause: "Pause",
  resume: "Resume",
  clear: "Clear",
  types: "Types of events",
  typeNames: {
    BlockStored: "stored",
    BlockRemoved: "removed",
    AllBlocksCleared: "cleared",
    unknown: "unknown",
    message: "dropped message",
  },
  onlyDropped: "not applied",
  kept: (shown: string, all: string): string => `${shown} of the latest ${all} events`,
  rate: (events: string): string => `${events} events/s`,
  leftOut: (events: string): string =>
    `${events} events were left out: at most 200 a second are shown. The counters of the engine have all of them.`,
  pausedNote: (events: string): string => `Paused. ${events} came since.`,
  columns: {
    time: "Time",
    message: "Message",
    lag: "Lag",
    type: "Event",
    blocks: "Blocks",
    outcome: "Outcome",
  },
  applied: "applied",
  reasons: "Meaning of the reasons",
  privacy: "Events have no tokens, hashes or prompts.",
};
