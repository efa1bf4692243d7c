/**
 * Checks that every answer of a daemon has only fields of its schema, and only statuses and
 * problems that the route lists. It wraps the application that tests ask, so that each of their
 * requests is checked.
 */
import type { NestFastifyApplication } from "@nestjs/platform-fastify";

import type { Operation } from "../src/openapi/operation.ts";
import { OPERATIONS } from "../src/openapi/operations.ts";
import { problemsOf } from "../src/openapi/route-problems.ts";

type Inject = (options: string | InjectOptions) => Promise<Answered>;

interface InjectOptions {
  readonly method?: string;
  readonly url?: unknown;
  readonly payloadAsStream?: boolean;
}

/** As much of an answer as is checked. */
export interface Answered {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** The same application, of which every `inject` throws when the answer is not as described. */
export function withCheckedAnswers(app: NestFastifyApplication): NestFastifyApplication {
  const inject = app.inject.bind(app) as unknown as Inject;
  const checked: Inject = async (options) => {
    const answered = await inject(options);
    // Its body has not come, and may have no end.
    if (typeof options === "object" && options.payloadAsStream === true) return answered;
    const { method = "GET", url } = typeof options === "string" ? { url: options } : options;
    const fault = answerFault(method, String(url), answered);
    if (fault !== null) throw new Error(fault);
    return answered;
  };
  return new Proxy(app, {
    get: (target, name) => (name === "inject" ? checked : (Reflect.get(target, name, target) as unknown)),
  });
}

/** What is wrong with an answer; null when nothing is, or when no route took the question. */
export function answerFault(method: string, url: string, answered: Answered): string | null {
  const operation = operationOf(method, url);
  if (operation === undefined || answered.body === "") return null;
  const { statusCode, body } = answered;
  const type = String(answered.headers["content-type"]);
  const where = `${method} ${operation.path} answered ${statusCode}`;
  if (type.includes("problem+json")) {
    const { code } = JSON.parse(body) as { readonly code: string };
    return problemsOf(operation).some((known) => known === code)
      ? null
      : `${where} with ${code}, which is not listed`;
  }
  const contents = [operation.answers[statusCode] ?? []].flat();
  if (contents.length === 0) return `${where}, which is not listed`;
  if (!type.includes("application/json")) return null;
  const content = contents.find((one) => "schema" in one);
  if (content === undefined) return `${where} with JSON, for which there is no schema`;
  const result = content.schema.safeParse(JSON.parse(body));
  return result.success
    ? null
    : `${where} with another body than its schema: ${JSON.stringify(result.error.issues)}`;
}

function operationOf(method: string, url: string): Operation | undefined {
  const [path = ""] = url.split("?", 1);
  return OPERATIONS.find(
    (one) =>
      one.method === method.toLowerCase() &&
      new RegExp(`^${one.path.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}$`).test(path),
  );
}
