import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";

import {
  BODY_MODES,
  decodeRequest,
  DESTINATION,
  encodeChunkHead,
  encodeContinue,
  encodeImmediate,
  encodePick,
  isFault,
  type ProcessingRequest,
  REQUEST_KINDS,
} from "./ext-proc-codec.ts";
import { PREFIX_BYTES } from "./grpc-frames.ts";
import { decodeHealthRequest, encodeHealthAnswer } from "./health-codec.ts";
import { referenceDecode, referenceEncode } from "./testing/reference-codec.ts";

function decoded(bytes: Uint8Array): ProcessingRequest {
  const request = decodeRequest(bytes);
  if (isFault(request)) expect.unreachable(`${request.code} at ${request.offset}`);
  return request;
}

/** The message of a frame, as the reference reads it. */
function answerOf(frame: Buffer): Record<string, unknown> {
  expect(frame.readUInt32BE(1)).toBe(frame.length - PREFIX_BYTES);
  return referenceDecode("ProcessingResponse", frame.subarray(PREFIX_BYTES));
}

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const header = fc.record({
  key: fc.oneof(fc.constantFrom(":path", "x-request-id", "content-type"), text),
  rawValue: fc.oneof(text, fc.constant("v".repeat(300))),
});
const lastOf = (headers: readonly { key: string; rawValue: string }[], key: string): string | undefined =>
  headers.findLast((one) => one.key === key)?.rawValue;
const contents = fc.oneof(
  fc.record({
    kind: fc.constantFrom("request_headers", "response_headers"),
    headers: fc.array(header),
    end: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom("request_body", "response_body"),
    body: fc.uint8Array({ maxLength: 500 }),
    end: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("request_trailers", "response_trailers"), headers: fc.array(header) }),
);
const requests = fc.record({
  contents,
  subset: fc.option(fc.array(fc.stringMatching(/^[0-9a-f.:[\]]{1,20}$/), { maxLength: 5 })),
  subsetAsText: fc.boolean(),
  served: fc.option(fc.stringMatching(/^[0-9a-f.:]{1,20}$/)),
  upstream: fc.option(fc.stringMatching(/^[0-9a-f.:]{1,20}$/)),
  modes: fc.option(fc.record({ request: fc.nat(4), response: fc.nat(4), early: fc.boolean() })),
  strangers: fc.dictionary(text, text, { maxKeys: 3 }),
});
type Drawn = typeof requests extends fc.Arbitrary<infer T> ? T : never;

const textValue = (value: string): unknown => ({ stringValue: value });
const struct = (fields: Record<string, unknown>): unknown => ({ fields });
const camel = (name: string): string => name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());
const headerMap = (headers: readonly { key: string; rawValue: string }[]): unknown => ({
  headers: headers.map(({ key, rawValue }) => ({ key, rawValue: Buffer.from(rawValue) })),
});

function referenceRequest({
  contents: content,
  subset,
  subsetAsText,
  served,
  upstream,
  modes,
  strangers,
}: Drawn): Uint8Array {
  const value: Record<string, unknown> = {};
  if ("body" in content) value[camel(content.kind)] = { body: content.body, endOfStream: content.end };
  else if ("end" in content)
    value[camel(content.kind)] = { headers: headerMap(content.headers), endOfStream: content.end };
  else value[camel(content.kind)] = { trailers: headerMap(content.headers) };
  const strange = Object.fromEntries(Object.entries(strangers).map(([key, one]) => [key, textValue(one)]));
  const metadata: Record<string, unknown> = { "other.namespace": struct(strange) };
  if (subset !== null) {
    const list = { listValue: { values: subset.map(textValue) } };
    metadata["envoy.lb.subset_hint"] = struct({
      ...strange,
      "x-gateway-destination-endpoint-subset": subsetAsText ? textValue(subset.join(", ")) : list,
    });
  }
  if (served !== null)
    metadata["envoy.lb"] = struct({ ...strange, "x-gateway-destination-endpoint-served": textValue(served) });
  value["metadataContext"] = { filterMetadata: metadata };
  if (upstream !== null)
    value["attributes"] = {
      "envoy.filters.http.ext_proc": struct({ ...strange, "upstream.address": textValue(upstream) }),
    };
  if (modes !== null)
    value["protocolConfig"] = {
      requestBodyMode: modes.request,
      responseBodyMode: modes.response,
      sendBodyWithoutWaitingForHeaderResponse: modes.early,
    };
  return referenceEncode("ProcessingRequest", value);
}

describe("requests of the gateway", () => {
  it("are read as protobufjs wrote them, whatever stands beside", () => {
    fc.assert(
      fc.property(requests, (drawn) => {
        const { contents: content, subset, served, upstream, modes } = drawn;
        const request = decoded(referenceRequest(drawn));
        expect(request.kind).toBe(content.kind);
        if ("body" in content) expect(Buffer.from(request.body)).toEqual(Buffer.from(content.body));
        if ("end" in content) expect(request.endOfStream).toBe(content.end);
        if ("end" in content && "headers" in content)
          for (const key of [":path", "x-request-id", "content-type"] as const)
            expect(request.headers.get(key)).toBe(lastOf(content.headers, key));
        expect(request.subset).toEqual(subset);
        expect(request.served).toBe(served ?? upstream);
        expect(request.modes).toEqual(
          modes === null
            ? null
            : {
                request: BODY_MODES[modes.request],
                response: BODY_MODES[modes.response],
                sendsWithoutWaiting: modes.early,
              },
        );
      }),
    );
  });

  it("name the headers that steer pickers and engines, whatever their values", () => {
    const names = [
      "x-llm-d-slo-ttft-ms",
      "x-gateway-inference-anything",
      "x-slo-x",
      "x-llm-dx",
      "a-x-llm-d-y",
    ];
    const headers = headerMap(names.map((key) => ({ key, rawValue: "v" })));
    const request = decoded(referenceEncode("ProcessingRequest", { requestHeaders: { headers } }));
    expect(request.steering).toEqual(names.slice(0, 3));
  });

  it("are read as Envoy 1.40 sent them: a request's headers, its body, and the end of it", () => {
    // Of one request with infra/envoy/envoy.yaml: each message of its stream, as it came.
    const headers =
      "EvECCu4CCh0KCjphdXRob3JpdHkaDzEyNy4wLjAuMToyOTYxMgoYCgU6cGF0aBoPL3YxL2NvbXBsZXRpb25zCg8KBzptZXRob2QaBFBPU1QKDwoHOnNjaGVtZRoEaHR0cAogCgxjb250ZW50LXR5cGUaEGFwcGxpY2F0aW9uL2pzb24KFAoKdXNlci1hZ2VudBoGZ29sZGVuChMKDHgtc2Vzc2lvbi1pZBoDcy0xCg0KBmFjY2VwdBoDKi8qChQKD2FjY2VwdC1sYW5ndWFnZRoBKgoWCg5zZWMtZmV0Y2gtbW9kZRoEY29ycwogCg9hY2NlcHQtZW5jb2RpbmcaDWd6aXAsIGRlZmxhdGUKFAoOY29udGVudC1sZW5ndGgaAjMwChkKEXgtZm9yd2FyZGVkLXByb3RvGgRodHRwCjQKDHgtcmVxdWVzdC1pZBokOGY0OWRlZjUtYWU5Mi00ZmEyLWFlNTctYmRjZDcwNTViYjJlQgBaAggE";
    const [first, second, third] = [
      headers,
      "IiAKHnsibW9kZWwiOiJtIiwicHJvbXB0IjpbMSwyLDNdfUIA",
      "IgIQAUIA",
    ].map((text) => decodeRequest(Buffer.from(text, "base64")));
    const nothing = { steering: [], subset: null, served: null, isUnserved: false };
    expect(first).toEqual({
      ...nothing,
      kind: "request_headers",
      headers: new Map([
        [":path", "/v1/completions"],
        [":method", "POST"],
        ["content-type", "application/json"],
        ["x-session-id", "s-1"],
        ["content-length", "30"],
        ["x-request-id", "8f49def5-ae92-4fa2-ae57-bdcd7055bb2e"],
      ]),
      body: new Uint8Array(),
      endOfStream: false,
      modes: { request: "full_duplex", response: "none", sendsWithoutWaiting: false },
    });
    expect(second).toMatchObject({ ...nothing, kind: "request_body", endOfStream: false, modes: null });
    expect(second).toHaveProperty("body", Buffer.from('{"model":"m","prompt":[1,2,3]}'));
    expect(third).toMatchObject({ kind: "request_body", body: new Uint8Array(), endOfStream: true });
  });

  it("C1: are read the same with unknown fields of every wire type before, between and behind", () => {
    const strangers = protobuf.Writer.create();
    for (const number of [1, 12, 500]) {
      strangers.uint32((number << 3) | 0).uint64(9);
      strangers.uint32((number << 3) | 1).fixed64(9);
      strangers.uint32((number << 3) | 2).bytes(Buffer.from("stranger"));
      strangers
        .uint32((number << 3) | 3)
        .uint32(8)
        .uint32(1)
        .uint32((number << 3) | 4);
      strangers.uint32((number << 3) | 5).fixed32(9);
    }
    const foreign = strangers.finish();
    fc.assert(
      fc.property(requests, (drawn) => {
        const plain = referenceRequest(drawn);
        const surrounded = Buffer.concat([foreign, plain, foreign]);
        const strip = (request: ProcessingRequest): unknown => ({
          ...request,
          body: Buffer.from(request.body),
        });
        expect(strip(decoded(surrounded))).toEqual(strip(decoded(plain)));
      }),
    );
  });

  it("C2: of structs nested a thousand deep end by name", () => {
    let value: Uint8Array = Buffer.from([0x1a, 1, 65]);
    const wrap = (field: number, inner: Uint8Array): Uint8Array => {
      const writer = protobuf.Writer.create();
      writer.uint32((field << 3) | 2).bytes(inner);
      return writer.finish();
    };
    for (let depth = 0; depth < 1000; depth++) value = wrap(1, value);
    expect(decodeRequest(wrap(8, value))).toSatisfy(
      (request: ReturnType<typeof decodeRequest>) => !isFault(request) || request.code === "too_deep",
    );
  });

  it("C3: take a raw value before a value, and a value where there is no raw one", () => {
    const bytes = referenceEncode("ProcessingRequest", {
      requestHeaders: {
        headers: {
          headers: [
            { key: ":path", value: "/old", rawValue: Buffer.from("/v1/completions") },
            { key: "content-type", value: "application/json" },
            { key: "authorization", rawValue: Buffer.from("secret") },
          ],
        },
      },
    });
    expect([...decoded(bytes).headers]).toEqual([
      [":path", "/v1/completions"],
      ["content-type", "application/json"],
    ]);
  });

  it("say who served by the metadata first, and by the attributes otherwise", () => {
    const attributes = {
      "envoy.filters.http.ext_proc": struct({ "upstream.address": textValue("10.0.0.2:80") }),
    };
    const filterMetadata = {
      "envoy.lb": struct({ "x-gateway-destination-endpoint-served": textValue("10.0.0.1:80") }),
    };
    const served = (value: Record<string, unknown>): string | null =>
      decoded(referenceEncode("ProcessingRequest", { responseHeaders: {}, ...value })).served;
    expect(served({ attributes, metadataContext: { filterMetadata } })).toBe("10.0.0.1:80");
    expect(served({ attributes })).toBe("10.0.0.2:80");
  });

  it.each([
    ["503", null, null, true],
    ["502", "10.0.0.1:80", "upstream_reset_before_response_started{connection_failure}", true],
    ["504", "10.0.0.1:80", "via_upstream", false],
    ["503", "10.0.0.1:80", null, false],
    ["200", null, null, false],
    ["500", "10.0.0.1:80", "ext_proc_error", false],
  ])(
    "tell an answer of an endpoint from the gateway's own: %s by %s, %s",
    (status, by, details, isUnserved) => {
      const values = { "upstream.address": by, "response.code_details": details };
      const given = Object.entries(values).flatMap(([name, text]) =>
        text === null ? [] : [[name, textValue(text)] as const],
      );
      const { served, ...message } = decoded(
        referenceEncode("ProcessingRequest", {
          responseHeaders: { headers: { headers: [{ key: ":status", rawValue: Buffer.from(status) }] } },
          attributes: { "envoy.filters.http.ext_proc": struct(Object.fromEntries(given)) },
        }),
      );
      expect([message.isUnserved, served]).toEqual([isUnserved, isUnserved ? null : by]);
    },
  );
});

// W1: of proto-writer.ts.
describe("answers to the gateway", () => {
  const kinds = REQUEST_KINDS.map((kind) => [kind, camel(kind)] as const);

  it.each(kinds)("that change nothing about %s are empty", (kind, name) => {
    expect(answerOf(encodeContinue(kind))).toEqual({ [name]: {} });
  });

  it("W1: with a pick say it in header and metadata alike", () => {
    const pick = {
      destination: "10.0.0.1:8000,[fd00::2]:8000",
      setHeaders: [["x-request-id", "a"]] as const,
      removeHeaders: ["x-drop"],
      facts: { worker: "w1", matched_tokens: 48, is_late: false },
    };
    for (const kind of ["request_headers", "request_body"] as const) {
      const answer = answerOf(encodePick(kind, pick));
      const set = (name: string, value: string): unknown => ({
        header: { key: name, rawValue: Buffer.from(value).toString("base64") },
        appendAction: 2,
      });
      expect(answer).toEqual({
        [camel(kind)]: {
          response: {
            headerMutation: {
              setHeaders: [set(DESTINATION, pick.destination), set("x-request-id", "a")],
              removeHeaders: ["x-drop"],
            },
            clearRouteCache: true,
          },
        },
        dynamicMetadata: struct({
          "envoy.lb": { structValue: struct({ [DESTINATION]: textValue(pick.destination) }) },
          kvsync: {
            structValue: struct({
              worker: textValue("w1"),
              matched_tokens: { numberValue: 48 },
              is_late: { boolValue: false },
            }),
          },
        }),
      });
      expect(Buffer.from(referenceEncode("ProcessingResponse", answer))).toEqual(
        encodePick(kind, pick).subarray(PREFIX_BYTES),
      );
    }
  });

  it("with a pick after trailers say it in the metadata alone", () => {
    const answer = answerOf(
      encodePick("request_trailers", { destination: "a:1", setHeaders: [], removeHeaders: [], facts: {} }),
    );
    expect(answer["requestTrailers"]).toEqual({});
    expect(answer["dynamicMetadata"]).toMatchObject(
      struct({ "envoy.lb": { structValue: struct({ [DESTINATION]: textValue("a:1") }) } }) as object,
    );
  });

  it("W1: that are immediate carry status, headers, body and details", () => {
    const answer = answerOf(
      encodeImmediate({
        status: 503,
        headers: [["content-type", "application/json"]],
        body: "{}",
        details: "why",
      }),
    );
    expect(answer).toEqual({
      immediateResponse: {
        status: { code: 503 },
        headers: {
          setHeaders: [
            {
              header: { key: "content-type", rawValue: Buffer.from("application/json").toString("base64") },
              appendAction: 2,
            },
          ],
        },
        body: Buffer.from("{}").toString("base64"),
        details: "why",
      },
    });
  });

  it("with a chunk are the message that protobufjs reads and as long as it writes it, for every length", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("request_body" as const, "response_body" as const),
        fc.oneof(fc.nat(300), fc.constantFrom(16_383, 16_384, 62_000)),
        fc.boolean(),
        (kind, length, endOfStream) => {
          const chunk = Buffer.alloc(length, 5);
          const streamedResponse = {
            ...(length > 0 && { body: chunk }),
            ...(endOfStream && { endOfStream }),
          };
          const reference = referenceEncode("ProcessingResponse", {
            [camel(kind)]: { response: { bodyMutation: { streamedResponse } } },
          });
          const frame = Buffer.concat([encodeChunkHead(kind, length, endOfStream), chunk]);
          const message = frame.subarray(PREFIX_BYTES);
          expect(referenceDecode("ProcessingResponse", message)).toEqual(
            referenceDecode("ProcessingResponse", reference),
          );
          expect([frame.readUInt32BE(1), message.length]).toEqual([reference.length, reference.length]);
        },
      ),
    );
  });
});

describe("health checks", () => {
  it("name a service, or none", () => {
    expect(decodeHealthRequest(referenceEncode("HealthCheckRequest", { service: "readiness" }))).toBe(
      "readiness",
    );
    expect(decodeHealthRequest(new Uint8Array())).toBe("");
    expect(decodeHealthRequest(Uint8Array.of(0x0a, 9))).toEqual({ code: "truncated", offset: 2 });
  });

  it.each([
    ["serving", 1],
    ["not_serving", 2],
    ["service_unknown", 3],
  ] as const)("are answered with %s", (status, number) => {
    expect(referenceDecode("HealthCheckResponse", encodeHealthAnswer(status))).toEqual({ status: number });
  });
});
