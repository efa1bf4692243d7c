/** Dark or light, as the system prefers until the user chooses. */
import { effect, signal } from "@preact/signals";

const KEY = "kvsync.theme";
const LIGHT = matchMedia("(prefers-color-scheme: light)");

/** One of the two. */
export type Theme = "dark" | "light";

function chosen(): Theme | null {
  const stored = localStorage.getItem(KEY);
  return stored === "dark" || stored === "light" ? stored : null;
}

/** The theme in use. */
export const theme = signal<Theme>(chosen() ?? (LIGHT.matches ? "light" : "dark"));

/** Shows the theme, and follows the system while nothing is chosen. */
export function followTheme(): void {
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
  });
  LIGHT.addEventListener("change", ({ matches }) => {
    if (chosen() === null) theme.value = matches ? "light" : "dark";
  });
}

/** Chooses the other one, for good. */
export function switchTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem(KEY, theme.value);
}
