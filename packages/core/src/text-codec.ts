/**
 * UTF-8 to and from strings, and Latin-1 to strings, by the two classes that Node, Deno, browsers and workers all have.
 *
 * Core is compiled without ambient types of a platform, so that it cannot use one by accident. The members in use are
 * declared here. Not here: short ASCII, which a loop converts faster (wire/wire-text.ts, wire/msgpack-writer.ts).
 *
 * Source: the Encoding standard, encoding.spec.whatwg.org, "Interface TextDecoder" and "Interface TextEncoder".
 */

/** Makes bytes of a string. */
export interface TextToBytes {
  encode(text: string): Uint8Array<ArrayBuffer>;
}

/** Makes a string of bytes. */
export interface BytesToText {
  decode(bytes: Uint8Array): string;
}

declare const TextEncoder: new () => TextToBytes;
declare const TextDecoder: new (
  label: "utf-8" | "latin1",
  options: { readonly fatal?: boolean; readonly ignoreBOM: true },
) => BytesToText;

/** Encodes UTF-8. */
export const utf8: TextToBytes = new TextEncoder();
/** Decodes UTF-8; throws on bytes that are none. */
export const strictUtf8: BytesToText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Decodes UTF-8; bytes that are none become U+FFFD. */
export const lenientUtf8: BytesToText = new TextDecoder("utf-8", { ignoreBOM: true });
/** Decodes a character per byte; never fails. */
export const latin1: BytesToText = new TextDecoder("latin1", { ignoreBOM: true });
