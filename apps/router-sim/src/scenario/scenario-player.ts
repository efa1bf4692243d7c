/**
 * Plays a scenario, event by event: the simulation's, and the timeline's between them. Playing is deterministic, so that a moment is
 * a number of events, and a run can be led to it again.
 */
import type { Workload } from "../workload/workload.ts";
import { NAME_WORDS } from "../simulate/block-naming.ts";
import { Simulation } from "../simulate/simulation.ts";
import { SimulationError } from "../simulate/simulation-settings.ts";
import type { WirePath } from "../simulate/wire-path.ts";
import { type AuditOutcome, IndexAudit } from "./index-audit.ts";
import { LossEnds } from "./loss-ends.ts";
import { enginesMeant, type Scenario, type TimelineEntry } from "./scenario.ts";

const MS = 1_000;

/** An entry of the timeline whose time has come and that is for the owner: an expectation. */
export type DueExpectation = NonNullable<TimelineEntry["expect"]> & { readonly at: number };

/** See the header. */
export class ScenarioPlayer {
  readonly simulation: Simulation;
  readonly #scenario: Scenario;
  readonly #wire: WirePath;
  readonly #audit: IndexAudit;
  readonly #timeline: readonly TimelineEntry[];
  readonly #lossEnds = new LossEnds();
  #entry = 0;
  #events = 0;
  #last = "the begin";

  /**
   * @param scenario - what is played.
   * @param workload - its workload, opened.
   * @param withFaults - false plays the same run without anything going wrong.
   * @throws SimulationError when the fleet cannot be had.
   */
  constructor(scenario: Scenario, workload: Workload, withFaults: boolean) {
    this.#scenario = scenario;
    this.#timeline = withFaults ? scenario.timeline : [];
    this.simulation = new Simulation(workload, {
      seed: scenario.seed,
      policy: scenario.policy,
      engineCount: scenario.engines,
      costModel: scenario.model,
      blockSize: scenario.block_size,
      blockCount: scenario.blocks,
      hostBlockCount: scenario.host_blocks,
      eventDelaySeconds: scenario.event_delay_ms / MS,
      eventReorder: scenario.event_reorder,
      eventPath: "wire",
      historyMessages: scenario.history_messages,
    });
    const { wire } = this.simulation;
    if (wire === null)
      throw new SimulationError(
        { code: "simulation_setting_wrong", setting: "eventPath", actual: "direct", expected: "wire" },
        "a scenario needs events on the wire",
      );
    this.#wire = wire;
    this.#audit = new IndexAudit(scenario.engines);
    wire.journal = this.#audit;
  }

  /** Events so far. */
  get events(): number {
    return this.#events;
  }

  /** When the next event happens; Infinity when the timeline is over and every request has ended. */
  get nextAt(): number {
    const own = Math.min(this.#timeline[this.#entry]?.at ?? Infinity, this.#lossEnds.nextAt);
    return this.simulation.hasWork || own < Infinity ? Math.min(own, this.simulation.nextAt) : Infinity;
  }

  /** The streams. */
  get wire(): WirePath {
    return this.#wire;
  }

  /** Plays one event. @returns an expectation that is due now; null otherwise. */
  next(): DueExpectation | null {
    this.#events++;
    const at = this.nextAt;
    const entry = this.#timeline[this.#entry];
    const ended = this.#lossEnds.nextAt <= at ? this.#lossEnds.take() : null;
    if (ended !== null) {
      this.simulation.runUntil(ended.at);
      this.#wire.setLoss(ended.engine, 0);
      this.#last = `engine ${ended.engine} loses no more messages`;
      return null;
    }
    if (entry !== undefined && entry.at <= at) {
      this.#entry++;
      // Everything of that moment comes first; it is part of this event.
      this.simulation.runUntil(entry.at);
      if (entry.expect !== undefined) return { at: entry.at, ...entry.expect };
      this.#strike(entry);
      return null;
    }
    this.simulation.next();
    this.#last = "";
    return null;
  }

  /** Says what the last event was. */
  describeLast(): string {
    const at = `at ${this.simulation.nowSeconds.toFixed(6)} s`;
    if (this.#last !== "") return `${at}: ${this.#last}`;
    const { lastEvent } = this.simulation;
    if (lastEvent === "arrival") return `${at}: a request arrives`;
    if (lastEvent === "step") return `${at}: a step ends`;
    const event = this.#wire.lastEvent;
    if (event === null) return `${at}: the network is quiet`;
    const what = {
      message: `message ${event.sequenceNumber ?? "?"} of engine ${event.engine} arrives`,
      replay: `the replay from ${event.sequenceNumber ?? "?"} of engine ${event.engine} arrives`,
      connection: `the connection to engine ${event.engine} comes back`,
      tick: `the stream of engine ${event.engine} looks after itself`,
    };
    return `${at}: ${what[event.kind]}`;
  }

  /** Compares the index with what engines announced, at this moment. */
  audit(): AuditOutcome {
    return this.#audit.audit(this.simulation, this.#wire);
  }

  /** How many messages each engine has published. */
  get publishedCounts(): readonly number[] {
    return this.#audit.publishedCounts;
  }

  /** Whether every stream has applied that many messages of its engine. */
  hasApplied(counts: readonly number[]): boolean {
    return this.#audit.hasApplied(counts);
  }

  /** Whether every stream says that it is exact. */
  get isExact(): boolean {
    return enginesMeant("all", this.#scenario.engines).every(
      (engine) => this.#wire.trustOf(engine) === "exact",
    );
  }

  #strike(entry: TimelineEntry): void {
    const { at, restart, stall, lose_index, corrupt } = entry;
    for (const engine of this.#meant(restart)) this.simulation.restartEngine(engine);
    this.#strikeStreams(entry);
    if (stall !== undefined) this.#wire.stall(at + stall.seconds);
    if (lose_index !== undefined) this.#wire.loseIndex(at);
    for (const engine of this.#meant(corrupt)) this.#corrupt(engine);
    this.#last = `the timeline: ${JSON.stringify({ ...entry, at: undefined })}`;
  }

  #meant(which: "all" | readonly number[] | undefined): readonly number[] {
    return which === undefined ? [] : enginesMeant(which, this.#scenario.engines);
  }

  /** What happens to messages between engines and followers. */
  #strikeStreams({ at, lose, hold, truncate_history, burn_number, poison }: TimelineEntry): void {
    if (lose !== undefined) {
      for (const engine of this.#meant(lose.engines)) this.#wire.setLoss(engine, lose.share);
      this.#lossEnds.add(at, lose, this.#scenario.engines);
    }
    if (hold !== undefined)
      for (const engine of this.#meant(hold.engines)) this.#wire.hold(engine, at + hold.seconds);
    if (truncate_history !== undefined)
      for (const engine of this.#meant(truncate_history.engines))
        this.#wire.truncateHistory(engine, truncate_history.keep);
    for (const engine of this.#meant(burn_number)) this.#wire.burnSequenceNumber(engine);
    if (poison !== undefined)
      for (const engine of this.#meant(poison.engines)) this.#wire.poison(engine, poison.count);
  }

  /** Takes the first block that an engine holds out of the index. */
  #corrupt(engine: number): void {
    const names: number[] = [];
    this.simulation.forEachHeld(engine, (tier, low, high) => {
      if (tier === 0 && names.length === 0) names.push(low, high);
    });
    const count = names.length / NAME_WORDS;
    if (count > 0) this.simulation.index.writer(engine).removed(0, Uint32Array.from(names), count);
  }
}
