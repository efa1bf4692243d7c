/**
 * `/api/v1/engines`: the engines that are followed, their sources, the state of each stream, and
 * the engines that are not followed, with the reason.
 */

import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { Discovery } from "../discovery/discovery.ts";
import { engineEntry } from "../engine/engine-entry.ts";
import { EngineRegistry } from "../engine/engine-registry.ts";
import type { EngineList, RegisteredEngineAnswer } from "../openapi/engine-answers.ts";
import { malformed, unknownField } from "../request/request-error.ts";
import { EngineReports } from "./engine-reports.ts";
import { pageStream } from "./page-stream.ts";

/** Refusals listed at once; a fleet that is refused as a whole needs no more to be understood. */
const REFUSED_MAX = 256;
/** Length of a page of the list: about 3 ms, or one engine of many ranks. */
const PAGE_CHARACTERS = 128 * 1024;

/** Lists, registers and removes engines. */
@Controller("api/v1/engines")
export class EnginesController {
  readonly #registry: EngineRegistry;
  readonly #discovery: Discovery;
  readonly #reports: EngineReports;

  constructor(
    @Inject(EngineRegistry) registry: EngineRegistry,
    @Inject(Discovery) discovery: Discovery,
    @Inject(EngineReports) reports: EngineReports,
  ) {
    this.#registry = registry;
    this.#discovery = discovery;
    this.#reports = reports;
  }

  /**
   * Lists the engines: every engine with the status of its streams, how each source does, and what is refused.
   *
   * @param reply - receives the list in pages: a thousand engines are two megabytes.
   */
  @Get()
  list(@Res() reply: FastifyReply): void {
    void reply.header("content-type", "application/json; charset=utf-8").send(pageStream(this.#listText()));
  }

  *#listText(): Generator<string> {
    let text = '{"engines":[';
    let comma = "";
    for (const engine of [...this.#registry.engines()]) {
      // Removed since the first page: its slots may be another one's.
      if (this.#registry.engine(engine.engine.id) !== engine) continue;
      text += comma + JSON.stringify(this.#reports.engine(engine));
      comma = ",";
      if (text.length < PAGE_CHARACTERS) continue;
      yield text;
      text = "";
    }
    yield `${text}],${JSON.stringify(this.#surroundings()).slice(1)}`;
  }

  /** What the list has beside the engines. */
  #surroundings(): Omit<EngineList, "engines"> {
    const { sources } = this.#discovery;
    const refused = [...sources.refusals()];
    return {
      sources: this.#reports.sources(),
      refused_total: refused.length,
      refused: refused.slice(0, REFUSED_MAX),
      shard: this.#reports.shard(),
      replicas: this.#discovery.registrations.replicas(),
    };
  }

  /**
   * Registers an engine.
   *
   * @param body - one entry as in the configuration file.
   * @param reply - 201 when it is new, 200 when the same was there.
   * @returns the engine, with addresses in place of names, when its registration is kept, and the replicas that follow it.
   */
  @Post()
  async register(
    @Body() body: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RegisteredEngineAnswer> {
    const entry = engineEntry.safeParse(body);
    if (!entry.success) {
      const issue = entry.error.issues[0];
      const unknownKey = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
      if (unknownKey !== undefined) throw unknownField(unknownKey);
      throw malformed(
        (issue?.path ?? []).map(String).join(".") || "body",
        issue?.message ?? "an engine entry",
      );
    }
    const { registrations } = this.#discovery;
    const { registered, created } = await registrations.register(entry.data, null);
    await registrations.saved();
    reply.status(created ? 201 : 200);
    return { engine: this.#reports.engine(registered), replicas: registrations.replicas() };
  }

  /**
   * Removes an engine that was registered here: at once from lookups, soon from the index.
   *
   * @param id - the engine's.
   */
  @Delete(":id")
  @HttpCode(204)
  async remove(@Param("id") id: string): Promise<void> {
    await this.#discovery.registrations.remove(id);
    await this.#discovery.registrations.saved();
  }
}
