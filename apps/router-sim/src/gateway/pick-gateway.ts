/** The least that a gateway has to do: asks `POST /api/v1/pick`, sends the request there, and reports its end. */
import { ClientError, KvsyncClient } from "@kvsync/client";

import { complete } from "./completion.ts";
import { type AnsweredRequest, type Gateway, GatewayError, type GatewayRequest } from "./gateway.ts";

/** Patient: a simulated fleet may share its machine with everything else. */
const TIMEOUT_MS = 10_000;

/** See the header. */
export class PickGateway implements Gateway {
  readonly description = "a plain gateway, which asks POST /api/v1/pick";
  readonly #client: KvsyncClient;
  #predictedTokens = 0;

  /** @param daemonUrl - of a daemon with its picker on. */
  constructor(daemonUrl: string) {
    this.#client = new KvsyncClient({ url: daemonUrl, timeoutMs: TIMEOUT_MS });
  }

  /** See Gateway. */
  async complete({ model, tokens, body }: GatewayRequest): Promise<AnsweredRequest> {
    const pick = await this.#client.pick({ model, tokenIds: tokens }).catch((error: unknown) => {
      throw error instanceof ClientError
        ? new GatewayError({ code: "unreachable", cause: error.code }, error.message)
        : error;
    });
    const answer = await complete(`http://${pick.endpoints[0].endpoint}`, body).catch(
      async (error: unknown) => {
        await this.#client.endPick(pick.id);
        throw error;
      },
    );
    this.#predictedTokens += pick.matched_tokens;
    await this.#client.endPick(pick.id, { cachedTokens: answer.cachedTokens });
    return answer;
  }

  /** See Gateway. */
  predictedTokens(): Promise<number> {
    return Promise.resolve(this.#predictedTokens);
  }

  /** See Gateway. */
  stop(): Promise<void> {
    return Promise.resolve();
  }
}
