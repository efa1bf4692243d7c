/** The components that kvsync's alerts are about, each with the team that looks first. */

/** A component without a team does not compile. */
export const TEAM_OF = {
  configuration: "kvsync",
  ingest: "kvsync",
  index: "kvsync",
  routing: "kvsync",
  picker: "kvsync",
  http: "kvsync",
  snapshot: "kvsync",
  process: "kvsync",
  objectives: "kvsync",
  platform: "platform",
  alerting: "monitoring",
} as const;

/** One of them. */
export type Component = keyof typeof TEAM_OF;

/** All of them: a series of an alert is ours when its component is one of these. */
export const COMPONENTS = Object.keys(TEAM_OF) as readonly Component[];
