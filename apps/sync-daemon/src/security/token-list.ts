/**
 * The bearer tokens of callers, as a file has them:
 *
 *     tokens:
 *       - { name: gateway, scope: read, sha256: <64 hex digits of the token's SHA-256> }
 *       - { name: operator, scope: admin, token: <the token itself> }
 *
 * Only digests are kept, and a caller's digest is compared with each of them in constant time. So
 * the time of an answer reveals nothing about a token.
 */

import { hash, timingSafeEqual } from "node:crypto";

import { parse as parseYaml, YAMLParseError } from "yaml";
import { z } from "zod";

import type { TokenScope } from "./access-error.ts";

/** Each request is compared with all of them: 0.7 µs for one, 10 µs for so many (Node 20). */
const TOKENS_MAX = 256;
/** 16 characters of base64 are 96 bits. */
const TOKEN_LENGTH_MIN = 16;
const TOKEN_LENGTH_MAX = 1024;

/** Faults of one file that are told. */
const FAULTS_MAX = 8;

const NAME_EXPECTED = "1-64 characters of A-Z a-z 0-9 . _ -";
const TOKEN_EXPECTED = `${TOKEN_LENGTH_MIN}-${TOKEN_LENGTH_MAX} characters of A-Z a-z 0-9 - . _ ~ + / =`;
const DIGEST_EXPECTED = "64 hex digits";
const LIST_EXPECTED = "a mapping with the list `tokens`";

const entry = z
  .strictObject(
    {
      name: z.string(NAME_EXPECTED).regex(/^[\w.-]{1,64}$/, NAME_EXPECTED),
      scope: z.enum(["read", "admin"], "read or admin"),
      // RFC 6750's alphabet, since it has to go into a header.
      token: z
        .string(TOKEN_EXPECTED)
        .regex(/^[\w.~+/-]{16,1024}=*$/, TOKEN_EXPECTED)
        .max(TOKEN_LENGTH_MAX, TOKEN_EXPECTED)
        .optional(),
      sha256: z
        .string(DIGEST_EXPECTED)
        .regex(/^[0-9a-fA-F]{64}$/, DIGEST_EXPECTED)
        .optional(),
    },
    "a mapping with name, scope, and token or sha256",
  )
  .refine(
    ({ token, sha256 }) => (token === undefined) !== (sha256 === undefined),
    "either token or sha256, one of the two",
  );
const file = z.strictObject(
  {
    tokens: z
      .array(entry, "a list of tokens")
      .min(1, "at least one token")
      .max(TOKENS_MAX, `at most ${TOKENS_MAX} tokens`),
  },
  LIST_EXPECTED,
);

/** Who a token says its bearer is. */
export interface TokenBearer {
  readonly name: string;
  readonly scope: TokenScope;
}

interface KnownToken extends TokenBearer {
  readonly digest: Buffer;
}

/** The tokens of one file. */
export class TokenList {
  readonly #tokens: readonly KnownToken[];

  private constructor(tokens: readonly KnownToken[]) {
    this.#tokens = tokens;
  }

  /**
   * Reads a file of tokens.
   *
   * @param text - YAML.
   * @returns the tokens.
   * @throws Error whose message names the entry and what was expected, and no secret.
   */
  static parse(text: string): TokenList {
    let parsed: unknown;
    try {
      parsed = parseYaml(text, { prettyErrors: false, logLevel: "error" });
    } catch (error) {
      // Neither the parser's message nor the error as cause: both may quote the line, with the token in it.
      const [offset] = error instanceof YAMLParseError ? error.pos : [0];
      throw new Error(`line ${text.slice(0, offset).split("\n").length}: not YAML`);
    }
    const result = file.safeParse(parsed);
    if (!result.success) throw new Error(told(result.error.issues));
    const names = new Set<string>();
    const digests = new Set<string>();
    const tokens = result.data.tokens.map(({ name, scope, token, sha256 }, i): KnownToken => {
      const digest = token === undefined ? Buffer.from(sha256 ?? "", "hex") : digestOf(token);
      if (names.has(name)) throw new Error(`tokens.${i}.name: ${name} is used twice; expected unique names`);
      if (digests.has(digest.toString("hex")))
        throw new Error(`tokens.${i}: the token of ${name} is used twice; expected unique tokens`);
      names.add(name);
      digests.add(digest.toString("hex"));
      return { name, scope, digest };
    });
    return new TokenList(tokens);
  }

  /** Number of tokens. */
  get size(): number {
    return this.#tokens.length;
  }

  /**
   * Whose token it is.
   *
   * @param token - as sent.
   * @returns null when nobody's.
   */
  bearerOf(token: string): TokenBearer | null {
    const digest = digestOf(token);
    let found: TokenBearer | null = null;
    // No early end: the time is the same wherever the token stands, and whether it does.
    for (const known of this.#tokens) if (timingSafeEqual(known.digest, digest)) found = known;
    return found;
  }
}

function digestOf(token: string): Buffer {
  return hash("sha256", token, "buffer");
}

/** Everything that is wrong, up to a number: a person should not need a look for each. */
function told(issues: readonly z.core.$ZodIssue[]): string {
  const all = issues.slice(0, FAULTS_MAX).map((issue) => {
    const where = issue.path.map(String).join(".");
    return `${where === "" ? "" : `${where}: `}expected ${expectationOf(issue)}`;
  });
  const left = issues.length - all.length;
  return `${all.join("; ")}${left > 0 ? `; and ${left} more` : ""}`;
}

function expectationOf(issue: z.core.$ZodIssue): string {
  // Which other field there is stays unsaid: it may be a token in the wrong place.
  return issue.code === "unrecognized_keys"
    ? "no other fields than name, scope, token, sha256"
    : issue.message;
}
