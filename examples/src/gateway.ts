/**
 * A gateway: asks the daemon who holds the prompt, chooses by load and overlap, forwards the request.
 * Without an answer it chooses by load alone.
 *
 *     node examples/src/gateway.ts http://127.0.0.1:7070 engine-0=http://127.0.0.1:8000 …
 */
import { createServer, type Server } from "node:http";
import { json } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import { KvsyncClient } from "@kvsync/client";
import { choose, LoadBook, makePolicy } from "@kvsync/routing";

/** Tokens of KV that an engine has room for; vLLM logs it at start ("GPU KV cache size"). */
const CAPACITY_TOKENS = 400_000;
const below = (count: number): number => Math.floor(Math.random() * count);

/** A gateway in front of these engines (id in kvsync → URL), not yet listening. */
export function makeGateway(daemonUrl: string, engines: ReadonlyMap<string, string>): Server {
  const kvsync = new KvsyncClient({ url: daemonUrl, timeoutMs: 100 });
  const book = new LoadBook(
    [...engines.keys()].map((worker) => ({ worker, capacityTokens: CAPACITY_TOKENS })),
  );
  const policy = makePolicy("kvsync", engines.size, { nextU32: () => below(2 ** 32), below });
  for (const [position, view] of book.views.entries()) policy.join(position, view.capacityTokens);
  let lastRequest = 0;

  return createServer((incoming, reply) => {
    const handle = async (): Promise<void> => {
      const body = (await json(incoming)) as { readonly model: string; readonly prompt: string };
      // Any error means: route as without cache information.
      const answer = await kvsync.match({ model: body.model, prompt: body.prompt }).catch(() => null);
      book.clearMatches();
      for (const { worker, reusable_tokens, trust } of answer?.matches ?? []) {
        const view = book.views.find((one) => one.worker === worker);
        if (view !== undefined) Object.assign(view, { matchedTokens: reusable_tokens, trust });
      }
      // About four characters a token: the length decides little, and the daemon has the tokens.
      const promptTokens = Math.ceil(body.prompt.length / 4);
      const request = {
        promptTokens,
        sessionId: null,
        keys: new Uint32Array(0),
        keyWords: 1,
        keyTokens: 16,
        sharedLaterTokens: 0,
      };
      const position = choose(policy, request, book.views, performance.now() / 1000);
      const worker = book.views[position]?.worker ?? "";
      const id = (lastRequest += 1);
      book.send(id, position, promptTokens);
      try {
        const headers = { "content-type": "application/json" };
        const url = `${engines.get(worker) ?? ""}${incoming.url ?? ""}`;
        const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
        book.firstToken(id);
        reply.writeHead(response.status, { ...headers, "x-engine": worker });
        reply.end(await response.text());
      } finally {
        book.end(id);
      }
    };
    handle().catch((error: unknown) => reply.writeHead(502).end(String(error)));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [daemonUrl = "", ...pairs] = process.argv.slice(2);
  const engines = new Map(pairs.map((pair) => pair.split("=", 2) as [string, string]));
  makeGateway(daemonUrl, engines).listen(9000, "127.0.0.1");
}
