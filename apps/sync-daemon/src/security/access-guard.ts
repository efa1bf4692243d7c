/**
 * Who may use which route: a hook in front of every request.
 *
 *   request ─▶ access of its route ─▶ token ─▶ scope ─▶ rate ─▶ its body is read
 *                open: at once         401      403     429
 *
 * Invariants
 *  A1  A route that declares no access cannot be registered: the application does not start.
 *  A2  A request is refused before its body is read.
 *  A3  Without tokens everybody has every scope; who may listen so is a matter of settings (refuseOpenDoors). Rates count in any case.
 *  A4  No token and no part of one is logged, counted or answered: only the name that operators gave it.
 *
 * Rates count requests in seconds of the clock, per token, per address where there are none. Routes that are open are for probes and have no rate.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { AccessError, type AccessFacts, type TokenScope } from "./access-error.ts";
import { RateLimit, siteOf } from "./rate-limit.ts";
import type { CallerSettings } from "./security-settings.ts";
import type { TokenBearer, TokenList } from "./token-list.ts";

/** What a route asks of its caller: nothing; read, unless monitoring is open; read; admin. */
type Access = "open" | "monitoring" | TokenScope;

/** What a route declares. */
export interface AccessRule {
  readonly access: Access;
  /** Query parameters that reveal more than the route without them. */
  readonly accessWith?: Readonly<Record<string, Access>>;
}

/** What a guard goes by. */
export interface GuardRules {
  /**
   * What a route declares.
   *
   * @param method - upper case.
   * @param url - template, as `/api/v1/engines/:id`.
   * @returns undefined when it declares nothing.
   */
  readonly ruleOf: (method: string, url: string) => AccessRule | undefined;
  /** The tokens that count now; null when there are none and everybody may do everything. */
  readonly tokens: () => TokenList | null;
  readonly openMonitoring: boolean;
  readonly callers: CallerSettings;
  /** Hears of each refusal. */
  readonly refused: (code: AccessFacts["code"]) => void;
  /** Hears of each request with admin scope that was let through to its end, by whom. */
  readonly admin: (request: FastifyRequest, reply: FastifyReply, bearer: TokenBearer) => void;
}

/** What is counted apart. */
const CLASSES = ["read", "admin", "refused"] as const;

/** Guards a server's routes. */
export class AccessGuard {
  readonly #rules: GuardRules;
  readonly #bearers = new WeakMap<FastifyRequest, TokenBearer>();
  readonly #limits = new Map<(typeof CLASSES)[number], RateLimit>();

  private constructor(rules: GuardRules) {
    this.#rules = rules;
    for (const name of CLASSES) {
      const perSecond = rules.callers[`${name}_per_second`];
      if (perSecond > 0) this.#limits.set(name, new RateLimit(perSecond, () => performance.now()));
    }
  }

  /**
   * Puts a guard in front of a server. Before its routes are registered.
   *
   * @param server - any.
   * @param rules - what goes.
   */
  static install(server: FastifyInstance, rules: GuardRules): void {
    const guard = new AccessGuard(rules);
    // A1
    server.addHook("onRoute", ({ method, url }) => {
      for (const one of [method].flat())
        if (rules.ruleOf(one, url) === undefined)
          throw new Error(`route ${one} ${url} declares no access: add it to openapi/operations.ts`);
    });
    server.addHook("onRequest", (request, reply, done) => {
      const refusal = guard.#check(request, reply);
      if (refusal === null) {
        done();
        return;
      }
      rules.refused(refusal.facts.code);
      done(refusal);
    });
    server.addHook("onResponse", (request, reply, done) => {
      const bearer = guard.#bearers.get(request);
      if (bearer !== undefined && guard.#scopeOf(request) === "admin") rules.admin(request, reply, bearer);
      done();
    });
  }

  /** Why a request is refused; null when it may go on. */
  #check(request: FastifyRequest, reply: FastifyReply): AccessError | null {
    const scope = this.#scopeOf(request);
    if (scope === null) return null;
    const tokens = this.#rules.tokens();
    const refusal = tokens === null ? null : this.#refusalOf(request, tokens, scope);
    if (refusal === null) return this.#count(scope, request, reply);
    reply.header("www-authenticate", challenge(refusal.facts));
    // Who guesses is slowed down.
    const isKnown = refusal.facts.code === "insufficient_scope";
    return (isKnown ? null : this.#count("refused", request, reply)) ?? refusal;
  }

  /** The scope that a request needs; null for none. */
  #scopeOf(request: FastifyRequest): TokenScope | null {
    // Absent when no route matched, whatever the declaration says: that is answered with 404, which reveals nothing.
    const { url } = request.routeOptions as { readonly url?: string | undefined };
    if (url === undefined) return null;
    const rule = this.#rules.ruleOf(request.method, url);
    if (rule === undefined) return null;
    const { access, accessWith = {} } = rule;
    const given = request.query as Readonly<Record<string, unknown>>;
    const more = Object.entries(accessWith).find(([name]) => name in given)?.[1];
    const asked = more ?? access;
    if (asked === "open") return null;
    if (asked !== "monitoring") return asked;
    return this.#rules.openMonitoring ? null : "read";
  }

  #refusalOf(request: FastifyRequest, tokens: TokenList, scope: TokenScope): AccessError | null {
    const { authorization } = request.headers;
    if (authorization === undefined) {
      return new AccessError(
        { code: "missing_token", scope },
        `this route needs a token with ${scope} scope: send Authorization: Bearer <token>`,
      );
    }
    const token = /^Bearer +([\w.~+/-]+=*)$/i.exec(authorization)?.[1];
    if (token === undefined) {
      const expected = "Authorization: Bearer <token>";
      return new AccessError(
        { code: "malformed_authorization", expected },
        `the Authorization header is not usable; expected ${expected}`,
      );
    }
    const bearer = tokens.bearerOf(token);
    if (bearer === null)
      return new AccessError(
        { code: "unknown_token" },
        "nobody here has this token; it may have been replaced",
      );
    if (scope === "admin" && bearer.scope !== "admin") {
      return new AccessError(
        { code: "insufficient_scope", scope, token_name: bearer.name },
        `the token ${bearer.name} has ${bearer.scope} scope; this route needs ${scope}`,
      );
    }
    this.#bearers.set(request, bearer);
    return null;
  }

  #count(name: (typeof CLASSES)[number], request: FastifyRequest, reply: FastifyReply): AccessError | null {
    const limit = this.#limits.get(name);
    if (limit === undefined) return null;
    const bearer = this.#bearers.get(request);
    const seconds = limit.take(
      bearer === undefined ? `address ${siteOf(request.ip)}` : `token ${bearer.name}`,
    );
    if (seconds === 0) return null;
    reply.header("retry-after", String(seconds));
    const { perSecond } = limit;
    const whose =
      name === "refused"
        ? "requests without a good token from one address"
        : `requests with ${name} scope of one caller`;
    return new AccessError(
      { code: "rate_limited", per_second: perSecond, retry_after_seconds: seconds },
      `more than ${perSecond} ${whose} in a second (callers.${name}_per_second)`,
    );
  }
}

/** RFC 6750, section 3: what a client is told of how to authenticate. */
function challenge(facts: AccessFacts): string {
  const realm = 'Bearer realm="kvsync"';
  switch (facts.code) {
    case "missing_token":
    case "rate_limited":
      return realm;
    case "malformed_authorization":
      return `${realm}, error="invalid_request"`;
    case "unknown_token":
      return `${realm}, error="invalid_token"`;
    case "insufficient_scope":
      return `${realm}, error="insufficient_scope", scope="${facts.scope}"`;
  }
}
