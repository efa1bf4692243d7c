/** Writes the generated pages of the daemon: `node apps/sync-daemon/dist/openapi/main.js`. A test compares them with what is committed. */

import { writeFileSync } from "node:fs";

import { generatedPages } from "./pages.ts";

/** The repository, seen from apps/sync-daemon/dist/openapi. */
const ROOT = new URL("../../../../", import.meta.url);

for (const [path, text] of generatedPages()) writeFileSync(new URL(path, ROOT), text);
