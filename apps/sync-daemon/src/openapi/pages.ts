/** The generated pages of the daemon, and the schema of its chart, as text by their path in the repository. */

import { settingsReference } from "../settings/settings-reference.ts";
import { chartValuesSchema } from "./chart-values.ts";
import { openapiDocument } from "./document.ts";
import { errorReference } from "./error-reference.ts";
import { trustReference } from "./trust-reference.ts";

/**
 * Renders them.
 *
 * @returns path and text of each.
 */
export function generatedPages(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/generated/openapi.json", `${JSON.stringify(openapiDocument(), null, 2)}\n`],
    ["docs/generated/errors.md", errorReference()],
    ["docs/generated/settings.md", settingsReference()],
    ["docs/generated/trust.md", trustReference()],
    ["infra/helm/kvsync/values.schema.json", chartValuesSchema()],
  ]);
}
