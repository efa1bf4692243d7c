/**
 * The events and answers of a cache in a run, as lines that can be compared. Hashes are replaced by
 * the numbers 1, 2, … in order of first use. So two processes with hashes of their own write the
 * same lines.
 *
 *     start r3 hit 8 computed 20
 *     stored full_attention group 0 size 4: 1 2 3 after - tokens 1 0 2 …
 *     removed group 0: 2
 *     hit held 12 reused 8
 */
import { type KvEvent, normalizeEvent } from "@kvsync/core";
import type { Answer, Command } from "./workload.ts";

/** Writes a run down. */
export class Transcript {
  readonly lines: string[] = [];
  readonly #numbers = new Map<bigint, number>();

  /** A command that changed the cache, with its answer. */
  answered(command: Command, { hit = 0, computed = -1 }: Answer): void {
    const outcome = computed < 0 ? "no room" : `computed ${computed}`;
    if (command.do === "start")
      this.lines.push(`start ${command.id} ${computed < 0 ? "" : `hit ${hit} `}${outcome}`);
    if (command.do === "advance") this.lines.push(`advance ${command.id} ${outcome}`);
  }

  /** The events of a step. */
  published(events: readonly KvEvent[]): void {
    for (const event of events) this.lines.push(this.#line(normalizeEvent(event)));
  }

  /** The hit for a question. */
  asked(held: number, reused: number): void {
    this.lines.push(`hit held ${held} reused ${reused}`);
  }

  #line(event: KvEvent): string {
    if (event.type === "AllBlocksCleared") return "cleared";
    const hashes = event.blockHashes.map((hash) => this.#number(hash)).join(" ");
    if (event.type === "BlockRemoved") return `removed group ${event.groupIdx}: ${hashes}`;
    const { groupIdx, kvCacheSpecKind: kind, kvCacheSpecSlidingWindow: window, blockSize } = event;
    const parent = event.parentBlockHash === null ? "-" : this.#number(event.parentBlockHash);
    const lookahead = event.lookaheadTokenIds?.map((tokens) => tokens.join(" ")).join(" / ");
    return [
      `stored ${kind}${window === null ? "" : ` ${window}`} group ${groupIdx} size ${blockSize}:`,
      `${hashes} after ${parent} tokens ${Array.from(event.tokenIds as number[]).join(" ")}`,
      ...(event.loraName === null ? [] : [`adapter ${event.loraName} ${event.loraId}`]),
      ...(event.extraKeys === null ? [] : [`keys ${JSON.stringify(event.extraKeys)}`]),
      ...(lookahead === undefined ? [] : [`lookahead ${lookahead}`]),
    ].join(" ");
  }

  #number(hash: bigint | Uint8Array): number {
    const key = hash as bigint;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#numbers.size + 1;
      this.#numbers.set(key, number);
    }
    return number;
  }
}
