/**
 * Settings of a picker whose fleet is split over several daemons: where the shards are, how they are asked, and what
 * bounds the answers.
 *
 *     addresses: [ "http://a:7070", ["http://b-0:7070", "http://b-1:7070"] ]      by index: one, or its replicas
 *     as one text: http://a:7070,http://b-0:7070 http://b-1:7070                  replicas with blanks between
 */

import { SHARDS_MAX } from "@kvsync/core";
import { z } from "zod";

import { hasCredentials, integer, isBaseUrl, section, SETTING_FACTS, text } from "./setting-field.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
/** Replicas of one shard. */
const REPLICAS_MAX = 64;
const ADDRESSES_EXPECTED = `at most ${SHARDS_MAX} shards by index, each a base URL or a list of at most ${REPLICAS_MAX} replicas, http:// or https://, without query or fragment`;

const url = z.string(ADDRESSES_EXPECTED);
/** Replicas of one shard. */
const replicas = z.union(
  [url.transform((one) => one.split(/\s+/).filter((part) => part !== "")), z.array(url, ADDRESSES_EXPECTED)],
  ADDRESSES_EXPECTED,
);

/** Section `picker.shards`. */
export const pickerShardsSection = section({
  addresses: z
    .array(replicas, ADDRESSES_EXPECTED)
    .max(SHARDS_MAX, ADDRESSES_EXPECTED)
    .refine((shards) => shards.every(areReplicas), ADDRESSES_EXPECTED)
    .default([])
    .register(SETTING_FACTS, {
      about:
        "The daemons of every shard by index, this one's too, where shard.count is above 1. A pick asks one replica of each. In one text, replicas have blanks between.",
      expected: ADDRESSES_EXPECTED,
      textForm: "list",
    }),
  token_file: text(
    "File with the bearer token for the shards: one with read scope. Read again when it changes.",
    null,
  ),
  ca_file: text(
    "PEM file with the authorities of the shards' certificates; unset for the system's. Read again when it changes.",
    null,
  ),
  timeout_ms: integer(
    "Longest wait of a pick for the shards, within picker.decision_timeout_ms. A pick is made without those that are late.",
    50,
    5,
    10_000,
  ),
  connections: integer("Connections to each replica, of each thread of the picker.", 32, 1, 1024),
  requests: integer(
    "Open questions to shards at once, of each thread of the picker. Beyond, picks are made without the shards that were not asked.",
    4096,
    1,
    1_000_000,
  ),
  answer_bytes: integer("Bytes of one shard's answer; a longer one is none.", 4 * MIB, 64 * KIB, 1024 * MIB),
});

/** Where the shards are, and how they are asked. */
export type PickerShardsSettings = z.output<typeof pickerShardsSection>;

function areReplicas(urls: readonly string[]): boolean {
  return urls.length > 0 && urls.length <= REPLICAS_MAX && urls.every(isAddress);
}

/** Names and passwords in addresses would be in the log. */
function isAddress(value: string): boolean {
  return isBaseUrl(value) && !hasCredentials(value);
}
