// The direction of dependencies, enforced. See docs/architecture.md.
/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "core-is-sans-io",
      comment:
        "core has no sockets, no clock, no files: it runs the same in the daemon, in simulation and in tools.",
      severity: "error",
      from: { path: "^packages/core/src", pathNot: "\\.(test|bench)\\.ts$" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "core-and-observability-are-strangers",
      severity: "error",
      from: { path: "^packages/(core|observability)/" },
      to: { path: "^packages/(core|observability)/", pathNot: "^packages/$1/" },
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
      name: "packages-never-import-apps",
      severity: "error",
      from: { path: "^packages/" },
      to: { path: "^apps/" },
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
      name: "kubernetes-client-is-loaded-only-when-on",
      comment: "Half a second and 30 MB for whoever has no cluster.",
      severity: "error",
      from: { path: "^(apps|packages)/" },
      to: {
        path: "@kubernetes",
        dependencyTypesNot: ["type-only"],
        dynamic: false,
      },
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
