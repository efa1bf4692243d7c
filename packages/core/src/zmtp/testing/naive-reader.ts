/**
 * The oracle: reads a whole connection at once, frame after frame, in the plainest way. It shares no code with the reader.
 * It returns the expected lines of `testing/peer-recording.ts`, with the code of the error alone.
 */
import { COMMAND_BYTES_MAX, type ZmtpLimits } from "../zmtp-limits.ts";

/** What must come of these bytes at a SUB socket. */
export function naiveReading(bytes: readonly number[], limits: ZmtpLimits): string[] {
  const happened: string[] = [];
  const greetingFault = faultOfGreeting(bytes);
  if (greetingFault !== null) return greetingFault === "" ? [] : [greetingFault];
  let isReady = false;
  let parts: string[] = [];
  let total = 0;
  let rest = bytes.slice(64);
  while (rest.length > 0) {
    const [flags = 0] = rest;
    const isCommand = isCommandByFlags(flags);
    const flagsFault = faultOfFlags(flags, isReady);
    if (flagsFault !== null) return [...happened, flagsFault];
    const sizeBytes = sizeBytesByFlags(flags);
    if (rest.length < 1 + sizeBytes) break;
    const size = rest.slice(1, 1 + sizeBytes).reduce((sum, byte) => sum * 256 + byte, 0);
    const fault = isCommand ? faultOfCommand(size) : faultOfPart(parts.length, total + size, limits);
    if (fault !== null) return [...happened, fault];
    if (rest.length < 1 + sizeBytes + size) break;
    const body = rest.slice(1 + sizeBytes, 1 + sizeBytes + size);
    rest = rest.slice(1 + sizeBytes + size);
    if (isCommand) {
      const outcome = outcomeOfCommand(body, isReady);
      if (outcome === "ready") isReady = true;
      if (outcome !== "") happened.push(outcome);
      if (isFault(outcome)) return happened;
      continue;
    }
    parts.push(body.map(hexOfByte).join(""));
    total += size;
    if (flags % 2 === 1) continue;
    happened.push(parts.join("|"));
    parts = [];
    total = 0;
  }
  return happened;
}

function isCommandByFlags(flags: number): boolean {
  return (flags >> 2) % 2 === 1;
}

function sizeBytesByFlags(flags: number): number {
  return (flags >> 1) % 2 === 1 ? 8 : 1;
}

function faultOfFlags(flags: number, isReady: boolean): string | null {
  const isCommand = isCommandByFlags(flags);
  if (flags > 7 || (isCommand && flags % 2 === 1)) return "malformed_frame";
  return isCommand || isReady ? null : "unexpected_frame";
}

function faultOfCommand(bytes: number): string | null {
  return bytes > COMMAND_BYTES_MAX ? "command_too_long" : null;
}

function faultOfPart(partsBefore: number, bytes: number, limits: ZmtpLimits): string | null {
  if (partsBefore === limits.messageParts) return "too_many_parts";
  return bytes > limits.messageBytes ? "message_too_long" : null;
}

function isFault(outcome: string): boolean {
  return outcome !== "" && outcome !== "ready" && !outcome.startsWith("pong");
}

/** The fault's code, "" while the greeting is not whole, null for a good one. */
function faultOfGreeting(bytes: readonly number[]): string | null {
  if (bytes.length >= 1 && bytes[0] !== 255) {
    if (bytes.length < 2) return "";
    return bytes[1] === 0 ? "unsupported_version" : "not_zmtp";
  }
  if (bytes.length < 10) return "";
  if ((bytes[9] ?? 0) % 2 === 0) return "unsupported_version";
  if (bytes[9] !== 127) return "not_zmtp";
  if (bytes.length < 11) return "";
  if ((bytes[10] ?? 0) < 3) return "unsupported_version";
  if (bytes.length < 32) return "";
  const mechanism = String.fromCharCode(...bytes.slice(12, 32));
  if (mechanism.split("\0")[0] !== "NULL") return "mechanism_mismatch";
  return bytes.length < 64 ? "" : null;
}

function outcomeOfCommand(body: readonly number[], isReady: boolean): string {
  const [nameLength = 0] = body;
  if (nameLength === 0 || body.length < 1 + nameLength) return "malformed_command";
  const name = String.fromCharCode(...body.slice(1, 1 + nameLength));
  const data = body.slice(1 + nameLength);
  if (isReady) {
    if (name !== "PING") return "";
    if (data.length < 2 || data.length > 18) return "malformed_command";
    const pong = [4, ...new TextEncoder().encode("PONG"), ...data.slice(2)];
    return `pong ${[4, pong.length, ...pong].map(hexOfByte).join("")}`;
  }
  if (name === "ERROR") return "peer_refused";
  if (name !== "READY") return "unexpected_frame";
  return outcomeOfProperties(data);
}

function outcomeOfProperties(properties: readonly number[]): string {
  let type = "";
  let rest = properties;
  while (rest.length > 0) {
    const [length = 0] = rest;
    const key = rest.slice(1, 1 + length);
    const sizeAt = 1 + length;
    const size = rest.slice(sizeAt, sizeAt + 4).reduce((sum, byte) => sum * 256 + byte, 0);
    if (length === 0 || rest.length < sizeAt + 4 || rest.length < sizeAt + 4 + size)
      return "malformed_command";
    const value = rest.slice(sizeAt + 4, sizeAt + 4 + size);
    if (String.fromCharCode(...key).toLowerCase() === "socket-type") type = String.fromCharCode(...value);
    rest = rest.slice(sizeAt + 4 + size);
  }
  return type === "PUB" || type === "XPUB" ? "ready" : "socket_type_mismatch";
}

function hexOfByte(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
