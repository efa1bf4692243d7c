/**
 * The only wiring of the framework: controllers, and the parts of the daemon that they inject. No
 * controller injects the whole daemon.
 */

import "reflect-metadata";

import { PrefixReader } from "@kvsync/core";
import { Exposition } from "@kvsync/observability/exposition";
import { type Abstract, type DynamicModule, type FactoryProvider, Logger, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { FastifyInstance } from "fastify";
import { FastifyAdapter, type NestFastifyApplication } from "@nestjs/platform-fastify";

import { BoardReader } from "./board/stream-board.ts";
import { CommunityRegistrations } from "./community/community-registrations.ts";
import type { Daemon } from "./daemon.ts";
import { Discovery } from "./discovery/discovery.ts";
import { EngineRegistry } from "./engine/engine-registry.ts";
import { HealthChecks } from "./health/health-checks.ts";
import { Readiness } from "./health/readiness.ts";
import { SyncHealth } from "./health/sync-health.ts";
import { Dashboard } from "./dashboard/dashboard.ts";
import { StaticFiles } from "./dashboard/static-files.ts";
import { AlertsController } from "./http/alerts.controller.ts";
import { CommunityController } from "./http/community.controller.ts";
import { DashboardController } from "./http/dashboard.controller.ts";
import { DashboardFilesController } from "./http/dashboard-files.controller.ts";
import { DumpController } from "./http/dump.controller.ts";
import { EngineDetailsController } from "./http/engine-details.controller.ts";
import { EngineReports } from "./http/engine-reports.ts";
import { EnginesController } from "./http/engines.controller.ts";
import { HealthController } from "./http/health.controller.ts";
import { LogLevelController } from "./http/log-level.controller.ts";
import { MatchController } from "./http/match.controller.ts";
import { MetricsController } from "./http/metrics.controller.ts";
import { OpenapiController } from "./http/openapi.controller.ts";
import { NestLogger } from "./http/nest-logger.ts";
import { PickerController } from "./http/picker.controller.ts";
import { SnapshotController } from "./http/snapshot.controller.ts";
import { SystemController } from "./http/system.controller.ts";
import { ProblemFilter } from "./http/problem.filter.ts";
import { logRequests } from "./http/request-log.ts";
import { measureRequests } from "./http/request-metrics.ts";
import { readBodies, refuseAddress, refuseEncodings, refuseUnreadable } from "./http/request-reading.ts";
import { traceRequests } from "./http/request-tracing.ts";
import { LevelControl } from "./log/level-control.ts";
import { LineGate } from "./log/line-gate.ts";
import { accessRuleOf } from "./openapi/operations.ts";
import { PickerQuestions } from "./picker/picker-questions.ts";
import { Lookup } from "./query/lookup.ts";
import { BodyBudget } from "./security/body-budget.ts";
import { HttpSecurity } from "./security/http-security.ts";
import { SnapshotStore } from "./snapshot/snapshot-store.ts";

@Module({})
class AppModule {
  static of(daemon: Daemon, security: HttpSecurity): DynamicModule {
    const { discovery, board, reader, unknownKinds } = daemon;
    return {
      module: AppModule,
      controllers: [
        MatchController,
        EnginesController,
        EngineDetailsController,
        SystemController,
        DumpController,
        HealthController,
        MetricsController,
        CommunityController,
        OpenapiController,
        SnapshotController,
        LogLevelController,
        PickerController,
        DashboardFilesController,
        DashboardController,
        AlertsController,
      ],
      providers: [
        given(EngineRegistry, daemon.registry),
        given(Discovery, daemon.discovery),
        given(CommunityRegistrations, new CommunityRegistrations(daemon.discovery.registrations)),
        given(BoardReader, daemon.board),
        given(PrefixReader, daemon.reader),
        given(Lookup, daemon.lookup),
        given(SnapshotStore, daemon.snapshots),
        given(Readiness, daemon.readiness),
        given(HealthChecks, daemon.health),
        given(SyncHealth, daemon.syncHealth),
        given(Exposition, daemon.exposition),
        given(LineGate, daemon.log),
        given(LevelControl, daemon.logLevel),
        given(PickerQuestions, daemon.pickerQuestions),
        given(StaticFiles, daemon.page),
        given(Dashboard, daemon.dashboard),
        given(EngineReports, new EngineReports({ discovery, board, reader, unknownKinds })),
        given(HttpSecurity, security),
      ],
    };
  }
}

/** Answers of the API name the daemon: behind one address there may be several. */
function nameInstance(server: FastifyInstance, instance: string): void {
  server.addHook("onRequest", (request, reply, done) => {
    if (request.url.startsWith("/api/")) void reply.header("x-kvsync-instance", instance);
    done();
  });
}

/** Provides a part under its class. The factory keeps Nest from inspecting the part. */
function given<Part>(provide: Abstract<Part>, part: Part): FactoryProvider<Part> {
  return { provide, useFactory: () => part };
}

/**
 * The HTTP rim of a daemon, not yet listening.
 *
 * @param daemon - running.
 * @param security - of the daemon's settings; read from them unless given.
 * @returns the application; whoever made it closes it.
 * @throws SettingsError when files of tokens or certificates cannot be used.
 */
export async function createApp(
  daemon: Daemon,
  security: HttpSecurity = HttpSecurity.read(daemon.settings),
): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    bodyLimit: daemon.settings.http.body_bytes,
    routerOptions: { maxParamLength: 256 },
    forceCloseConnections: "idle",
    // What still comes on a kept connection while stopping is answered, with Connection: close: the index is there until the last answer.
    return503OnClosing: false,
    frameworkErrors: refuseAddress,
    clientErrorHandler: refuseUnreadable(daemon.metrics),
    ...security.serverOptions,
  });
  Logger.overrideLogger(new NestLogger(daemon.log));
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.of(daemon, security), adapter);
  const server = adapter.getInstance();
  measureRequests(server, daemon.metrics);
  security.install(server, { metrics: daemon.metrics, log: daemon.log.write, ruleOf: accessRuleOf });
  // Behind the door: who is refused there cannot have anything traced.
  const untraced = (_request: unknown, work: () => void): void => {
    work();
  };
  logRequests(server, daemon.log, daemon.tracing === null ? untraced : traceRequests(server, daemon.tracing));
  refuseEncodings(server);
  nameInstance(server, daemon.instance);
  server.addHook("preClose", (done) => {
    daemon.dashboard.stop();
    done();
  });
  const { body_bytes: bodyBytes, json_bytes: jsonLimit } = daemon.settings.http;
  const jsonBytes = Math.min(jsonLimit, bodyBytes);
  BodyBudget.install(server, { bytes: daemon.settings.callers.bodies_bytes, jsonBytes, bodyBytes });
  // A binary body stays the one buffer that it was received into.
  app.useBodyParser("application/octet-stream", { bodyLimit: bodyBytes });
  app.useGlobalFilters(new ProblemFilter(daemon.log, daemon.metrics));
  await app.init();
  readBodies(server, jsonBytes, daemon.lookupThreads);
  await server.ready();
  return app;
}
