// The list of all keys.

import { button, byId, el } from "./dom.js";
import { t } from "./i18n.js";
import { lettersOff, switchLetters } from "./shortcuts.js";

const dialog = byId("help");

/** [keys as shown, what they do] */
const LIST = [
  [["/"], t("Go to the search box")],
  [["Enter"], t("Search; on a result, open it")],
  [["↑", "↓", "←", "→"], t("Walk through the results")],
  [["p"], t("Play the result from the moment found")],
  [["m"], t("More like the result")],
  [["x"], t("Select the result")],
  [["#"], t("Tag the selected files")],
  [["r"], t("Record a sound, and search with it")],
  [["f"], t("Filters")],
  [["w"], t("Where the search spent its time")],
  [["b"], t("Save this search, or forget it")],
  [["s"], t("Search")],
  [["a"], t("Add files")],
  [["l"], t("Latency")],
  [["t"], t("Light or dark")],
  [["Esc"], t("Close, or leave the search box")],
  [["?"], t("This list")],
];

/** Show it. */
export function showHelp() {
  const letters = el("input", { type: "checkbox", on: { change: (event) => switchLetters(event.target.checked) } });
  letters.checked = !lettersOff();
  dialog.replaceChildren(
    el("h2", { id: "help-title" }, t("Keyboard")),
    el("dl", { class: "keys" }, LIST.map(([keys, what]) => el("div", {}, el("dt", {}, keys.map((key) => el("kbd", {}, key))), el("dd", {}, what)))),
    el("p", { class: "hint" }, t("In the search box, -word leaves out results like the word; Backspace at its start goes to the search terms.")),
    el("label", { class: "check" }, letters, " ", t("Single letters are shortcuts")),
    el("div", { class: "row" }, button("go", t("Close"), () => dialog.close())),
  );
  dialog.showModal();
}
