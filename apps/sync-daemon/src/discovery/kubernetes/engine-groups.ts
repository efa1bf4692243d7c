/**
 * Workers whose DP ranks run in several pods, such as a group of a LeaderWorkerSet.
 *
 *     pod of group g, index 0 (leader)  ranks 0 … n-1  ─┐
 *     pod of group g, index 1           ranks n … 2n-1 ─┼─▶ one engine with the leader's id, name and options
 *     pod of group g, index 2           …              ─┘
 *
 * Invariants
 *  G1  A group is an engine when its leader is there, and as many pods as its size. Until then its
 *      pods wait (`group_incomplete`).
 *  G2  Ranks of an engine are distinct and without gaps; a group of which they are not is refused by
 *      its leader's id.
 *
 * A leader that is replaced has the same name and another address: the group is incomplete
 * meanwhile, and then another engine under the same id. LeaderWorkerSet recreates the group in that
 * case.
 *
 * Source: kubernetes-sigs/lws 060ab4d, api/leaderworkerset/v1/leaderworkerset_types.go (labels group-key and worker-index,
 * annotation size).
 */

import type { MalformedEngine } from "../engine-sources.ts";
import type { FoundPart, Member } from "./pod-reading.ts";

/** A pod of a group. */
export type GroupPart = FoundPart & { readonly member: Member };

/** What a group amounts to. */
type JoinedGroup =
  | { readonly kind: "whole"; readonly leader: FoundPart }
  | { readonly kind: "incomplete" }
  | ({ readonly kind: "malformed" } & MalformedEngine);

/**
 * Joins the pods of one group.
 *
 * @param pods - its pods that are not waiting, each with its place in the group.
 * @returns the leader with the ranks of all, or why there is no engine.
 */
export function joinGroup(pods: readonly GroupPart[]): JoinedGroup {
  const members = [...pods].sort((a, b) => a.member.index - b.member.index);
  const [leader] = members;
  const twice = members.find(({ member }, i) => member.index === members[i - 1]?.member.index);
  if (leader === undefined || leader.member.index !== 0) return { kind: "incomplete" };
  const refused = (field: string, why: string): JoinedGroup => {
    const { id } = leader.entry;
    return { kind: "malformed", id, field, message: `pod ${id}: ${field}: ${why}` };
  };
  const { group, indexLabel } = leader.member;
  if (twice !== undefined)
    return refused(
      indexLabel,
      `group ${group} has two pods with index ${twice.member.index}; expected one of each`,
    );
  const size = leader.member.size ?? members.length;
  if (members.length < size || members.at(-1)?.member.index !== members.length - 1)
    return { kind: "incomplete" };
  return (
    joined(leader, members) ??
    refused(
      indexLabel,
      `group ${group} has ranks that overlap, leave a gap or have replay in some pods only; expected the same ranks in each pod`,
    )
  );
}

/** G2. Null when the ranks do not fit together. */
function joined(leader: FoundPart, members: readonly FoundPart[]): JoinedGroup | null {
  const ranks = members.flatMap((one) => one.ranks);
  const first = ranks[0]?.dpRank ?? 0;
  if (ranks.some(({ dpRank }, i) => dpRank !== first + i)) return null;
  const replay = ranks.map(({ replayEndpoint }) => replayEndpoint).filter((one) => one !== null);
  if (replay.length !== 0 && replay.length !== ranks.length) return null;
  const entry = {
    ...leader.entry,
    endpoint: undefined,
    replay_endpoint: undefined,
    first_rank: first,
    dp_size: ranks.length,
    endpoints: ranks.map(({ endpoint }) => endpoint),
    ...(replay.length === 0 ? {} : { replay_endpoints: replay }),
  };
  const incarnation = members.map((one) => one.incarnation).join(" ");
  return { kind: "whole", leader: { ...leader, entry, ranks, incarnation } };
}
