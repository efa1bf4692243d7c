// Lint rules of the whole tree: correctness from the type checker, TSDoc on exports, size of functions. Formatting is biome's.
import js from "@eslint/js";
import jsdoc from "eslint-plugin-jsdoc";
import tseslint from "typescript-eslint";

/** Branches in one function. */
const COMPLEXITY_MAX = 15;
const SCRIPTS = ["**/*.mjs", "vitest*.config.ts"];
const TYPED = ["**/*.ts", "**/*.tsx", "**/*.mts"];
const NODE_GLOBALS = Object.fromEntries(
  [
    "Buffer",
    "URL",
    "console",
    "performance",
    "process",
    "setInterval",
    "clearInterval",
    "setTimeout",
    "clearTimeout",
    "WebAssembly",
    "SharedArrayBuffer",
    "Atomics",
    "structuredClone",
    "TextEncoder",
    "TextDecoder",
    "fetch",
  ].map((name) => [name, "readonly"]),
);

export default tseslint.config(
  { ignores: ["**/dist/**", "**/*.generated.*", "**/kernel/**"] },
  // Scripts of the workspace: plain JavaScript that Node runs as it is.
  {
    ...js.configs.recommended,
    files: SCRIPTS,
    rules: { ...js.configs.recommended.rules, complexity: ["error", COMPLEXITY_MAX] },
    languageOptions: { globals: NODE_GLOBALS },
  },
  ...tseslint.configs.strictTypeChecked.map((config) => ({
    ...config,
    files: TYPED,
    ignores: SCRIPTS,
  })),
  {
    files: TYPED,
    ignores: SCRIPTS,
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { jsdoc },
    rules: {
      "no-console": "error",
      complexity: ["error", COMPLEXITY_MAX],
      "max-lines-per-function": ["error", { max: 70, skipBlankLines: true, skipComments: true }],
      "no-restricted-syntax": [
        "error",
        { selector: "ExportDefaultDeclaration", message: "Use a named export: a name can be searched for." },
        {
          selector: "ExportAllDeclaration",
          message: "Name what is exported: the public surface is a page one reviews.",
        },
      ],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      // Nest modules and controllers are classes by the framework's design.
      "@typescript-eslint/no-extraneous-class": ["error", { allowWithDecorator: true }],
      "jsdoc/require-jsdoc": [
        "error",
        {
          publicOnly: true,
          require: { ClassDeclaration: true, FunctionDeclaration: true, MethodDefinition: true },
          contexts: [
            "TSInterfaceDeclaration",
            "TSTypeAliasDeclaration",
            "ExportNamedDeclaration > VariableDeclaration",
          ],
          checkConstructors: false,
        },
      ],
    },
  },
  {
    files: ["**/*.tsx"],
    rules: {
      // Markup takes a line for each attribute.
      "max-lines-per-function": ["error", { max: 110, skipBlankLines: true, skipComments: true }],
      "no-restricted-syntax": [
        "error",
        {
          selector: "JSXText[value=/[A-Za-z]{2}/]:not([value=/^\\s*kvsync\\s*$/])",
          message: "Write it in texts/.",
        },
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: "The page writes no HTML.",
        },
      ],
    },
  },
  {
    files: ["packages/core/**"],
    // noUncheckedIndexedAccess is off in core (typed-array reads), so `!` says something there and nowhere else.
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
  {
    files: ["**/*.test.ts", "**/*.bench.ts", "**/test/**", "**/bench/**", "**/real/**"],
    rules: {
      "max-lines-per-function": "off",
      complexity: "off",
      "no-console": "off",
      "jsdoc/require-jsdoc": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
