/** The form of a silence: labels of the alert, an end, and a comment. Alertmanager's error is shown as it came. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { ApiError, post } from "../page/api.ts";
import { now, whoAmI } from "../page/state.ts";
import type { Alert } from "../stream/stream-messages.ts";
import { SILENCE_FORM } from "../texts/alerts.ts";
import {
  type Choice,
  choicesOf,
  fieldOf,
  HOURS,
  type SilenceEnd,
  silenceRequest,
} from "../views/alert-silence.ts";
import { failureText } from "./panel.tsx";

const HOUR_MS = 3_600_000;

/** The dialog. */
export function SilenceForm({
  alert,
  onClose,
  onMade,
}: {
  readonly alert: Alert;
  readonly onClose: () => void;
  readonly onMade: () => void;
}): ComponentChildren {
  const dialog = useRef<HTMLDialogElement>(null);
  const [choices, setChoices] = useState(() => choicesOf(alert));
  const [end, setEnd] = useState<SilenceEnd>({ hours: HOURS[0] });
  const [comment, setComment] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const [isSending, setSending] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const submit = async (): Promise<void> => {
    const request = silenceRequest(choices, end, comment, now.peek());
    if (typeof request === "string") {
      setFault(SILENCE_FORM[request]);
      return;
    }
    setFault(null);
    setSending(true);
    try {
      await post("alerts/silences", request);
      onMade();
    } catch (error) {
      setFault(faultOf(error));
      setSending(false);
    }
  };
  return (
    <dialog ref={dialog} class="dialog silence" aria-labelledby="silence-title" onClose={onClose}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h2 id="silence-title">{SILENCE_FORM.title(alert.name)}</h2>
        <p class="muted">{SILENCE_FORM.about}</p>
        <Labels choices={choices} onChange={setChoices} />
        <End end={end} onChange={setEnd} />
        <label class="fld">
          <span>{SILENCE_FORM.comment}</span>
          <input
            class="input"
            required
            maxLength={1024}
            placeholder={SILENCE_FORM.commentHelp}
            value={comment}
            onInput={(event) => {
              setComment(event.currentTarget.value);
            }}
          />
        </label>
        {fault === null ? null : (
          <p class="fault" role="alert">
            {fault}
          </p>
        )}
        <p class="faint">{SILENCE_FORM.author(whoAmI.value?.name ?? null)}</p>
        <div class="bar">
          <button type="submit" class="btn primary" disabled={isSending}>
            {SILENCE_FORM.submit}
          </button>
          <button type="button" class="btn" onClick={onClose}>
            {SILENCE_FORM.cancel}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function Labels({
  choices,
  onChange,
}: {
  readonly choices: readonly Choice[];
  readonly onChange: (choices: readonly Choice[]) => void;
}): ComponentChildren {
  return (
    <fieldset>
      <legend>{SILENCE_FORM.labels}</legend>
      {choices.map((choice) => (
        <label key={choice.name} class="choice">
          <input
            type="checkbox"
            checked={choice.isChosen}
            onChange={(event) => {
              const { checked } = event.currentTarget;
              onChange(choices.map((one) => (one === choice ? { ...one, isChosen: checked } : one)));
            }}
          />
          <span class="mono">
            {choice.name}={JSON.stringify(choice.value)}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

function End({
  end,
  onChange,
}: {
  readonly end: SilenceEnd;
  readonly onChange: (end: SilenceEnd) => void;
}): ComponentChildren {
  const isMoment = "moment" in end;
  return (
    <div class="fld">
      <span id="silence-until">{SILENCE_FORM.until}</span>
      <div class="bar">
        <div class="seg" role="group" aria-labelledby="silence-until">
          {HOURS.map((hours) => (
            <button
              key={hours}
              type="button"
              aria-pressed={!isMoment && end.hours === hours}
              onClick={() => {
                onChange({ hours });
              }}
            >
              {SILENCE_FORM.hours(hours)}
            </button>
          ))}
          <button
            type="button"
            aria-pressed={isMoment}
            onClick={() => {
              if (!isMoment) onChange({ moment: fieldOf(now.peek() + HOUR_MS) });
            }}
          >
            {SILENCE_FORM.moment}
          </button>
        </div>
        {isMoment ? (
          <input
            class="input moment"
            type="datetime-local"
            aria-label={SILENCE_FORM.end}
            value={end.moment}
            onInput={(event) => {
              onChange({ moment: event.currentTarget.value });
            }}
          />
        ) : null}
      </div>
    </div>
  );
}

/** What went wrong, in the words of who refused. */
export function faultOf(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  return error.detail === "" || error.status === 401 || error.status === 403
    ? failureText(error)
    : error.detail;
}
