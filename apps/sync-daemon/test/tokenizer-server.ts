/** A tokenizer that misbehaves as the test sets, on a real socket. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

type Answer = (request: { readonly body: string; readonly url: string }, response: ServerResponse) => void;

/** Answers with one token per byte of the prompt. */
export const byByte: Answer = ({ body }, response) => {
  const { prompt = "" } = JSON.parse(body) as { prompt?: string };
  const tokens = [...Buffer.from(prompt)];
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ count: tokens.length, max_model_len: 4096, tokens }));
};

/** A status and nothing else. */
export function status(code: number): Answer {
  return (_request, response) => {
    response.statusCode = code;
    response.end("{}");
  };
}

/** Never answers. */
export const silence: Answer = () => undefined;

/** Drops the connection. */
export const hangUp: Answer = (_request, response) => {
  response.socket?.destroy();
};

/** One such server. */
export class TokenizerServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Bodies received, in order. */
  readonly bodies: string[] = [];
  /** Paths asked for. */
  readonly urls: string[] = [];
  /** `traceparent` of each request; undefined without one. */
  readonly traceparents: (string | undefined)[] = [];
  /** Connections accepted. */
  connections = 0;
  /** What comes next; the last one stays. */
  answers: Answer[];

  private constructor(answers: Answer[]) {
    this.answers = answers;
    this.#server = createServer((request, response) => {
      void this.#answer(request, response);
    });
    this.#server.on("connection", (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  static async start(...answers: Answer[]): Promise<TokenizerServer> {
    const started = new TokenizerServer(answers);
    await new Promise<void>((resolve) => started.#server.listen(0, "127.0.0.1", resolve));
    return started;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Whoever asks whether it is well.
    if (request.method === "GET") {
      response.end("{}");
      return;
    }
    let body = "";
    for await (const chunk of request) body += String(chunk);
    this.bodies.push(body);
    const url = request.url ?? "";
    this.urls.push(url);
    this.traceparents.push(request.headers["traceparent"] as string | undefined);
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    answer?.({ body, url }, response);
  }
}
