/** placeholder header */
/** Names of the algorithms that engines name their blocks by (wire-protocol 5.1, 5.5). */
export type HashAlgorithm = "sha256" | "sha256_cbor" | "sglang";
