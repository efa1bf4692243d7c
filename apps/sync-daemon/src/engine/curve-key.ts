/**
 * CURVE keys as text: 32 bytes in Z85, 40 characters.
 *
 * Source: ZeroMQ RFC 32, https://rfc.zeromq.org/spec/32/. Five characters are four bytes, so that not every text of
 * these characters is a key; libzmq makes no socket with one that is none.
 */

const CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
const KEY_LENGTH = 40;
const GROUP_LENGTH = 5;
const GROUP_MAX = 0xff_ff_ff_ff;

/** What a key is, for people. */
export const CURVE_KEY_EXPECTED = "a CURVE key of 40 characters (Z85)";

/**
 * Whether a text is a CURVE key.
 *
 * @param text - any.
 * @returns false too where its characters are right and their number is too large.
 */
export function isCurveKey(text: string): boolean {
  if (text.length !== KEY_LENGTH) return false;
  for (let start = 0; start < KEY_LENGTH; start += GROUP_LENGTH) {
    let group = 0;
    for (const character of text.slice(start, start + GROUP_LENGTH)) {
      const digit = CHARACTERS.indexOf(character);
      if (digit < 0) return false;
      group = group * CHARACTERS.length + digit;
    }
    if (group > GROUP_MAX) return false;
  }
  return true;
}
