/**
 * A stream's trust as its owner reads it: the ledger of reasons (trust-ledger.ts), kept up to date
 * with the stream's situation. It also has the time since which both are so. Compares two fields
 * when nothing changed.
 */
import type { SyncListener } from "./sync-report.ts";
import type { TrustLedger } from "./trust-ledger.ts";
import type { Trust, TrustReason } from "./trust-rule.ts";

const LOSS_SUSPECTED = 1;
const PROBES_FAILED = 2;

/** See the head of this file. */
export class StreamTrust {
  readonly #ledger: TrustLedger;
  readonly #listener: SyncListener;
  /** The condition and the suspicions that are in the ledger. */
  #condition: TrustReason | null = "not_connected";
  #suspicions = 0;
  #trust: Trust = "unknown";
  #reason: TrustReason | null = "not_connected";
  /** NaN before the first reading of the clock, as a number is stored in place. */
  #sinceMs: number;
  #nowMs: number;

  /** @param startedAtMs - since when the first trust holds; NaN when it is not known. */
  constructor(ledger: TrustLedger, listener: SyncListener, startedAtMs: number) {
    this.#ledger = ledger;
    this.#listener = listener;
    this.#sinceMs = startedAtMs;
    this.#nowMs = startedAtMs;
    ledger.note("not_connected");
  }

  /** How far the index can be trusted about the rank. */
  get trust(): Trust {
    return this.#trust;
  }

  /** Why not further; null exactly for `exact`. */
  get reason(): TrustReason | null {
    return this.#reason;
  }

  /** Since when both are so; NaN before the first reading of the clock. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** The latest reading of the owner's clock, for calls that bring none; NaN before the first. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /**
   * Brings the ledger up to date with the stream, and trust with the ledger.
   *
   * @param condition - the one reason that the stream's situation is, if any.
   */
  report(
    condition: TrustReason | null,
    isLossSuspected: boolean,
    haveProbesFailed: boolean,
    nowMs: number,
  ): void {
    this.#nowMs = nowMs;
    const suspicions = (isLossSuspected ? LOSS_SUSPECTED : 0) | (haveProbesFailed ? PROBES_FAILED : 0);
    if (condition !== this.#condition || suspicions !== this.#suspicions) this.#hold(condition, suspicions);
    if (Number.isNaN(this.#sinceMs)) this.#sinceMs = nowMs;
    if (this.#ledger.reason === this.#reason) return;
    const previous = this.#trust;
    this.#trust = this.#ledger.trust;
    this.#reason = this.#ledger.reason;
    this.#sinceMs = nowMs;
    this.#listener.trustChanged?.(this.#trust, previous, this.#reason);
  }

  #hold(condition: TrustReason | null, suspicions: number): void {
    const ledger = this.#ledger;
    if (condition !== this.#condition) {
      if (this.#condition !== null) ledger.end(this.#condition);
      if (condition !== null) ledger.note(condition);
      this.#condition = condition;
    }
    if ((suspicions & LOSS_SUSPECTED) !== 0) ledger.note("loss_suspected");
    else ledger.end("loss_suspected");
    if ((suspicions & PROBES_FAILED) !== 0) ledger.note("probes_failed");
    else ledger.end("probes_failed");
    this.#suspicions = suspicions;
  }
}
