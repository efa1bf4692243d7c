/**
 * The times at which a live stream asks its engine without a visible gap. An idle stream asks for
 * its last message (probe). A stream that may have lost messages on our side asks at once (loss
 * probe). A stream with a permanent loss asks for the history that the engine still has (rebuild).
 *
 *     synced ── firstProbeMs ─▶ probe ── probeMs, doubling ─▶ probe … ─▶ each live message: back to probeMs
 *     loss suspected ── lossProbeMs at least ─▶ probe
 *     lasting loss ── rebuildMs, doubling ─▶ rebuild
 *
 * Times only: the state machine asks, and reports the result.
 */
import type { SyncLimits } from "./sync-settings.ts";

/** See the head of this file. */
export class ProbeSchedule {
  readonly #limits: SyncLimits;
  #probeDueMs = Infinity;
  #probeIntervalMs: number;
  #failedProbes = 0;
  #isLossSuspected = false;
  /** Earliest time of the next probe for a suspected loss. */
  #nextLossProbeMs = 0;
  #rebuildDueMs = Infinity;
  #rebuildIntervalMs: number;

  constructor(limits: SyncLimits) {
    this.#limits = limits;
    this.#probeIntervalMs = limits.probeMs;
    this.#rebuildIntervalMs = limits.rebuildMs;
  }

  /** Whether messages may be missing that no gap has shown yet. */
  get isLossSuspected(): boolean {
    return this.#isLossSuspected;
  }

  /** Whether so many probes in a row have failed that an idle stream is not verified. */
  get haveProbesFailed(): boolean {
    return this.#failedProbes >= this.#limits.failedProbesMax;
  }

  /** When a live stream has to ask next. Without a replay to ask, only for a rebuild. */
  dueMs(usesReplay: boolean): number {
    return usesReplay ? Math.min(this.#rebuildDueMs, this.#probeDueMs) : this.#rebuildDueMs;
  }

  /** Which of both is due. */
  purposeAt(nowMs: number): "rebuild" | "probe" {
    return nowMs >= this.#rebuildDueMs ? "rebuild" : "probe";
  }

  /** A live message was applied. */
  heardLive(usesReplay: boolean, nowMs: number): void {
    this.#failedProbes = 0;
    if (!usesReplay) this.#isLossSuspected = false;
    if (!this.#isLossSuspected) this.#probeDueMs = nowMs + this.#limits.probeMs;
    this.#probeIntervalMs = this.#limits.probeMs;
  }

  /** A probe is asked for. */
  probed(nowMs: number): void {
    this.#nextLossProbeMs = nowMs + this.#limits.lossProbeMs;
  }

  /** A probe failed and had found nothing. */
  probeFailed(nowMs: number): void {
    this.#failedProbes += 1;
    this.#probeDueMs = nowMs + this.#limits.probeMs;
  }

  /**
   * A replay has brought the stream up to date.
   *
   * @param by - a probe, which found something or not; or a replay of another purpose.
   * @param isLossSuspected - whether a loss was suspected since it was asked for.
   */
  synced(by: "replay" | "probe" | "vain_probe", isLossSuspected: boolean, nowMs: number): void {
    const { probeMs, probeMsMax, lossProbeMs, firstProbeMs } = this.#limits;
    this.#failedProbes = 0;
    this.#isLossSuspected = isLossSuspected;
    this.#probeIntervalMs = by === "vain_probe" ? Math.min(2 * this.#probeIntervalMs, probeMsMax) : probeMs;
    if (isLossSuspected) this.#probeDueMs = nowMs + lossProbeMs;
    else this.#probeDueMs = nowMs + (by === "replay" ? firstProbeMs : this.#probeIntervalMs);
  }

  /** Messages may be missing. */
  suspectLoss(probeDueMs: number): void {
    this.#isLossSuspected = true;
    this.#probeDueMs = Math.min(this.#probeDueMs, Math.max(probeDueMs, this.#nextLossProbeMs));
  }

  /** The rank begins with a live message: nothing before it matters. */
  beginsLive(): void {
    this.#isLossSuspected = false;
  }

  /** The rank begins with the next live message, whatever it is: nor does what was not heard before it. */
  beginsAnywhere(): void {
    this.#isLossSuspected = false;
    this.#failedProbes = 0;
  }

  /** Plans the next rebuild, later than the one before. */
  planRebuild(nowMs: number): void {
    this.#rebuildDueMs = nowMs + this.#rebuildIntervalMs;
    this.#rebuildIntervalMs = Math.min(2 * this.#rebuildIntervalMs, this.#limits.rebuildMsMax);
  }

  /** Plans a rebuild for this time. */
  rebuildAt(atMs: number): void {
    this.#rebuildDueMs = atMs;
  }

  /** Nothing is lost that a rebuild would bring back. */
  cancelRebuild(): void {
    this.#rebuildDueMs = Infinity;
  }

  /**
   * The rank may over-report: rebuilds once the engine's history has refilled behind the last loss. One that keeps losing
   * is not wiped for it.
   *
   * @param isNew - whether the message at hand made it so.
   */
  rebuildAfterLoss(isNew: boolean, nowMs: number): void {
    if (this.#rebuildDueMs === Infinity) this.planRebuild(nowMs);
    else if (isNew) this.#rebuildDueMs = Math.max(this.#rebuildDueMs, nowMs + this.#limits.rebuildMs);
  }

  /** Another publisher: what the one before kept says nothing of this one. */
  restarted(): void {
    this.#rebuildIntervalMs = this.#limits.rebuildMs;
  }
}
