/**
 * Engines registered through the community's API, which registers one DP rank at a time under (instance, tenant, rank).
 *
 *     (instance, tenant, rank) ─▶ one engine of the registry, of one rank: id ‹tenant›/‹instance›/dp‹rank›,
 *                                 without the tenant when it is the default, without the rank when it is 0
 *
 * So `/api/v1/engines` and `/api/v1/match` list them too, by that id. Engines from elsewhere are
 * instances of the default tenant under their own id. Registrations are held, and kept over a
 * restart, by discovery/http-registrations.ts.
 */

import type { z } from "zod";

import type { HttpRegistrations } from "../discovery/http-registrations.ts";
import { engineEntry } from "../engine/engine-entry.ts";
import { engineConflict } from "../engine/engine-registry.ts";
import {
  type CommunityIdentity,
  DEFAULT_TENANT,
  type registerBody,
  tenantOf,
  type unregisterBody,
} from "./community-api.ts";
import type { CommunityRegistration } from "../discovery/community-registration.ts";
import { malformed, RequestError } from "../request/request-error.ts";

/** Who a registration is of, beside its DP rank, which its id ends with. A slash in a name can make two ids one: then the first one keeps it. */
const IDENTITY = ["instance", "tenant"] as const;

/** Registers, removes and names. */
export class CommunityRegistrations {
  readonly #registrations: HttpRegistrations;

  /** @param registrations - hold the engines, and what was said of them. */
  constructor(registrations: HttpRegistrations) {
    this.#registrations = registrations;
  }

  /**
   * Registers one DP rank.
   *
   * @param body - checked.
   * @returns what was registered; the same again changes nothing.
   * @throws RequestError malformed_body; AdmissionError endpoint_not_allowed, endpoint_unresolvable; RegistryError engine_conflict,
   *   registry_full.
   */
  async register(body: z.output<typeof registerBody>): Promise<CommunityRegistration> {
    const registration = registrationOf(body);
    const engine = engineOf(registration, body.type ?? undefined);
    const earlier = this.#registrations.community(registration.engineId);
    if (earlier !== null && IDENTITY.some((field) => earlier[field] !== registration[field]))
      throw engineConflict(engine, "instance_id", `${earlier.instance} of tenant ${earlier.tenant}`);
    await this.#registrations.register(engine, registration);
    return registration;
  }

  /**
   * Removes one DP rank of an instance, or all of them.
   *
   * @param body - checked; without a rank, all.
   * @returns what was removed, at least one.
   * @throws RequestError unknown_instance.
   */
  async unregister(body: z.output<typeof unregisterBody>): Promise<readonly CommunityRegistration[]> {
    const tenant = tenantOf(body);
    const removed = this.list().filter(
      (known) =>
        known.instance === body.instance_id &&
        known.tenant === tenant &&
        (body.dp_rank === null || body.dp_rank === undefined || known.dpRank === body.dp_rank),
    );
    if (removed.length === 0) {
      throw new RequestError(
        {
          code: "unknown_instance",
          instance_id: body.instance_id,
          tenant_id: tenant,
          dp_rank: body.dp_rank ?? null,
        },
        `instance ${body.instance_id} of tenant ${tenant} is not registered here${body.dp_rank === undefined || body.dp_rank === null ? "" : ` with DP rank ${body.dp_rank}`}`,
      );
    }
    for (const { engineId } of removed) await this.#registrations.remove(engineId);
    return removed;
  }

  /** Resolves when all that was said so far is kept over a restart. */
  saved(): Promise<void> {
    return this.#registrations.saved();
  }

  /**
   * The registrations that still stand, in order.
   *
   * @returns a fresh list.
   */
  list(): readonly CommunityRegistration[] {
    return this.#registrations.communities();
  }

  /**
   * Who an engine is to clients of this API.
   *
   * @param engineId - of the registry.
   * @returns its instance and tenant.
   */
  identityOf(engineId: string): CommunityIdentity {
    return this.#registrations.community(engineId) ?? { instance: engineId, tenant: DEFAULT_TENANT };
  }
}

/**
 * The model that a request means, by whichever name it has there.
 *
 * @param fields - of the request.
 * @returns its name.
 * @throws RequestError malformed_body when it has none.
 */
export function modelOf(fields: {
  readonly model?: string | undefined;
  readonly modelname?: string | undefined;
  readonly model_name?: string | undefined;
}): string {
  const model = fields.model ?? fields.modelname ?? fields.model_name;
  if (model === undefined) throw malformed("model", "the model's name, as model, modelname or model_name");
  return model;
}

function engineIdOf(instance: string, tenant: string, dpRank: number): string {
  return `${tenant === DEFAULT_TENANT ? "" : `${tenant}/`}${instance}${dpRank === 0 ? "" : `/dp${dpRank}`}`;
}

/** What a body registers, with the defaults of what it leaves out. */
function registrationOf(body: z.output<typeof registerBody>): CommunityRegistration {
  const tenant = tenantOf(body);
  const dpRank = body.dp_rank ?? 0;
  return {
    engineId: engineIdOf(body.instance_id, tenant, dpRank),
    instance: body.instance_id,
    tenant,
    dpRank,
    model: modelOf(body),
    loraName: body.lora_name ?? "",
    type: body.type ?? "vLLM",
    endpoint: body.endpoint,
    replayEndpoint: body.replay_endpoint ?? "",
    blockSize: body.block_size ?? 0,
    additionalSalt: body.additionalsalt ?? "",
  };
}

/** The engine of a registration, which is one rank of it. */
function engineOf(
  { engineId: id, model, endpoint, loraName, replayEndpoint, dpRank }: CommunityRegistration,
  type: string | undefined,
): z.output<typeof engineEntry> {
  const entry = engineEntry.safeParse({
    id,
    model,
    endpoint,
    type,
    adapters: loraName === "" ? [] : [loraName],
    ...(replayEndpoint === "" ? {} : { replay_endpoint: replayEndpoint }),
  });
  if (!entry.success) {
    const issue = entry.error.issues[0];
    const field = issue?.path[0] === "id" ? "instance_id" : String(issue?.path[0] ?? "body");
    throw malformed(field, issue?.message ?? "a registration");
  }
  return { ...entry.data, ranks: entry.data.ranks.map((rank) => ({ ...rank, dpRank })) };
}
