/**
 * A listener made of Maps: applies an engine's batches one by one and returns the blocks that the
 * engine must then hold. Written from the protocol alone, it shares nothing with the engine but
 * core's PrefixHasher, which it calls block by block.
 */
import { type EventBatch, type ExtraKey, type KvEvent, PrefixHasher, saltDigest } from "@kvsync/core";
import type { EngineContents } from "../src/engine-contract.ts";

type Hash = bigint | Uint8Array;

interface Name {
  readonly low: number;
  readonly high: number;
  readonly context: string;
}

const hasher = PrefixHasher.create();

export class EventReplica {
  readonly #names = new Map<string, Name>();
  /** Copies by "tier context prefix hash". */
  readonly #copies = new Map<string, number>();
  /** Numbers of the messages that ever announced it, by the same key. */
  readonly #announcements = new Map<string, Set<number>>();
  readonly removalSizes: number[] = [];

  apply(batch: EventBatch, sequenceNumber: number): void {
    for (const event of batch.events) this.#applyEvent(event, sequenceNumber);
  }

  /** Differences to what the engine says, as sentences; none when they agree. */
  differences(contents: EngineContents): string[] {
    const found: string[] = [];
    const held = new Map<string, number>();
    for (let row = 0; row < contents.rowCount; row++) {
      const context = contents.contexts[contents.contextOf[row] ?? 0];
      const key = keyOf(contents.tierOf[row] === 0 ? "device" : "host", {
        low: contents.prefixHashes[row * 2] ?? 0,
        high: contents.prefixHashes[row * 2 + 1] ?? 0,
        context: context?.loraName ?? "",
      });
      held.set(key, (held.get(key) ?? 0) + 1);
      const announcedIn = contents.announcedIn[row] ?? -1;
      if (!this.#announcements.get(key)?.has(announcedIn))
        found.push(`${key} was not announced in ${announcedIn}`);
    }
    for (const key of new Set([...held.keys(), ...this.#copies.keys()])) {
      const [actual, expected] = [held.get(key) ?? 0, this.#copies.get(key) ?? 0];
      if (actual !== expected) found.push(`${key}: engine has ${actual}, events say ${expected}`);
    }
    return found;
  }

  /** Leading blocks of a prompt that are on the device. */
  heldBlocks(prompt: Uint32Array, blockSize: number, loraName: string | null, salt: string | null): number {
    let parent: Name | null = null;
    let count = 0;
    for (; (count + 1) * blockSize <= prompt.length; count++) {
      const tokens = prompt.slice(count * blockSize, (count + 1) * blockSize);
      parent = nameOf(tokens, parent, count === 0 ? salt : null, loraName ?? "");
      if (!this.#copies.has(keyOf("device", parent))) break;
    }
    return count;
  }

  #applyEvent(event: KvEvent, sequenceNumber: number): void {
    if (event.type === "AllBlocksCleared") {
      this.#copies.clear();
      return;
    }
    const tier = event.medium === "CPU" || event.medium === "CPU_PINNED" ? "host" : "device";
    if (event.groupIdx === 1) return;
    if (event.type === "BlockRemoved") {
      this.removalSizes.push(event.blockHashes.length);
      for (const hash of event.blockHashes) this.#count(keyOf(tier, this.#known(hash)), -1);
      return;
    }
    const context = event.loraName ?? "";
    const salt = event.cacheSalt ?? saltIn(event.extraKeys?.[0] ?? [], event.loraName ?? null);
    let parent = event.parentBlockHash === null ? null : this.#known(event.parentBlockHash);
    event.blockHashes.forEach((hash, index) => {
      const size = event.blockSize;
      const tokens = Uint32Array.from(event.tokenIds as Uint32Array).subarray(
        index * size,
        (index + 1) * size,
      );
      const name =
        size === 0 ? this.#known(hash) : nameOf(tokens, parent, parent === null ? salt : null, context);
      this.#names.set(String(hash), name);
      parent = name;
      const key = keyOf(tier, name);
      this.#count(key, 1);
      this.#announcements.set(key, (this.#announcements.get(key) ?? new Set()).add(sequenceNumber));
    });
  }

  #known(hash: Hash): Name {
    const name = this.#names.get(String(hash));
    if (name === undefined) throw new Error(`hash ${String(hash)} was never announced`);
    return name;
  }

  #count(key: string, change: number): void {
    const count = (this.#copies.get(key) ?? 0) + change;
    if (count < 0) throw new Error(`${key} was removed more often than stored`);
    if (count === 0) this.#copies.delete(key);
    else this.#copies.set(key, count);
  }
}

function keyOf(tier: string, name: Name): string {
  return `${tier} ${name.context} ${name.high}:${name.low}`;
}

function saltIn(keys: readonly ExtraKey[], loraName: string | null): string | null {
  const salt = keys.find((key) => typeof key === "string" && key !== loraName);
  return typeof salt === "string" ? salt : null;
}

function hashOne(words: Uint32Array, parent: Name | null): Uint32Array {
  const out = new Uint32Array(2);
  hasher.hash(words, 1, words.length, parent, out);
  return out;
}

// A salted root: XXH3(local ‖ digest), written out with the hasher's own 16-byte block.
function nameOf(tokens: Uint32Array, parent: Name | null, salt: string | null, context: string): Name {
  let hash = hashOne(tokens, parent);
  if (salt !== null) {
    const digest = new Uint32Array(2);
    saltDigest(salt, hasher, digest, 0);
    hash = hashOne(Uint32Array.of(...hash, ...digest), null);
  }
  return { low: hash[0] ?? 0, high: hash[1] ?? 0, context };
}
