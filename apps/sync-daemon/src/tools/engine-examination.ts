/**
 * Examines one DP rank of an engine as a daemon would. Does its event socket publish, does its
 * replay socket answer, what do its messages contain?
 *
 *   events  ── subscribe once ──▶ connected | why not
 *   replay  ── ask from 0 ──▶ first, last, holes ── every payload ─▶ BatchDescriber ─▶ spelling, block sizes, faults
 *
 * It reads the engine's history because an idle engine sends nothing else, and stops after a
 * sufficient part. No index is made.
 */

import type { EngineRank } from "../engine/engine-entry.ts";
import type { ConnectionEnd, Transport } from "../transport/transport.ts";
import { BatchDescriber } from "./batch-description.ts";
import type { Finding } from "./finding.ts";
import { WHY_NOT } from "./inspect.ts";
import { type HistoryRead, readReplay, WHY_NO_REPLAY } from "./replay-reading.ts";
import { whole } from "./terminal.ts";

/** Messages of the history that are decoded: more say nothing new, and the engine stands still while it sends them. */
const MESSAGES_READ_MAX = 2000;

/** One rank to look at. */
export interface RankToExamine {
  readonly worker: string;
  readonly model: string;
  readonly topic: string;
  /** Whether the daemon listens at its endpoint. */
  readonly bind: boolean;
  /** Its own CURVE public key; null for that of the fleet, or none. */
  readonly curveServerKey: string | null;
  readonly rank: EngineRank;
}

/** What was found. */
export interface RankExamination {
  readonly findings: readonly Finding[];
  /** Block sizes its stores named; empty when it said nothing. */
  readonly blockSizes: ReadonlySet<number>;
}

/** What a stretch of history says. */
interface History {
  readonly read: HistoryRead;
  readonly forms: ReadonlySet<string>;
  readonly blockSizes: ReadonlySet<number>;
  readonly faults: ReadonlyMap<string, string>;
}

/**
 * Looks at a rank.
 *
 * @param examined - where it is.
 * @param transport - used and closed.
 * @param idleSeconds - silence after which a socket counts as silent.
 * @returns the findings; unreachable sockets are findings too.
 */
export async function examineRank(
  { worker, topic, bind, rank }: RankToExamine,
  transport: Transport,
  idleSeconds: number,
): Promise<RankExamination> {
  const subject = `${worker} rank ${rank.dpRank}`;
  try {
    const events: Finding = {
      check: "events",
      subject,
      ...(bind ? listening(rank.endpoint) : await dialling(transport, rank.endpoint, topic)),
    };
    if (rank.replayEndpoint === null) {
      const message =
        "no replay endpoint: a lost message cannot be fetched again, and a start has no history";
      return {
        findings: [events, { check: "replay", subject, status: "warn", message }],
        blockSizes: new Set(),
      };
    }
    const history = await readHistory(transport, rank.replayEndpoint, idleSeconds);
    const findings = [
      events,
      replayFinding(subject, rank.replayEndpoint, history),
      ...streamFindings(subject, history),
    ];
    return { findings, blockSizes: history.blockSizes };
  } finally {
    transport.close();
  }
}

/** A tool that listened there would take the engine's connection from the daemon. */
function listening(endpoint: string): Pick<Finding, "status" | "message"> {
  const message = `the engine connects to ${endpoint}, where the daemon listens: --url shows whether it has`;
  return { status: "skip", message };
}

async function dialling(
  transport: Transport,
  endpoint: string,
  topic: string,
): Promise<Pick<Finding, "status" | "message">> {
  const end = await dial(transport, endpoint, topic);
  return end === null
    ? { status: "ok", message: `${endpoint} publishes` }
    : { status: "fail", message: `${endpoint}: ${WHY_NOT[end]} (${end})` };
}

/** @returns null once connected. */
function dial(transport: Transport, endpoint: string, topic: string): Promise<ConnectionEnd | null> {
  return new Promise((resolve) => {
    const subscription = transport.subscribe(endpoint, topic, {
      connected: () => {
        subscription.close();
        resolve(null);
      },
      message: () => undefined,
      ended: resolve,
    });
  });
}

async function readHistory(transport: Transport, endpoint: string, idleSeconds: number): Promise<History> {
  const describer = new BatchDescriber(false);
  const forms = new Set<string>();
  const blockSizes = new Set<number>();
  const faults = new Map<string, string>();
  const silenceMs = idleSeconds * 1000;
  const read = await readReplay(transport, endpoint, {
    from: 0,
    patience: { firstMs: silenceMs, nextMs: silenceMs },
    messagesMax: MESSAGES_READ_MAX,
    message: (sequenceNumber, payload) => {
      const batch = describer.describe(payload);
      if (batch.form !== "none") forms.add(batch.form);
      for (const { block_size: size } of batch.events) if (size !== undefined) blockSizes.add(size);
      for (const { code, message } of batch.faults) faults.set(code, `message ${sequenceNumber}: ${message}`);
    },
  });
  for (const [code, count] of read.unreadable) faults.set(code, `${whole(count)} replies could not be read`);
  return { read, forms, blockSizes, faults };
}

function replayFinding(
  subject: string,
  endpoint: string,
  { read: { first, last, messages, holes, isCut, failure } }: History,
): Finding {
  const finding = (status: Finding["status"], message: string): Finding => ({
    check: "replay",
    subject,
    status,
    message,
  });
  if (messages === 0) {
    if (failure === null) return finding("ok", `${endpoint} answers; the engine has published nothing yet`);
    return finding(
      "fail",
      `${endpoint}: no answer to a replay request (${failure}); ${WHY_NO_REPLAY[failure]}`,
    );
  }
  if (failure !== null)
    return finding(
      "fail",
      `${endpoint}: fell silent after message ${last ?? 0}, without its end marker (${failure})`,
    );
  if (holes > 0)
    return finding(
      "fail",
      `${endpoint}: ${whole(holes)} messages are missing between ${first ?? 0} and ${last ?? 0}, also when asked for again: it does not keep what it publishes`,
    );
  if (first !== null && first > 0) {
    return finding(
      "warn",
      `${endpoint}: history begins at ${whole(first)}. Earlier blocks are unknown after a first start, and the stream is partial (docs/decisions/0006). Use a larger buffer_steps or snapshots`,
    );
  }
  return finding(
    "ok",
    `${endpoint}: history from the engine's start${isCut ? "" : `, ${whole(messages)} messages`}, no holes`,
  );
}

function streamFindings(
  subject: string,
  { read: { messages }, forms, blockSizes, faults }: History,
): Finding[] {
  if (messages === 0) return [];
  if (faults.size > 0) {
    return [...faults].map(
      ([code, where]): Finding => ({
        check: "stream",
        subject,
        status: "fail",
        message: `${code}: ${where}`,
      }),
    );
  }
  if (forms.has("mixed") || forms.size > 1) {
    return [
      {
        check: "stream",
        subject,
        status: "warn",
        message: "events are spelled in two ways: do two engine versions publish to one address?",
      },
    ];
  }
  const [form = "none"] = forms;
  const spelled =
    form === "array"
      ? "arrays (vLLM before 0.24, SGLang)"
      : form === "map"
        ? "maps (vLLM from 0.24, TensorRT-LLM)"
        : "no events yet";
  const sizes = [...blockSizes].sort((one, other) => one - other).join(", ") || "not seen";
  return [{ check: "stream", subject, status: "ok", message: `events as ${spelled}; block size ${sizes}` }];
}
