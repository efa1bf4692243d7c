/** The community's indexer API (shapes and differences: community/community-api.ts). */

import { PrefixReader, TIERS, toHex } from "@kvsync/core";
import { Body, Controller, Get, HttpCode, Inject, Post, Res } from "@nestjs/common";
import { RouteConfig } from "@nestjs/platform-fastify";
import type { FastifyContextConfig, FastifyReply } from "fastify";

import {
  byInstance,
  type CommunityQueryFields,
  DEFAULT_TENANT,
  type dumpList,
  dynamoAnswer,
  type dynamoRegistration,
  type globalView,
  mooncakeAnswer,
  type mooncakeRegistration,
  type queryAnswer,
  queryBody,
  queryByHashBody,
  registerBody,
  type serviceList,
  tenantOf,
  unregisterBody,
  type unregistration,
  type workerList,
} from "../community/community-api.ts";
import { hashTexts, instanceIdJson, quoteLongIntegers } from "../community/community-hashes.ts";
import { CommunityRegistrations, modelOf } from "../community/community-registrations.ts";
import { EngineRegistry } from "../engine/engine-registry.ts";
import type { Answer } from "../openapi/answer.ts";
import { Lookup } from "../query/lookup.ts";
import type { MatchAnswer } from "../query/match-answer.ts";
import { checkFields } from "../request/check-fields.ts";
import type { QuestionFields } from "../query/match-query.ts";
import { contradictory } from "../request/request-error.ts";
import { pageStream } from "./page-stream.ts";

/** u32 words per row of the index's dump. */
const ROW_WORDS = 5;
/** Rows per page of a dump. */
const PAGE_ROWS = 4096;

/** Where hashes may be: Mooncake's two, both rolling, and Dynamo's, local. */
const HASH_FIELDS = ["seq_hashes", "block_hash", "block_hashes"] as const;

/** `JSON.parse` would round hashes and instance ids of 64 bits: on routes with a body they arrive as texts. */
const LONG_INTEGERS: FastifyContextConfig = { rewriteJson: quoteLongIntegers };

/** Answers clients of Mooncake's and Dynamo's indexers. */
@Controller()
export class CommunityController {
  readonly #registrations: CommunityRegistrations;
  readonly #lookup: Lookup;
  readonly #registry: EngineRegistry;
  readonly #reader: PrefixReader;

  constructor(
    @Inject(CommunityRegistrations) registrations: CommunityRegistrations,
    @Inject(Lookup) lookup: Lookup,
    @Inject(EngineRegistry) registry: EngineRegistry,
    @Inject(PrefixReader) reader: PrefixReader,
  ) {
    this.#registrations = registrations;
    this.#lookup = lookup;
    this.#registry = registry;
    this.#reader = reader;
  }

  /**
   * Registers one DP rank of an instance.
   *
   * @param body - in either form.
   * @param reply - 201 for Dynamo's form, 200 for Mooncake's.
   * @returns the confirmation in the same form.
   */
  @Post("register")
  @RouteConfig(LONG_INTEGERS)
  async register(
    @Body() body: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Answer<typeof mooncakeRegistration> | Answer<typeof dynamoRegistration>> {
    const fields = checkFields(registerBody, body);
    const { instance } = await this.#registrations.register(fields);
    await this.#registrations.saved();
    const isDynamo = fields.model_name !== undefined;
    reply.status(isDynamo ? 201 : 200);
    return isDynamo ? { status: "ok" } : { status: "registered successfully", instance_id: instance };
  }

  /**
   * Removes one DP rank of an instance, or all.
   *
   * @param body - in either form.
   * @returns the confirmation in the same form.
   */
  @Post("unregister")
  @RouteConfig(LONG_INTEGERS)
  @HttpCode(200)
  async unregister(@Body() body: unknown): Promise<Answer<typeof unregistration>> {
    const fields = checkFields(unregisterBody, body);
    const removed = await this.#registrations.unregister(fields);
    await this.#registrations.saved();
    if (fields.model_name !== undefined) return { status: "ok" };
    return {
      status: "unregistered successfully",
      removed_instances: removed.map(({ instance, tenant, dpRank }) => `${instance}|${tenant}|${dpRank}`),
    };
  }

  /**
   * Looks tokens up.
   *
   * @param body - in either form.
   * @returns the answer in the same form.
   */
  @Post("query")
  @RouteConfig(LONG_INTEGERS)
  @HttpCode(200)
  query(@Body() body: unknown): Answer<typeof queryAnswer> {
    const fields = checkFields(queryBody, body);
    const answer = this.#lookup.tokens(this.#question(fields), fields.token_ids);
    return this.#answer(fields, answer);
  }

  /**
   * Looks hashes up.
   *
   * @param body - in either form; long integers come as texts.
   * @returns the answer in the same form.
   */
  @Post("query_by_hash")
  @RouteConfig(LONG_INTEGERS)
  @HttpCode(200)
  queryByHash(@Body() body: unknown): Answer<typeof queryAnswer> {
    const fields = checkFields(queryByHashBody, body);
    const given = HASH_FIELDS.filter((field) => fields[field] !== undefined);
    const [field] = given;
    if (field === undefined || given.length > 1) throw contradictory(HASH_FIELDS, "exactly one of the three");
    const hashes = hashTexts(fields[field] ?? [], field);
    const form = field === "block_hashes" ? "local" : "rolling";
    // The hashes contain the salt already, if there is one.
    const question = { ...this.#question(fields), cacheSalt: null };
    return this.#answer(fields, this.#lookup.hashes(question, hashes, form));
  }

  /**
   * Lists publishers, as Mooncake does.
   *
   * @returns those registered through this API.
   */
  @Get("services")
  services(): Answer<typeof serviceList> {
    const services = this.#registrations.list().map((known) => ({
      Endpoint: known.endpoint,
      ReplayEndpoint: known.replayEndpoint,
      Type: known.type,
      ModelName: known.model,
      LoraName: known.loraName,
      TenantID: known.tenant,
      InstanceID: known.instance,
      BlockSize: known.blockSize,
      DPRank: known.dpRank,
      AdditionalSalt: known.additionalSalt,
    }));
    return { count: services.length, services };
  }

  /**
   * Lists instances with the endpoints of their ranks, as Dynamo does.
   *
   * @param reply - gets the content type.
   * @returns JSON as a text: an id of 64 bits would lose digits as a JavaScript number.
   */
  @Get("workers")
  workers(@Res({ passthrough: true }) reply: FastifyReply): string {
    const workers = new Map<string, Record<string, string>>();
    for (const { engine } of this.#registry.engines()) {
      const { instance } = this.#registrations.identityOf(engine.id);
      const endpoints = workers.get(instance) ?? {};
      for (const { dpRank, endpoint } of engine.ranks) endpoints[dpRank] = endpoint;
      workers.set(instance, endpoints);
    }
    reply.header("content-type", "application/json");
    const rows: Answer<typeof workerList> = [...workers].map(([instance_id, endpoints]) => ({
      instance_id,
      endpoints,
    }));
    const texts = rows.map(
      ({ instance_id, endpoints }) =>
        `{"instance_id":${instanceIdJson(String(instance_id))},"endpoints":${JSON.stringify(endpoints)}}`,
    );
    return `[${texts.join(",")}]`;
  }

  /**
   * Lists contexts with the ranks that serve their model, as Mooncake does.
   *
   * @returns the view.
   */
  @Get("global_view")
  globalView(): Answer<typeof globalView> {
    const contexts = this.#reader.contexts().map(({ key, prefixCount }) => {
      const instances: Record<string, number[]> = {};
      for (const { engine } of this.#registry.enginesOf(key.model) ?? []) {
        const { instance } = this.#registrations.identityOf(engine.id);
        (instances[instance] ??= []).push(...engine.ranks.map(({ dpRank }) => dpRank));
      }
      return {
        model_name: key.model,
        lora_name: key.loraName ?? "",
        block_size: key.blockSize,
        tenant_id: DEFAULT_TENANT,
        prefix_count: prefixCount,
        instances,
      };
    });
    return { context_count: contexts.length, contexts };
  }

  /**
   * Streams what the index holds, by context.
   *
   * @param reply - receives the stream.
   */
  @Get("dump")
  dump(@Res() reply: FastifyReply): void {
    void reply.header("content-type", "application/json").send(pageStream(this.#dumpText()));
  }

  #question(fields: CommunityQueryFields): QuestionFields {
    const salt = fields.cache_salt ?? "";
    const lora = fields.lora_name ?? "";
    return {
      model: modelOf(fields),
      loraName: lora === "" ? null : lora,
      blockSize: fields.block_size ?? null,
      cacheSalt: salt === "" ? null : salt,
      media: [],
      workers: null,
      topK: null,
      includeUnmatched: true,
    };
  }

  #answer(fields: CommunityQueryFields, answer: MatchAnswer): Answer<typeof queryAnswer> {
    const tenant = tenantOf(fields);
    const wanted = fields.instance_id ?? null;
    const instances = byInstance(answer, (worker) => {
      const identity = this.#registrations.identityOf(worker);
      return identity.tenant === tenant && (wanted === null || identity.instance === wanted)
        ? identity
        : null;
    });
    return fields.model_name === undefined ? mooncakeAnswer(instances, tenant) : dynamoAnswer(instances);
  }

  *#dumpText(): Generator<string> {
    const reader = this.#reader;
    const rows = new Uint32Array(PAGE_ROWS * ROW_WORDS);
    yield "[";
    let separator = "";
    for (const { id, key } of reader.contexts()) {
      const head: Omit<Answer<typeof dumpList>[number], "blocks"> = {
        model_name: key.model,
        lora_name: key.loraName,
        block_size: key.blockSize,
        columns: ["prefix_hash", "instance_id", "dp_rank", "tier", "copies"],
      };
      yield `${separator}{${JSON.stringify(head).slice(1, -1)},"blocks":[`;
      separator = ",\n";
      let comma = "";
      for (let cursor = 0; cursor >= 0; ) {
        const page = reader.dump(id, cursor, rows);
        let text = "";
        for (let at = 0; at < page.rows * ROW_WORDS; at += ROW_WORDS) {
          const [low = 0, high = 0, rankSlot = 0, tier = 0, copies = 0] = rows.subarray(at, at + ROW_WORDS);
          const owner = this.#registry.ownerOf(rankSlot);
          if (owner === null) continue;
          const { instance } = this.#registrations.identityOf(owner.workerId);
          text += `${comma}${JSON.stringify([`0x${toHex(low, high)}`, instance, owner.dpRank, TIERS[tier], copies])}`;
          comma = ",";
        }
        yield text;
        cursor = page.cursor;
      }
      yield "]}";
    }
    yield "]\n";
  }
}
