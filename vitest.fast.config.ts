// The inner loop: `npm run test:fast` runs the tests that stand next to the code, without the long searches and real processes.
import { configDefaults, defineConfig } from "vitest/config";

import shared from "./vitest.config.ts";

export default defineConfig({
  ...shared,
  test: {
    ...shared.test,
    exclude: [
      ...configDefaults.exclude,
      "test/**",
      "**/*.{e2e,model,property,scale,churn,concurrency,writers,simulation}.test.ts",
    ],
    reporters: ["default"],
    // A package whose tests all need real processes has none here.
    passWithNoTests: true,
  },
});
