/** Addresses from settings and rules. Only those of the web become links. */

/** Whether a link may lead there. */
export function isWeb(address: string | null | undefined): address is string {
  return typeof address === "string" && /^https?:\/\//.test(address);
}
