/**
 * The model that a lookup means by the name that it gives: one rule for all routes.
 *
 *     name ─▶ an engine's `model`? ─▶ an engine's alias? ─▶ a LoRA adapter? ─▶ unknown_model
 *                                                            │ of an entry's `adapters`, or blocks of it were stored
 *                                                            └▶ its model, with the adapter as `lora_name`
 *
 * Rules
 *  M1  The first step that has the name decides. An alias selects the engines that have it: only
 *      they take such requests.
 *  M2  A name that belongs to two models in one step is refused (ambiguous_model): blocks of two models are not compared.
 *  M3  Clients of OpenAI's API name an adapter as the model. Any engine of the model may load it, so all are considered.
 *  M4  A lookup that names an adapter in both ways names the same one.
 */

import type { PrefixReader } from "@kvsync/core";

import type { EngineDirectory, RegisteredEngine } from "../engine/engine-directory.ts";
import { contradictory, RequestError } from "../request/request-error.ts";

/** Model names listed in an error. */
const LISTED_MAX = 20;

/** A name, understood. */
export interface NamedModel {
  /** As engines were registered with it. */
  readonly model: string;
  /** Null for the base model. */
  readonly loraName: string | null;
  /** Engines that take such requests. */
  readonly engines: ReadonlySet<RegisteredEngine>;
}

/** What knows names. */
export interface NameSources {
  readonly registry: EngineDirectory;
  readonly reader: PrefixReader;
}

/**
 * Finds the model that a lookup means.
 *
 * @param asked - `model` and `loraName` as they came.
 * @param sources - engines, and the adapters that the index knows.
 * @returns the model with the engines to consider. Map lookups, while contexts neither come nor go.
 * @throws RequestError unknown_model, ambiguous_model, contradictory_fields.
 */
export function namedModel(
  asked: { readonly model: string; readonly loraName: string | null },
  { registry, reader }: NameSources,
): NamedModel {
  const { model: name, loraName } = asked;
  const own = registry.enginesOf(name);
  if (own !== null) return { model: name, loraName, engines: own };

  const aliased = registry.enginesWithAlias(name);
  const aliasOf = onlyModel(name, registry.modelsWithAlias(name));
  if (aliasOf !== null) return { model: aliasOf, loraName, engines: aliased };

  const adapted = new Set([...registry.modelsWithAdapter(name), ...reader.modelsWithAdapter(name)]);
  const served = [...adapted].filter((model) => registry.enginesOf(model) !== null);
  const adapterOf = onlyModel(name, new Set(served));
  const engines = adapterOf === null ? null : registry.enginesOf(adapterOf);
  if (adapterOf === null || engines === null) throw unknownModel(name, registry);
  if (loraName !== null && loraName !== name)
    throw contradictory(["model", "lora_name"], `the adapter ${name} in one of the two, or in both`);
  return { model: adapterOf, loraName: name, engines };
}

/** M2. Null for none. */
function onlyModel(name: string, models: ReadonlySet<string>): string | null {
  const [model = null, ...others] = [...models].sort();
  if (model === null || others.length === 0) return model;
  const known = [model, ...others].slice(0, LISTED_MAX);
  throw new RequestError(
    { code: "ambiguous_model", model: name, known },
    `model ${JSON.stringify(name)}: several models have this name; expected one of ${known.join(", ")}`,
  );
}

/**
 * A model that no engine serves.
 *
 * @param model - as asked for.
 * @param registry - knows the others.
 * @returns the error to throw.
 */
export function unknownModel(model: string, registry: EngineDirectory): RequestError {
  const known = [...registry.models()].slice(0, LISTED_MAX);
  return new RequestError(
    { code: "unknown_model", model, known },
    `model ${JSON.stringify(model)}: no engine serves it, by this name, an alias or an adapter; known: ${known.join(", ") || "none"}`,
  );
}
