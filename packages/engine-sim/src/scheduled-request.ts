/**
 * A request from its submission to its last token, as the scheduler treats it; its subclasses name
 * its blocks.
 *
 *     tokens   │ prompt │ generated so far │ still to come │
 *              0     promptLength      tokenCount     promptLength + outputCount
 *     blocks   │ named (registered) │ held │ –              │       physical block ids
 *              0                registered blockCount
 *
 *  R1  registered × blockSize ≤ computed ≤ tokenCount, and computed ≤ blockCount × blockSize, while it runs.
 *  R2  A waiting request holds no block: registered = blockCount = computed = 0.
 */

const NO_BLOCKS = new Int32Array(0);

/** Mutable state of one request. Its fields belong to scheduler and cache; nobody else writes them. */
export abstract class ScheduledRequest {
  readonly id: number;
  readonly promptLength: number;
  readonly outputCount: number;
  readonly submittedAtSeconds: number;

  tokenCount: number;
  computed = 0;
  /** While `computed` stays below it, one more token neither needs nor fills a block. */
  quietUntil = 0;
  blocks: Int32Array = NO_BLOCKS;
  blockCount = 0;
  registered = 0;
  /** What the last match found: leading device blocks, then host blocks after them. */
  matchedDevice = 0;
  matchedHost = 0;

  /** −1 until the first admission. */
  cachedBlocks = -1;
  cachedHostBlocks = 0;
  preemptions = 0;
  admittedAtSeconds = -1;
  firstTokenAtSeconds = -1;
  lastTokenAtSeconds = -1;

  constructor(id: number, promptLength: number, outputCount: number, nowSeconds: number) {
    this.id = id;
    this.promptLength = promptLength;
    this.outputCount = outputCount;
    this.tokenCount = promptLength;
    this.submittedAtSeconds = nowSeconds;
  }

  /** Whether `open` has been called. */
  protected get isOpen(): boolean {
    return this.blocks !== NO_BLOCKS;
  }

  /** Makes room for what it will hold; called each time it comes to the head of the queue, and only the first counts. */
  abstract open(blockSize: number): void;
}
