// Keys. Single letters can be switched off, for users of speech input.

import { byId } from "./dom.js";

const OFF = "shortcuts.off";

/** Whether single letters are no shortcuts. */
export const lettersOff = () => localStorage.getItem(OFF) === "1";

/** Make them shortcuts, or not. */
export const switchLetters = (on) => localStorage.setItem(OFF, on ? "" : "1");

/** Load the list of all keys on first use. */
const showHelp = async () => (await import("./help.js")).showHelp();

/** `actions` by key; one that gives false has not used the key. */
export function startShortcuts(actions) {
  byId("help-button").addEventListener("click", showHelp);
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target) && event.key !== "Escape") return;
    if (event.key.length === 1 && event.key !== "/" && event.key !== "?" && lettersOff()) return;
    if (document.querySelector("dialog[open]") && event.key !== "Escape") return;
    const action = event.key === "?" ? showHelp : actions[event.key];
    if (action && action(event) !== false) event.preventDefault();
  });
}

function isTyping(target) {
  return target.matches?.("input:not([type=checkbox]):not([type=range]), textarea, select, audio, video") ?? false;
}
