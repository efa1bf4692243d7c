/** A simulated engine: scheduler, block pool, event stream; no sockets, no clock. */
import type { HashAlgorithm } from "./engine-hash.ts";
import type {
  EngineContents,
  EngineCounters,
  EnginePressure,
  EngineRequest,
  EngineSettings,
  NumberedBatch,
  StepResult,
} from "./engine-contract.ts";

/** Settings with every default filled in. */
export type ResolvedEngineSettings = {
  readonly [Key in keyof EngineSettings]-?: Exclude<EngineSettings[Key], undefined>;
} & { readonly hashAlgorithm: HashAlgorithm };

/** A simulated engine. */
export declare class SimulatedEngine {
  readonly settings: ResolvedEngineSettings;
  constructor(settings: EngineSettings);
  get counters(): EngineCounters;
  /** Last number given to a message; −1 when none was. */
  get lastSequenceNumber(): number;
  /** Whether a request waits or runs. */
  get hasWork(): boolean;
  /** @throws EngineError `request_too_long`, `too_many_waiting`, `unknown_lora`, `unsupported_by_dialect`, `duplicate_request`, `empty_request`. */
  submit(request: EngineRequest, nowSeconds: number): void;
  /** Runs one scheduler step that begins at `nowSeconds`; the owner lets `durationSeconds` pass before the next. */
  step(nowSeconds: number): StepResult;
  pressure(): EnginePressure;
  contents(): EngineContents;
  /** Leading blocks that a request with this prompt would find cached now, device or host. Changes nothing. */
  cachedPrefixBlocks(promptTokens: Uint32Array, loraName?: string | null, cacheSalt?: string | null): number;
  /** Empties the cache (AllBlocksCleared); null, and nothing happens, while requests run. */
  reset(nowSeconds: number): NumberedBatch | null;
  /** The process dies and starts anew. SGLang dialects announce themselves with a clear. */
  restart(nowSeconds: number): { readonly abortedRequests: readonly number[]; readonly batch: NumberedBatch | null };
  /** Uses up a sequence number without a message. */
  burnSequenceNumber(): number;
}
