/**
 * How the page is built: one script and one style sheet with hashed names, and relative addresses. Next to each file is the same
 * file compressed, which the daemon sends as it is.
 */
import { gzipSync } from "node:zlib";

import { defineConfig } from "vite";

const GZIP_LEVEL = 9;

/** Writes NAME.gz beside every file of the build. */
function compressed() {
  return {
    name: "compressed",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        for (const file of Object.values(bundle)) {
          const source = file.type === "chunk" ? file.code : file.source;
          this.emitFile({
            type: "asset",
            fileName: `${file.fileName}.gz`,
            source: gzipSync(source, { level: GZIP_LEVEL }),
          });
        }
      },
    },
  };
}

export default defineConfig({
  // The page works under every path prefix: its files are found relative to it.
  base: "./",
  build: {
    target: "es2022",
    // The daemon's content security policy allows no data: scripts, and one file fewer is no gain.
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      output: {
        // What the first load has anyway is one file: small files are compressed worse.
        codeSplitting: {
          groups: [{ name: "parts", test: /src\/(page|parts)\//, minShareCount: 2, maxModuleSize: 6000 }],
        },
      },
    },
  },
  plugins: [compressed()],
});
