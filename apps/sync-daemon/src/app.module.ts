/**
 * The only wiring of the framework: controllers, and the two objects they are given.
 */

import "reflect-metadata";

import { type DynamicModule, Logger, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { FastifyAdapter, type NestFastifyApplication } from "@nestjs/platform-fastify";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { Daemon } from "./daemon.ts";
import { CommunityController } from "./http/community.controller.ts";
import { DumpController } from "./http/dump.controller.ts";
import { EnginesController } from "./http/engines.controller.ts";
import { HealthController } from "./http/health.controller.ts";
import { LogLevelController } from "./http/log-level.controller.ts";
import { MatchController } from "./http/match.controller.ts";
import { MetricsController } from "./http/metrics.controller.ts";
import { OpenapiController } from "./http/openapi.controller.ts";
import { NestLogger } from "./http/nest-logger.ts";
import { SnapshotController } from "./http/snapshot.controller.ts";
import { problem } from "./http/problem-status.ts";
import { ProblemFilter } from "./http/problem.filter.ts";
import { logRequests } from "./http/request-log.ts";
import { measureRequests } from "./http/request-metrics.ts";
import { traceRequests } from "./http/request-tracing.ts";
import { quoteLongIntegers } from "./query/community-api.ts";
import { Lookup } from "./query/lookup.ts";
import { accessRuleOf } from "./openapi/operations.ts";
import { HttpSecurity } from "./security/http-security.ts";

@Module({})
class AppModule {
  static of(daemon: Daemon): DynamicModule {
    return {
      module: AppModule,
      controllers: [
        MatchController,
        EnginesController,
        DumpController,
        HealthController,
        MetricsController,
        CommunityController,
        OpenapiController,
        SnapshotController,
        LogLevelController,
      ],
      providers: [
        { provide: Daemon, useFactory: () => daemon },
        { provide: Lookup, useFactory: () => daemon.lookup },
      ],
    };
  }
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
    frameworkErrors: refuseAddress,
    ...security.serverOptions,
  });
  Logger.overrideLogger(new NestLogger(daemon.log));
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.of(daemon), adapter);
  const server = adapter.getInstance();
  measureRequests(server, daemon.metrics);
  security.install(server, { metrics: daemon.metrics, log: daemon.log.write, ruleOf: accessRuleOf });
  // Behind the door: who is refused there cannot have anything traced.
  const idsOf = daemon.tracing === null ? (): null => null : traceRequests(server, daemon.tracing);
  logRequests(server, daemon.log, idsOf);
  // A binary body stays the one buffer that it was received into.
  app.useBodyParser("application/octet-stream", { bodyLimit: daemon.settings.http.body_bytes });
  // Types that no endpoint takes are refused, not parsed.
  server.removeContentTypeParser("text/plain");
  app.useGlobalFilters(new ProblemFilter(daemon.log, daemon.metrics));
  await app.init();
  // After Nest has put its own parser there.
  readLongIntegers(server, daemon.settings.http.body_bytes);
  await server.ready();
  return app;
}

/** What fails before there is a route to speak of, as an address that is not decodable: without repeating it, and past Nest. */
function refuseAddress(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  const document = problem("bad_request", `the address of the request could not be read (${error.code})`, {
    expected: "a path of this API, percent-encoded UTF-8",
  });
  reply.status(document.status).type("application/problem+json").send(document);
}

/** Hashes in bodies of /query_by_hash are u64 numbers, which JSON.parse would round: there they arrive as texts. */
function readLongIntegers(server: FastifyInstance, bodyLimit: number): void {
  const parse = server.getDefaultJsonParser("error", "error");
  server.removeContentTypeParser("application/json");
  server.addContentTypeParser(
    "application/json",
    { parseAs: "string", bodyLimit },
    (request: FastifyRequest, body: string, done) => {
      void parse(
        request,
        request.routeOptions.url === "/query_by_hash" ? quoteLongIntegers(body) : body,
        done,
      );
    },
  );
}
