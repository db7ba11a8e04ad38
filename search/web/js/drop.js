// Files dropped on the page, or pasted into it.

import { byId } from "./dom.js";

const over = byId("drop-over");
let depth = 0;

const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

/** `onSearch(files)` and `onAdd(files)` by where files are dropped; pasted ones are searched with. */
export function startDrop({ onSearch, onAdd, adds }) {
  addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth += 1;
    over.hidden = false;
    over.classList.toggle("only-add", adds());
  });
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    mark(event.target.closest?.(".drop-target"));
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) over.hidden = true;
  });
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    over.hidden = true;
    const target = event.target.closest?.("[data-drop]")?.dataset.drop;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    if (target !== "add" && !adds()) onSearch(files);
    else onAdd(entries.some((entry) => entry.isDirectory) ? await filesOf(entries) : files);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    (adds() ? onAdd : onSearch)(files);
  });
}

function mark(target) {
  for (const one of over.querySelectorAll(".drop-target")) one.classList.toggle("aimed", one === target);
}

/** All files of dropped folders. */
async function filesOf(entries) {
  const found = await Promise.all(
    entries.map(async (entry) => {
      if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
      return filesOf(await children(entry));
    }),
  );
  return found.flat();
}

async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    // A reader gives a hundred at a time, and nothing at the end.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}
