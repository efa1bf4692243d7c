/**
 * The community's indexer API: the shapes that clients of Mooncake's Conductor and of Dynamo's standalone indexer send and expect.
 *
 *                        Mooncake (`model`, `modelname`)                       Dynamo (`model_name`)
 *     /register          {"status":"registered successfully", …}  200         {"status":"ok"}  201
 *     /query             {‹tenant›: {‹instance›: tiers}, "instances": …}       {"scores", "frequencies", "instances"}
 *     /query_by_hash     seq_hashes | block_hash: rolling, as ours             block_hashes: local, i64; chained here
 *     tiers              longest_matched, GPU, CPU, DISK, DP                   longest_matched, gpu, cpu, disk, dp
 *
 * Which of the two a request is follows from what it calls the model. All counts are tokens.
 *
 * Where the two differ from this index
 *  - `GPU`, `CPU`, `DISK` (Mooncake: the blocks of each tier) count each block for its fastest tier
 *    only. Slower tiers are lower bounds. Dynamo's `cpu` and `disk` are cumulative by definition,
 *    and exact.
 *  - Dynamo's former `tree_sizes` is not served, as Dynamo itself no longer does.
 *  - `/dump` lists blocks by prefix hash. Dynamo's RouterEvents cannot be rebuilt: parents are not kept.
 *  - `additionalsalt` and `hash_profile` are accepted and have no effect: blocks are hashed from
 *    their tokens, not from the engine's own hashes.
 *  - Publishers of type Mooncake (the store's pool events) are refused: their events name no worker that a request could be sent to.
 *
 * Sources: docs/source/design/conductor/{indexer-api-design,usage}.md @ 02785988328c, ca17b97a5e6a (kvcache-ai/Mooncake, RFC #1403);
 * lib/kv-router/src/standalone_indexer/server.rs @ bc2583516003 and docs/pages/components/router/standalone-indexer.md @ 2229327dc5b9
 * (ai-dynamo/dynamo).
 */

import { z } from "zod";

import { DP_RANKS_MAX, ENDPOINT, ENDPOINT_EXPECTED } from "../engine/engine-entry.ts";
import { ENGINE_TYPE_EXPECTED, engineTypeOf } from "../engine/engine-type.ts";
import { isWellFormed, WELL_FORMED_EXPECTED } from "../engine/well-formed.ts";
import { HASH_TEXT } from "./community-hashes.ts";
import type { MatchAnswer, WorkerMatch } from "../query/match-answer.ts";

/** The tenant of everything that names none. */
export const DEFAULT_TENANT = "default";
const TEXT_MAX = 1024;
const DP_RANK_MAX = DP_RANKS_MAX - 1;
const TOKEN_MAX = 0xffff_ffff;
const NAMED =
  "The model as model, modelname or model_name; the field that is used selects the form of the answer.";

const text = z
  .string("a text")
  .max(TEXT_MAX, `at most ${TEXT_MAX} characters`)
  .refine(isWellFormed, WELL_FORMED_EXPECTED);
const required = text.min(1, "a text of at least one character");
const rank = z.int("a DP rank").min(0, "a DP rank").max(DP_RANK_MAX, `a DP rank up to ${DP_RANK_MAX}`);
const INSTANCE = "an instance id: a text, or an integer from 0 to 2^64 - 1";
const instance = z
  .union([required, z.int(INSTANCE).min(0, INSTANCE)], INSTANCE)
  .transform(String)
  .meta({ id: "CommunityInstanceId", description: "Where requests are routed to." });
/** As in `/api/v1/match`: an int32 in every language. */
const BLOCK_SIZE_MAX = 999_999_999;
const BLOCK_SIZE = `tokens per block, from 1 to ${BLOCK_SIZE_MAX}`;
const size = z.int(BLOCK_SIZE).min(1, BLOCK_SIZE).max(BLOCK_SIZE_MAX, BLOCK_SIZE);
const names = {
  model: required.optional().describe("Model name, as in Mooncake's queries."),
  modelname: required.optional().describe("Model name, as in Mooncake's registrations."),
  model_name: required.optional().describe("Model name, as in Dynamo."),
};
const group = {
  lora_name: text.nullish(),
  tenant_id: text.nullish(),
  routing_group: text.nullish().describe("Dynamo's newer name of tenant_id."),
};

/** `POST /register`. */
export const registerBody = z
  .looseObject({
    ...names,
    ...group,
    instance_id: instance,
    endpoint: required.regex(ENDPOINT, ENDPOINT_EXPECTED).describe("ZMQ endpoint of one DP rank's events."),
    replay_endpoint: text.nullish(),
    type: z
      .string(ENGINE_TYPE_EXPECTED)
      .refine((type) => engineTypeOf(type) !== null, ENGINE_TYPE_EXPECTED)
      .nullish()
      .describe(`The engine: ${ENGINE_TYPE_EXPECTED}.`),
    block_size: size.optional(),
    dp_rank: rank.nullish(),
    additionalsalt: text.nullish(),
  })
  .meta({ id: "CommunityRegister", description: NAMED });

/** `POST /unregister`. */
export const unregisterBody = z
  .looseObject({ ...names, ...group, instance_id: instance, dp_rank: rank.nullish() })
  .meta({ id: "CommunityUnregister", description: NAMED });

const queryFields = {
  ...names,
  ...group,
  instance_id: instance.nullish(),
  block_size: size.nullish(),
  cache_salt: text.nullish(),
};
const list = (items: object) =>
  z.custom<readonly unknown[]>(Array.isArray, "a list").meta({ type: "array", items });

// Numbers for those that send them so; clients whose numbers are doubles or i64 send texts.
const hashes = list({
  anyOf: [
    { type: "integer", format: "int64" },
    { type: "string", pattern: HASH_TEXT.source },
  ],
});

/** `POST /query`. */
export const queryBody = z
  .looseObject({
    ...queryFields,
    token_ids: list({ type: "integer", format: "int64", minimum: 0, maximum: TOKEN_MAX }),
  })
  .meta({ id: "CommunityQuery", description: NAMED });

/** `POST /query_by_hash`. */
export const queryByHashBody = z
  .looseObject({
    ...queryFields,
    seq_hashes: hashes.optional().describe("Mooncake: rolling hashes, u64."),
    block_hash: hashes.optional().describe("Mooncake, earlier: the same."),
    block_hashes: hashes.optional().describe("Dynamo: local hashes, i64."),
  })
  .meta({
    id: "CommunityQueryByHash",
    description: `${NAMED} Exactly one of seq_hashes, block_hash, block_hashes.`,
  });

const count = z.int().min(0);
const byRank = z.record(z.string(), count).describe("By DP rank.");

/** What `POST /register` answers in Mooncake's form. */
export const mooncakeRegistration = z
  .strictObject({ status: z.literal("registered successfully"), instance_id: z.string() })
  .meta({ id: "CommunityRegistration", description: "Mooncake's form." });
/** What `POST /register` answers in Dynamo's form. */
export const dynamoRegistration = z
  .strictObject({ status: z.literal("ok") })
  .meta({ id: "CommunityRegistrationOk", description: "Dynamo's form." });
/** What `POST /unregister` answers. */
export const unregistration = z
  .strictObject({
    status: z.enum(["ok", "unregistered successfully"]).describe("`ok` is Dynamo's."),
    removed_instances: z.array(z.string()).optional().describe("Mooncake's form: instance|tenant|rank."),
  })
  .meta({ id: "CommunityUnregistration", description: "What was removed." });

const mooncakeTiers = z
  .strictObject({ longest_matched: count, GPU: count, DP: byRank, CPU: count, DISK: count })
  .meta({ id: "MooncakeTiers", description: "Tokens by tier." });
const dynamoTiers = z
  .strictObject({ longest_matched: count, gpu: count, dp: byRank, cpu: count, disk: count })
  .meta({ id: "DynamoTiers", description: "Tokens, each tier with those before it." });
const mooncakeInstances = z.record(z.string(), mooncakeTiers);
const mooncakeQueryAnswer = z.object({ instances: mooncakeInstances }).catchall(mooncakeInstances).meta({
  id: "MooncakeQueryAnswer",
  description: "Cached tokens by instance, also under the tenant's name.",
});
const dynamoQueryAnswer = z
  .strictObject({
    scores: z.record(z.string(), byRank).describe("Cached tokens by instance and DP rank."),
    frequencies: z.array(count).describe("Ranks that hold the first block, the first two, …"),
    instances: z.record(z.string(), dynamoTiers),
  })
  .meta({ id: "DynamoQueryAnswer", description: "Cached tokens by instance, with scores." });

/** What both lookups answer. */
export const queryAnswer = z.union([mooncakeQueryAnswer, dynamoQueryAnswer]).meta({
  id: "CommunityQueryAnswer",
  description: "Cached tokens by instance, in the form of the question.",
});

/** What `GET /services` answers. */
export const serviceList = z
  .strictObject({
    count,
    services: z.array(
      z
        .strictObject({
          Endpoint: z.string(),
          ReplayEndpoint: z.string(),
          Type: z.string(),
          ModelName: z.string(),
          LoraName: z.string(),
          TenantID: z.string(),
          InstanceID: z.string(),
          BlockSize: count,
          DPRank: count,
          AdditionalSalt: z.string(),
        })
        .meta({ id: "CommunityService" }),
    ),
  })
  .meta({ id: "CommunityServices", description: "Publishers registered through this API." });

/** What `GET /workers` answers. */
export const workerList = z
  .array(
    z
      .strictObject({
        instance_id: z
          .union([z.string(), z.number().meta({ type: "integer", format: "int64", minimum: 0 })])
          .describe("An integer where it is one of 64 bits, as Dynamo's are; read it without rounding."),
        endpoints: z.record(z.string(), z.string()).describe("By DP rank."),
      })
      .meta({ id: "CommunityWorker" }),
  )
  .describe("Instances, from wherever they are known.");

/** What `GET /global_view` answers. */
export const globalView = z
  .strictObject({
    context_count: count,
    contexts: z.array(
      z
        .strictObject({
          model_name: z.string(),
          lora_name: z.string(),
          block_size: count,
          tenant_id: z.string(),
          prefix_count: count,
          instances: z.record(z.string(), z.array(count)).describe("DP ranks by instance."),
        })
        .meta({ id: "CommunityContext" }),
    ),
  })
  .meta({ id: "CommunityGlobalView", description: "Contexts and the ranks that serve them." });

/** What `GET /dump` answers. */
export const dumpList = z
  .array(
    z
      .strictObject({
        model_name: z.string(),
        lora_name: z.string().nullable(),
        block_size: count,
        columns: z.array(z.string()),
        blocks: z.array(z.array(z.unknown())).describe("A row for each, in the order of the columns."),
      })
      .meta({ id: "CommunityDump" }),
  )
  .describe("All blocks, by context.");

/** What `/query` and `/query_by_hash` have in common. */
export type CommunityQueryFields = z.output<z.ZodObject<typeof queryFields>>;

/** Answer to a lookup in Mooncake's form. */
type MooncakeQueryAnswer = z.output<typeof mooncakeQueryAnswer>;
/** Answer to a lookup in Dynamo's form. */
type DynamoQueryAnswer = z.output<typeof dynamoQueryAnswer>;

/** Who an engine of the registry is to clients of this API. */
export interface CommunityIdentity {
  readonly tenant: string;
  readonly instance: string;
}

/** One instance's ranks, as matched. */
type Instances = ReadonlyMap<string, readonly WorkerMatch[]>;

/**
 * The tenant that a request means.
 *
 * @param fields - of the request.
 * @returns its name.
 */
export function tenantOf(fields: {
  readonly tenant_id?: string | null | undefined;
  readonly routing_group?: string | null | undefined;
}): string {
  return (
    [fields.tenant_id, fields.routing_group].find(
      (name) => name !== null && name !== undefined && name !== "",
    ) ?? DEFAULT_TENANT
  );
}

/**
 * Groups an answer by instance.
 *
 * @param answer - with unmatched ranks listed.
 * @param identify - who a worker is; null when it is not to be told of.
 * @returns the ranks of each instance.
 */
export function byInstance(
  answer: MatchAnswer,
  identify: (worker: string) => CommunityIdentity | null,
): Instances {
  const instances = new Map<string, WorkerMatch[]>();
  for (const row of answer.matches) {
    const identity = identify(row.worker);
    if (identity === null) continue;
    const rows = instances.get(identity.instance) ?? [];
    rows.push(row);
    instances.set(identity.instance, rows);
  }
  return instances;
}

/**
 * The answer as Mooncake's clients read it, in its earlier form (by tenant) and its present one (`instances`).
 *
 * @param instances - from `byInstance`.
 * @param tenant - asked for.
 * @returns the body.
 */
export function mooncakeAnswer(instances: Instances, tenant: string): MooncakeQueryAnswer {
  const found = eachInstance(instances, (rows) => ({
    longest_matched: mostTokens(rows, (row) => row.matched_blocks),
    GPU: mostTokens(rows, ({ tiers }) => tiers.device),
    DP: tokensByRank(rows, (row) => row.matched_blocks),
    CPU: mostTokens(rows, ({ tiers }) => tiers.host),
    DISK: mostTokens(rows, ({ tiers }) => tiers.disk + tiers.remote),
  }));
  return { [tenant]: found, instances: found };
}

/**
 * The answer as Dynamo's clients read it.
 *
 * @param instances - from `byInstance`.
 * @returns the body.
 */
export function dynamoAnswer(instances: Instances): DynamoQueryAnswer {
  const matched = new Map(
    [...instances]
      .map(([name, rows]) => [name, rows.filter((row) => row.matched_blocks > 0)] as const)
      .filter(([, rows]) => rows.length > 0),
  );
  return {
    scores: eachInstance(matched, (rows) => tokensByRank(rows, (row) => row.matched_blocks)),
    frequencies: frequencies([...matched.values()].flat().map((row) => row.matched_blocks)),
    instances: eachInstance(instances, (rows) => ({
      longest_matched: mostTokens(rows, (row) => row.matched_blocks),
      gpu: mostTokens(rows, ({ tiers }) => tiers.device),
      dp: tokensByRank(rows, ({ tiers }) => tiers.device),
      cpu: mostTokens(rows, ({ tiers }) => tiers.device + tiers.host),
      disk: mostTokens(rows, (row) => row.matched_blocks),
    })),
  };
}

/** By name, whatever that is: assigned one by one, an instance called `__proto__` would be lost. */
function eachInstance<Description>(
  instances: Instances,
  describe: (rows: readonly WorkerMatch[]) => Description,
): Record<string, Description> {
  return Object.fromEntries([...instances].map(([name, rows]) => [name, describe(rows)]));
}

function mostTokens(rows: readonly WorkerMatch[], blocksOf: (row: WorkerMatch) => number): number {
  return Math.max(0, ...rows.map((row) => tokensOf(row, blocksOf)));
}

function tokensByRank(
  rows: readonly WorkerMatch[],
  blocksOf: (row: WorkerMatch) => number,
): Record<string, number> {
  return Object.fromEntries(rows.map((row) => [row.dp_rank, tokensOf(row, blocksOf)]));
}

function tokensOf(row: WorkerMatch, blocksOf: (row: WorkerMatch) => number): number {
  return blocksOf(row) * (row.block_size ?? 0);
}

/** How many ranks hold the first block, the first two, and so on. O(longest match + ranks). */
function frequencies(lengths: readonly number[]): number[] {
  const counts = new Array<number>(Math.max(0, ...lengths)).fill(0);
  for (const length of lengths) counts[length - 1] = (counts[length - 1] ?? 0) + 1;
  for (let i = counts.length - 2; i >= 0; i--) counts[i] = (counts[i] ?? 0) + (counts[i + 1] ?? 0);
  return counts;
}
