/**
 * A copy of a message that was lent (frame-reader.ts), for a receiver that keeps it.
 *
 *     views of a chunk ─▶ one buffer, as long as the frames together ─▶ views of it
 */

/**
 * Copies frames.
 *
 * @param frames - of one message.
 * @returns as many, the caller's; one buffer and one copy of the bytes.
 */
export function copyFrames(frames: readonly Uint8Array[]): Uint8Array[] {
  let length = 0;
  for (const frame of frames) length += frame.byteLength;
  const bytes = new Uint8Array(length);
  let at = 0;
  return frames.map((frame) => {
    bytes.set(frame, at);
    at += frame.byteLength;
    return bytes.subarray(at - frame.byteLength, at);
  });
}
