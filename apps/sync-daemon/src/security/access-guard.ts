/**
 * The access check of each route: a hook in front of the route, so that nothing is looked up per
 * request. An unknown route is answered with 404.
 *
 *   request ─▶ access of its route ─▶ token ─▶ scope ─▶ rate ─▶ its body is read
 *                open: at once         401      403     429
 *
 * Invariants
 *  A1  A route that declares no access cannot be registered: the application does not start.
 *  A2  A request is refused before its body is read.
 *  A3  Without tokens every caller has every scope, and the rates count.
 *  A4  No token and no part of one is logged, counted or answered: only the name that operators gave it.
 *
 * The settings decide which addresses may be served without tokens (`refuseOpenDoors`).
 * Rates count requests in seconds of the clock, per token, per address where there are none. Routes that are open are for probes and have no rate.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";

import { AccessError, type AccessFacts, type TokenScope } from "./access-error.ts";
import { RateLimit, siteOf } from "./rate-limit.ts";
import type { CallerSettings } from "../settings/security-settings.ts";
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

/** Who asks, where tokens are in use. */
const CALLERS = new WeakMap<FastifyRequest, TokenBearer>();

/**
 * Whose token a request has.
 *
 * @param request - that a guard let in.
 * @returns null where no tokens are in use, and on open routes.
 */
export function callerOf(request: FastifyRequest): TokenBearer | null {
  return CALLERS.get(request) ?? null;
}

/** What is counted apart. */
const CLASSES = ["read", "admin", "refused"] as const;

/** Guards a server's routes. */
export class AccessGuard {
  readonly #rules: GuardRules;
  readonly #hooks = new WeakSet<object>();
  /** Who asks with admin scope, until the answer is sent. */
  readonly #admins = new WeakMap<FastifyRequest, TokenBearer>();
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
    server.addHook("onRoute", (route) => {
      const { url, onRequest: earlier = [] } = route;
      // The route for HEAD is made of the one for GET, with the guard that that one got.
      const others = [earlier].flat().filter((hook) => !guard.#hooks.has(hook));
      const byMethod = new Map([route.method].flat().map((method) => [method, guard.#ruleOf(method, url)]));
      const hook: onRequestHookHandler = (request, reply, done) => {
        const rule = byMethod.get(request.method);
        const refusal = rule === undefined ? null : guard.#check(request, reply, rule);
        if (refusal === null) {
          done();
          return;
        }
        rules.refused(refusal.facts.code);
        done(refusal);
      };
      guard.#hooks.add(hook);
      route.onRequest = [hook, ...others];
    });
    server.addHook("onResponse", (request, reply, done) => {
      const bearer = guard.#admins.get(request);
      if (bearer !== undefined) rules.admin(request, reply, bearer);
      done();
    });
  }

  /** A1 */
  #ruleOf(method: string, url: string): AccessRule {
    const rule = this.#rules.ruleOf(method, url);
    if (rule === undefined)
      throw new Error(`route ${method} ${url} declares no access: add it to openapi/operations.ts`);
    return rule;
  }

  /** Why a request is refused; null when it may go on. */
  #check(request: FastifyRequest, reply: FastifyReply, rule: AccessRule): AccessError | null {
    const scope = this.#scopeOf(request, rule);
    if (scope === null) return null;
    const tokens = this.#rules.tokens();
    const bearer = tokens === null ? null : bearerOf(request, tokens, scope);
    if (bearer instanceof AccessError) {
      reply.header("www-authenticate", challenge(bearer.facts));
      // Who guesses is slowed down.
      const isKnown = bearer.facts.code === "insufficient_scope";
      return (isKnown ? null : this.#count("refused", request, reply, null)) ?? bearer;
    }
    if (bearer !== null) CALLERS.set(request, bearer);
    if (bearer !== null && scope === "admin") this.#admins.set(request, bearer);
    return this.#count(scope, request, reply, bearer);
  }

  /** The scope that a request needs; null for none. */
  #scopeOf(request: FastifyRequest, { access, accessWith }: AccessRule): TokenScope | null {
    let asked = access;
    if (accessWith !== undefined) {
      const given = request.query as Readonly<Record<string, unknown>>;
      asked = Object.entries(accessWith).find(([name]) => name in given)?.[1] ?? access;
    }
    if (asked === "open") return null;
    if (asked !== "monitoring") return asked;
    return this.#rules.openMonitoring ? null : "read";
  }

  #count(
    name: (typeof CLASSES)[number],
    request: FastifyRequest,
    reply: FastifyReply,
    bearer: TokenBearer | null,
  ): AccessError | null {
    const limit = this.#limits.get(name);
    if (limit === undefined) return null;
    const seconds = limit.take(bearer === null ? `address ${siteOf(request.ip)}` : `token ${bearer.name}`);
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

/** Whose request it is, or why it is refused. */
function bearerOf(request: FastifyRequest, tokens: TokenList, scope: TokenScope): TokenBearer | AccessError {
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
    return new AccessError({ code: "unknown_token" }, "no caller has this token; it may have been replaced");
  if (scope === "admin" && bearer.scope !== "admin") {
    return new AccessError(
      { code: "insufficient_scope", scope, token_name: bearer.name },
      `the token ${bearer.name} has ${bearer.scope} scope; this route needs ${scope}`,
    );
  }
  return bearer;
}

/** RFC 6750, section 3: what a client is told of how to authenticate. */
function challenge(facts: AccessFacts): string {
  const realm = 'Bearer realm="kvsync"';
  switch (facts.code) {
    case "missing_token":
    case "rate_limited":
    case "foreign_host":
      return realm;
    case "malformed_authorization":
      return `${realm}, error="invalid_request"`;
    case "unknown_token":
      return `${realm}, error="invalid_token"`;
    case "insufficient_scope":
      return `${realm}, error="insufficient_scope", scope="${facts.scope}"`;
  }
}
