/**
 * The two messages of gRPC's health check.
 *
 *     HealthCheckRequest  { 1: service }      HealthCheckResponse { 1: status }
 *
 * Not here: which services there are and how they fare (picker-server.ts).
 * Source: https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto
 */
import { type ProtoFault, ProtoFaultError } from "./proto-fault.ts";
import { ProtoReader } from "./proto-reader.ts";
import { ProtoWriter } from "./proto-writer.ts";

/** Answers to a health check, with their numbers on the wire. */
const SERVING_STATUS = { serving: 1, not_serving: 2, service_unknown: 3 } as const;

/** See {@link SERVING_STATUS}. */
export type ServingStatus = keyof typeof SERVING_STATUS;

/**
 * Reads a request.
 *
 * @returns the service's name, empty when none is named; or the fault.
 */
export function decodeHealthRequest(bytes: Uint8Array): string | ProtoFault {
  const reader = new ProtoReader(bytes);
  let service = "";
  try {
    while (reader.next() !== 0) {
      if (reader.field === 1) service = reader.text();
      else reader.skip();
    }
  } catch (error) {
    if (error instanceof ProtoFaultError) return error.fault;
    throw error;
  }
  return service;
}

/** Writes an answer. */
export function encodeHealthAnswer(status: ServingStatus): Buffer {
  const writer = new ProtoWriter();
  writer.uint32(1, SERVING_STATUS[status]);
  return writer.take();
}
