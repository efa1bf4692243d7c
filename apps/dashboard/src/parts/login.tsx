/** The dialog for a token: opened by the user, or by the daemon's refusal. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { ApiError, ask, setToken } from "../page/api.ts";
import { connectionState, type WhoAmI } from "../page/state.ts";
import { LOGIN } from "../texts/frame.ts";
import { failureText } from "./panel.tsx";

/** Whether the dialog is open. */
export const isLoginOpen = signal(false);

/** The dialog. A refused stream opens it. */
export function Login(): ComponentChildren {
  const state = connectionState.value;
  const refusal = state.kind === "refused" ? state.status : null;
  useEffect(() => {
    if (refusal !== null) isLoginOpen.value = true;
  }, [refusal]);
  return isLoginOpen.value ? <TokenForm refusal={refusal} /> : null;
}

function faultOf(failure: ApiError): string {
  if (failure.status === 401) return LOGIN.wrong;
  return failure.status === 403 ? LOGIN.noScope : failureText(failure);
}

function TokenForm({ refusal }: { readonly refusal: 401 | 403 | null }): ComponentChildren {
  const dialog = useRef<HTMLDialogElement>(null);
  const [value, setValue] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const submit = async (): Promise<void> => {
    setFault(null);
    try {
      await ask<WhoAmI>("whoami", { headers: { authorization: `Bearer ${value.trim()}` } });
      setToken(value.trim());
      isLoginOpen.value = false;
    } catch (error) {
      setFault(faultOf(error instanceof ApiError ? error : new ApiError(0, "", "", "")));
    }
  };
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="login-title"
      onClose={() => {
        isLoginOpen.value = false;
      }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h2 id="login-title">{LOGIN.title}</h2>
        <p class="muted">{LOGIN.reason[refusal ?? 401]}</p>
        <label class="fld">
          <span>{LOGIN.label}</span>
          <input
            class="input"
            type="password"
            autocomplete="off"
            spellcheck={false}
            required
            value={value}
            onInput={(event) => {
              setValue(event.currentTarget.value);
            }}
          />
        </label>
        {fault === null ? null : (
          <p class="fault" role="alert">
            {fault}
          </p>
        )}
        <p class="faint">{LOGIN.kept}</p>
        <div class="bar">
          <button type="submit" class="btn primary">
            {LOGIN.submit}
          </button>
          <button
            type="button"
            class="btn"
            onClick={() => {
              isLoginOpen.value = false;
            }}
          >
            {LOGIN.cancel}
          </button>
        </div>
      </form>
    </dialog>
  );
}
