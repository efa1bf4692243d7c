/** A client of an engine's HTTP as plain as can be: fetch, JSON, and the events of a stream. */

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

export interface Choice {
  readonly index: number;
  readonly text?: string;
  readonly message?: { readonly role: string; readonly content: string };
  readonly delta?: { readonly role?: string; readonly content?: string };
  readonly finish_reason: string | null;
}

export interface CompletionAnswer {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
  readonly choices: readonly Choice[];
  /** `null` in chunks before the last, when a stream has usage. */
  readonly usage: Usage | null;
}

export function send(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Sends a body; the answer is JSON. */
export async function post(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const response = await send(url, body, headers);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** Sends a body that must be served. */
export async function complete(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<CompletionAnswer & { readonly usage: Usage }> {
  const { status, body: answer } = await post(url, body, headers);
  if (status !== 200) throw new Error(`${status}: ${JSON.stringify(answer)}`);
  return answer as unknown as CompletionAnswer & { readonly usage: Usage };
}

/** The data of each event of a stream; the last one is "[DONE]" or an error. */
export async function events(response: Response): Promise<string[]> {
  const text = await response.text();
  const parts = text.split("\n\n");
  if (parts.pop() !== "")
    throw new Error(`a stream ends with an empty line: ${JSON.stringify(text.slice(-40))}`);
  return parts.map((part) => {
    if (!part.startsWith("data: ")) throw new Error(`an event begins with data: ${part}`);
    return part.slice("data: ".length);
  });
}
