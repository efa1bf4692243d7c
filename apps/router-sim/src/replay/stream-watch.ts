/**
 * Whether the daemon has caught up with the engines. For each stream it compares the engine's last
 * published message with the last one that the daemon applied.
 *
 *     W1  caught up with `target`: target ≤ applied ≤ published now. The upper bound matters after a restart: an engine's
 *         numbers begin again, and a daemon that has not noticed shows a number from the engine's former life.
 *     W2  trusted: the daemon calls the stream exact, or partial with a history that begins later than the stream. Where what
 *         was broken stays broken (a message that nobody can read), `live` is asked for instead: no repair is in progress.
 *     W3  a stream on which nothing was published yet is caught up when the daemon has applied nothing of it.
 */
import type { EngineStatus, RankStatus } from "../daemon/daemon-client.ts";
import type { StreamPosition } from "../fleet/messages.ts";

/** A stream that is not where it should be. */
export interface Laggard {
  readonly worker: string;
  readonly state: string;
  readonly trust: string;
  readonly appliedSequenceNumber: number;
  readonly publishedSequenceNumber: number;
}

/** What streams are waited for to be, besides caught up (W2). */
export type StreamWish = "trusted" | "live";

/**
 * Compares.
 *
 * @param target - what must at least have been applied.
 * @param now - what has been published by now; asked after `engines`.
 * @param engines - the daemon's word.
 * @param wish - what streams must be besides.
 * @returns the streams that are not caught up, or not as wished; none means that all is well.
 */
export function laggards(
  target: readonly StreamPosition[],
  now: readonly StreamPosition[],
  engines: readonly EngineStatus[],
  wish: StreamWish = "trusted",
): Laggard[] {
  const rankOf = new Map<string, RankStatus | undefined>(engines.map(({ id, ranks }) => [id, ranks[0]]));
  const nowOf = new Map(now.map((position) => [position.worker, position.publishedSequenceNumber]));
  return target.flatMap(({ worker, publishedSequenceNumber: wanted }) => {
    const rank = rankOf.get(worker);
    const applied = rank?.last_sequence_number ?? -1;
    const published = nowOf.get(worker) ?? wanted;
    // A restart while we looked makes numbers smaller: the target of a former life is no target.
    const reachable = Math.min(wanted, published);
    const caughtUp = applied >= reachable && applied <= published;
    const isAsWished = rank !== undefined && (wish === "live" ? rank.state === "live" : isTrusted(rank));
    if (caughtUp && isAsWished) return [];
    return [
      {
        worker,
        state: rank?.state ?? "absent",
        trust: rank?.trust ?? "absent",
        appliedSequenceNumber: applied,
        publishedSequenceNumber: published,
      },
    ];
  });
}

function isTrusted({ trust, history_from_sequence_number: historyFrom }: RankStatus): boolean {
  return trust === "exact" || (trust === "partial" && (historyFrom ?? 0) > 0);
}

/**
 * Writes laggards for people.
 *
 * @param streams - from `laggards`.
 * @returns one line, the first three of them.
 */
export function describeLaggards(streams: readonly Laggard[]): string {
  const listed = streams
    .slice(0, 3)
    .map(
      ({ worker, state, trust, appliedSequenceNumber, publishedSequenceNumber }) =>
        `${worker} (${state}, ${trust}, message ${appliedSequenceNumber} of ${publishedSequenceNumber})`,
    );
  const more = streams.length > listed.length ? ` and ${streams.length - listed.length} more` : "";
  return `${listed.join(", ")}${more}`;
}
