/** Requests of a gateway to a daemon's picker, for tests that need no Envoy: the gateway's side of ext_proc, one stream for each. */

import { GatewayClient, type GatewayStream } from "../src/picker/testing/gateway-client.ts";
import type { TestEngine } from "./fleet.ts";

const FULL_DUPLEX = { requestBodyMode: 4, responseBodyMode: 4 };
const DESTINATION = "x-gateway-destination-endpoint";

/** How a request is, and what comes of it. */
export interface GatewayRequest {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Endpoints that the gateway allows. */
  readonly subset?: readonly string[];
  /** Who answers; the picked one without. */
  readonly servedBy?: string;
  /** What the engine reports as cached; nothing without. */
  readonly cachedTokens?: number;
}

interface Mutated {
  readonly requestHeaders?: {
    readonly response?: {
      readonly headerMutation?: {
        readonly setHeaders?: readonly {
          readonly header: { readonly key: string; readonly rawValue: string };
        }[];
      };
    };
  };
}

/** One connection of a gateway. Close it. */
export class PickerTraffic {
  readonly #client: GatewayClient;

  constructor(port: number) {
    this.#client = new GatewayClient(`http://127.0.0.1:${port}`);
  }

  /** Settings of a picker that it reaches. */
  static settings(port: number): object {
    return { enabled: true, port, health_port: 0, tls: { mode: "none" } };
  }

  /** The entry of an engine with the address of its HTTP API. */
  static entry(engine: TestEngine): object {
    return { ...engine.entry, http: [PickerTraffic.addressOf(engine)] };
  }

  static addressOf(engine: TestEngine): string {
    return new URL(engine.server.httpUrl ?? "").host;
  }

  /** Whether the picker takes requests. */
  async isReady(): Promise<boolean> {
    return (await this.#client.health("")) === 1;
  }

  /** Sends a request up to the end of its body, or not: then it stays open. */
  open(
    body: string,
    { path = "/v1/completions", headers = {}, subset }: GatewayRequest = {},
    ends = true,
  ): GatewayStream {
    const stream = this.#client.open();
    const list = Object.entries({ ":method": "POST", ":path": path, ...headers }).map(([key, value]) => ({
      key,
      rawValue: Buffer.from(value),
    }));
    const hint = subset === undefined ? {} : { metadataContext: subsetHint(subset) };
    stream.send({ requestHeaders: { headers: { headers: list } }, protocolConfig: FULL_DUPLEX, ...hint });
    stream.send({ requestBody: { body: Buffer.from(body), endOfStream: ends } });
    return stream;
  }

  /** The endpoint that was picked for a request; empty without a pick. */
  static async picked(stream: GatewayStream): Promise<string> {
    const [first] = await stream.answered(1);
    return destinationOf(first as Mutated);
  }

  /** A header that the pick sets for the engine; empty when it sets none of the name. */
  static async told(stream: GatewayStream, name: string): Promise<string> {
    const [first] = await stream.answered(1);
    return headerOf(first as Mutated, name);
  }

  /** A request from its headers to the end of its response. @returns the endpoint that was picked; empty without a pick. */
  async request(body: object, request: GatewayRequest = {}): Promise<string> {
    const stream = this.open(JSON.stringify(body), request);
    const picked = await PickerTraffic.picked(stream);
    if (picked === "") return "";
    stream.send({
      responseHeaders: {},
      metadataContext: {
        filterMetadata: { "envoy.lb": textField(`${DESTINATION}-served`, request.servedBy ?? picked) },
      },
    });
    const usage =
      request.cachedTokens === undefined
        ? {}
        : { prompt_tokens_details: { cached_tokens: request.cachedTokens } };
    stream.send({ responseBody: { body: Buffer.from(JSON.stringify({ usage })), endOfStream: true } });
    stream.stream.end();
    await stream.outcome;
    return picked;
  }

  /** Ends the connection. */
  close(): void {
    this.#client.close();
  }
}

function textField(key: string, stringValue: string): object {
  return { fields: { [key]: { stringValue } } };
}

function subsetHint(subset: readonly string[]): object {
  return { filterMetadata: { "envoy.lb.subset_hint": textField(`${DESTINATION}-subset`, subset.join(",")) } };
}

function destinationOf(answer: Mutated): string {
  return headerOf(answer, DESTINATION).split(",")[0] ?? "";
}

function headerOf({ requestHeaders }: Mutated, name: string): string {
  const set = requestHeaders?.response?.headerMutation?.setHeaders ?? [];
  const value = set.find(({ header }) => header.key === name)?.header.rawValue ?? "";
  return Buffer.from(value, "base64").toString();
}
