/**
 * Sentences and labels of the lookup of a prompt.
 *
 * `**` marks what is shown in bold. Names of the daemon (states, reasons, checks) are shown as they are: they can be searched for.
 */
/** The lookup of a prompt. */
export const PREFIXES = {
  title: "Who holds this prompt?",
  model: "Model",
  adapter: "Adapter",
  none: "none",
  kinds: { prompt: "Prompt", messages: "Messages", tokens: "Token ids" },
  input: "Form of the input",
  examples: {
    prompt: "Paste the prompt as the engine gets it.",
    messages: '[{"role": "user", "content": "…"}]',
    tokens: "1, 15043, 29892, 3186",
  },
  lookUp: "Look up",
  looking: "Looking up",
  privacy: "Ctrl+Enter looks it up. The text goes to the daemon and its tokenizer alone. It is not stored.",
  badTokens: "Token ids are whole numbers from 0 to 4,294,967,295, with commas or spaces between them.",
  badMessages: "Messages are a JSON list of objects with role and content.",
  emptyInput: "Enter a prompt, messages or token ids.",
  noModel: "Enter the name of a model.",
  holders: (held: string, all: string, number: number): string =>
    `${held} of ${all} ${number === 1 ? "engine holds" : "engines hold"} the beginning of it`,
  unheld: "No engine holds the beginning of it.",
  noRank: "No engine of this model is known.",
  took: (ms: string): string => `answered in ${ms}`,
  blocksOf: (blocks: string, size: string): string => `**${blocks}** blocks of ${size} tokens`,
  blocks: "blocks",
  tokens: "tokens",
  decision: "decision",
  best: (blocks: string, share: string): string => `best **${blocks}** blocks, **${share}** of the prompt`,
  saves: (tokens: string, worker: string): string =>
    `The best engine, ${worker}, can skip **${tokens}** prompt tokens.`,
  decisions: {
    exact: "The decision is **exact**: route by it.",
    degraded: "The decision is **degraded**: some engines of this model are not exact.",
    fallback: "The decision is **fallback**: route as without cache information.",
  },
  reasons: {
    tokenizer_not_configured:
      "A prompt needs a tokenizer, and none is configured. Set `sync.tokenizer_endpoint` or `tokenizer.models`, or look up token ids.",
    tokenizer_unavailable: "The tokenizer cannot be reached.",
    tokenizer_timeout: "The tokenizer did not answer in time.",
    tokenizer_refused: "The tokenizer refused the prompt.",
    tokenizer_malformed: "The tokenizer's answer could not be read.",
    tokenizer_overloaded: "Too many prompts wait for the tokenizer.",
    circuit_open: "The tokenizer failed several times, so it is not asked for a while.",
  } as Readonly<Record<string, string>>,
  tiers: {
    device: "on the device",
    host: "in host memory",
    disk: "on disk",
    remote: "in a remote store",
    computed: "to be computed",
  },
  faded: "A faded bar belongs to an engine that is not exact.",
  copyCurl: "copy as curl",
  copied: "copied",
  answer: "Engines that hold it",
  noEngines: "No engine is known, so no engine holds a prompt.",
  before: "Enter a prompt to see which engines hold its beginning, and how much of it.",
  picker: "Where the picker would send it",
  pickerColumns: {
    endpoint: "Endpoint",
    cost: "Cost",
    held: "Held",
    fresh: "To compute",
    running: "Running",
    pending: "Pending",
  },
  pickerUnit: "in tokens of prefill, best first",
};
