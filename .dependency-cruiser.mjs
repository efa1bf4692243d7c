// The direction of dependencies, enforced. See docs/architecture.md.

/**
 * The floors of the daemon, from the ground (floor 0) up. A room is a folder or a file of apps/sync-daemon/src.
 * It imports rooms of lower floors only. A new room takes the lowest floor above all its imports.
 */
export const DAEMON_FLOORS = [
  [
    "build-facts.ts",
    "clock.ts",
    "folder.ts",
    "handles-by-key.ts",
    "message-identity.ts",
    "process-end.ts",
    "token-bucket.ts",
  ],
  ["board", "engine", "folder-claim.ts", "log", "request"],
  ["settings"],
  ["security", "telemetry"],
  ["discovery", "snapshot", "tokenizer", "transport"],
  ["health", "ingest", "query", "tools"],
  ["community", "dashboard", "lookup-threads", "picker"],
  ["daemon.ts", "openapi"],
  ["http"],
  ["app.module.ts"],
  ["main.ts"],
];

const DAEMON = "^apps/sync-daemon/src/";
const TEST_OR_BENCH = "\\.(test|bench)\\.ts$";

/** Matches paths in these rooms of the daemon; the first group is the room. */
function inRooms(rooms) {
  return `${DAEMON}(${rooms.join("|").replaceAll(".", "\\.")})(?:/|$)`;
}

const floorRules = DAEMON_FLOORS.map((rooms, i) => ({
  name: `floor-${i}-of-the-daemon-imports-down`,
  comment: `${rooms.join(", ")} may import lower floors only: ${DAEMON_FLOORS.slice(0, i).flat().join(", ") || "packages"}.`,
  severity: "error",
  from: { path: inRooms(rooms), pathNot: TEST_OR_BENCH },
  to: {
    path: DAEMON,
    pathNot: [`${DAEMON}$1(?:/|$)`, ...(i === 0 ? [] : [inRooms(DAEMON_FLOORS.slice(0, i).flat())])],
  },
}));

/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "core-is-sans-io",
      comment:
        "core has no sockets, no clock, no files: it runs the same in the daemon, in simulation and in tools.",
      severity: "error",
      from: { path: "^packages/core/src", pathNot: "(/testing/|\\.(test|bench)\\.ts$)" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "routing-is-sans-io",
      comment:
        "The policies that run in simulation run in a gateway: no sockets, no clock, no files, nothing of ours.",
      severity: "error",
      from: { path: "^packages/routing/src" },
      to: { pathNot: "^packages/routing/src" },
    },
    {
      name: "core-and-observability-are-strangers",
      severity: "error",
      from: { path: "^packages/(core|observability)/" },
      to: { path: "^packages/(core|observability)/", pathNot: "^packages/$1/" },
    },
    {
      name: "kvsync-catalogue-stands-apart",
      comment:
        "Other applications use packages/observability without kvsync/: only kvsync's own command line imports it.",
      severity: "error",
      from: {
        path: "^packages/observability/src/",
        pathNot: "^packages/observability/src/(kvsync/|main\\.ts$)|\\.test\\.ts$",
      },
      to: { path: "^packages/observability/src/kvsync/" },
    },
    {
      name: "wire-and-prefix-index-are-strangers",
      severity: "error",
      from: { path: "^packages/core/src/(wire|prefix-index)/", pathNot: "\\.(test|bench)\\.ts$" },
      to: { path: "^packages/core/src/(wire|prefix-index)/", pathNot: "^packages/core/src/$1/" },
    },
    {
      name: "apps-meet-over-the-network",
      severity: "error",
      from: { path: "^apps/([^/]+)/" },
      to: { path: "^apps/", pathNot: "^apps/$1/" },
    },
    {
      name: "the-page-imports-types-alone",
      comment: "Packages are for Node; code in a browser is the page's own.",
      severity: "error",
      from: { path: "^apps/dashboard/src/" },
      to: { path: "^packages/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "packages-never-import-apps",
      severity: "error",
      from: { path: "^packages/" },
      to: { path: "^apps/" },
    },
    ...floorRules,
    {
      name: "every-room-of-the-daemon-has-a-floor",
      comment: "Add a new folder or file of apps/sync-daemon/src to DAEMON_FLOORS.",
      severity: "error",
      from: { path: DAEMON, pathNot: [inRooms(DAEMON_FLOORS.flat()), TEST_OR_BENCH] },
      to: {},
    },
    {
      name: "controllers-get-parts",
      comment: "A controller injects the parts that it uses (app.module.ts), never the whole daemon.",
      severity: "error",
      from: { path: "^apps/sync-daemon/src/http/" },
      to: { path: "^apps/sync-daemon/src/daemon\\.ts$" },
    },
    {
      name: "nest-only-at-the-http-rim",
      severity: "error",
      from: {
        path: "^apps/sync-daemon/src/",
        pathNot: "^apps/sync-daemon/src/(http/|app\\.module\\.ts|main\\.ts)",
      },
      to: { path: "@nestjs/" },
    },
    {
      name: "prom-client-in-one-file",
      severity: "error",
      // The benchmark measures it next to our own handles.
      from: { pathNot: "^packages/observability/(src/exposition|bench/handles\\.bench)\\.ts$" },
      to: { path: "node_modules/(\\.pnpm/)?prom-client" },
    },
    {
      name: "pino-in-one-file",
      comment: "Lines come from declared events (log/log-line.ts), and only log.ts writes them.",
      severity: "error",
      from: { path: "^(apps|packages)/", pathNot: "^apps/sync-daemon/src/log/log\\.ts$" },
      to: { path: "node_modules/(\\.pnpm/)?pino(@|/|$)" },
    },
    {
      name: "tracing-is-loaded-only-when-on",
      comment: "OpenTelemetry is imported by two files, which are imported by name alone, or as types.",
      severity: "error",
      from: {
        path: "^apps/",
        pathNot: "^apps/sync-daemon/src/telemetry/(tracing|span-export)(\\.test)?\\.ts$",
      },
      to: {
        path: "^apps/sync-daemon/src/telemetry/(tracing|span-export)\\.ts$|node_modules/(\\.pnpm/)?@opentelemetry",
        dependencyTypesNot: ["type-only"],
        dynamic: false,
      },
    },
    {
      name: "picker-is-loaded-only-when-on",
      comment: "The daemon's main thread imports it by name alone, or as types; its thread has the rest.",
      severity: "error",
      from: { path: `${DAEMON}(daemon|app\\.module|main)\\.ts$|${DAEMON}(http|openapi)/` },
      to: {
        path: `${DAEMON}picker/picker-host\\.ts$`,
        dependencyTypesNot: ["type-only"],
        dynamic: false,
      },
    },
    {
      name: "kubernetes-client-is-loaded-only-when-on",
      comment: "It costs half a second and 30 MB without a cluster.",
      severity: "error",
      from: { path: "^(apps|packages)/" },
      to: {
        path: "@kubernetes/",
        dependencyTypesNot: ["type-only"],
        dynamic: false,
      },
    },
    {
      name: "nats-client-is-loaded-only-when-on",
      comment: "Only pickers that share their decisions need it.",
      severity: "error",
      from: { path: "^(apps|packages)/", pathNot: "\\.test\\.ts$" },
      to: { path: "@nats-io", dependencyTypesNot: ["type-only"], dynamic: false },
    },
    {
      name: "tests-are-leaves",
      severity: "error",
      from: { pathNot: "\\.(test|bench)\\.ts$" },
      to: { path: "\\.(test|bench)\\.ts$" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(apps|packages)/[^/]+/dist/|\\.generated\\." },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["types", "import"] },
  },
};
