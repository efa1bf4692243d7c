/**
 * Reads an engine's command line for its model and its topic. The flags are those of `vllm serve`,
 * `sglang.launch_server` and `dynamo.vllm`, in the containers of a pod.
 *
 *     command, args ─▶ words ($(NAME) and ${NAME} from the container's env) ─▶ flags
 *
 * Text is read and never run. A script (`bash -c "…"`) is split into words. A variable that only the
 * shell could know makes its word unusable. At most WORDS_LENGTH_MAX characters are looked at.
 *
 * Not here: defaults of the engines, files of settings that a flag names.
 */

/** Characters of one container's command line that are looked at. */
const WORDS_LENGTH_MAX = 65_536;
/** Expansions of variables inside of variables. */
const EXPANSIONS_MAX = 4;
const MODEL_FLAGS = ["served-model-name", "model", "model-path"] as const;
const TOPIC_PARTS = 3;

/** One container, as its pod describes it. */
export interface ContainerText {
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** Those with a value that the pod alone decides. */
  readonly env: ReadonlyMap<string, string>;
}

/**
 * The name of the model that a pod's engine serves.
 *
 * @param containers - of the pod.
 * @returns null when no flag has one.
 */
export function modelOfFlags(containers: readonly ContainerText[]): string | null {
  for (const container of containers) {
    const words = wordsOf(container);
    for (const flag of MODEL_FLAGS) {
      const value = usable(flagValue(words, flag), container.env);
      if (value !== null) return value;
    }
    const serve = words.findIndex(
      (word, i) => word === "serve" && i > 0 && /(?:^|\/)vllm$/.test(words[i - 1] ?? ""),
    );
    const named = usable(serve < 0 ? null : (words[serve + 1] ?? null), container.env);
    if (named !== null && !named.startsWith("-")) return named;
  }
  return null;
}

/**
 * The model that a topic names.
 *
 * @param topic - `kv@POD@MODEL`.
 * @returns null when it is another kind of topic.
 */
export function modelOfTopic(topic: string): string | null {
  const [kind, , model = "", ...more] = topic.split("@", TOPIC_PARTS + 1);
  return kind === "kv" && model !== "" && more.length === 0 ? model : null;
}

/**
 * The topic of `--kv-events-config`.
 *
 * @param containers - of the pod.
 * @returns null when no container has one that is known.
 */
export function topicOfFlags(containers: readonly ContainerText[]): string | null {
  for (const container of containers) {
    const config = flagValue(wordsOf(container), "kv-events-config");
    const [, topic = null] = /"topic"\s*:\s*"([^"\\]*)"/.exec(config ?? "") ?? [];
    const value = usable(topic, container.env);
    if (value !== null) return value;
  }
  return null;
}

function wordsOf({ command, args }: ContainerText): readonly string[] {
  const words: string[] = [];
  let left = WORDS_LENGTH_MAX;
  for (const part of [...command, ...args]) {
    const text = part.slice(0, left);
    left -= text.length;
    if (/^-[a-z]*c$/.test(words.at(-1) ?? "")) words.push(...scriptWords(text));
    else words.push(text);
  }
  return words;
}

/**
 * Words of a script, without their quotes; what a backslash at the end of a line joins is joined. One pass: the length of
 * what a pod says is the time that it takes.
 */
function scriptWords(script: string): readonly string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  const add = (text: string): void => {
    word = `${word ?? ""}${text}`;
  };
  const end = (): void => {
    if (word !== null) words.push(word);
    word = null;
  };
  for (let i = 0; i < script.length; i++) {
    const one = script.charAt(i);
    if (one === "\\" && quote !== "'") {
      i += 1;
      if (script.charAt(i) !== "\n") add(script.charAt(i));
    } else if (isQuote(one, quote)) {
      quote = quote === "" ? one : "";
      add("");
    } else if (quote === "" && /\s/.test(one)) end();
    else add(one);
  }
  end();
  return words;
}

/** Whether it begins a quoted part, or ends the one that is open. */
function isQuote(one: string, open: string): boolean {
  return open === "" ? one === '"' || one === "'" : one === open;
}

/** Flags are the same with - and with _. */
function flagValue(words: readonly string[], flag: string): string | null {
  for (const [i, word] of words.entries()) {
    const [, name = "", value] = /^--([A-Za-z0-9_-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (name.replaceAll("_", "-") === flag) return value ?? words[i + 1] ?? null;
  }
  return null;
}

/** With its variables in place; null when one of them is not known. */
function usable(text: string | null, env: ReadonlyMap<string, string>): string | null {
  let value = text ?? "";
  for (let i = 0; i < EXPANSIONS_MAX && value.includes("$"); i++) {
    value = value.replaceAll(
      /\$(?:\((\w+)\)|\{(\w+)\}|(\w+))/g,
      (written, ...names: (string | undefined)[]) =>
        env.get(names[0] ?? names[1] ?? names[2] ?? "") ?? written,
    );
    if (value.length > WORDS_LENGTH_MAX) return null;
  }
  return value === "" || value.includes("$") ? null : value;
}
