// Query media by id, so that Back and reload find them again: memory first, then IndexedDB.

const memory = new Map();
const KEEP = 50;

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("anymodal", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("media", { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

function run(mode, work) {
  return database().then(
    (db) =>
      new Promise((resolve, reject) => {
        const request = work(db.transaction("media", mode).objectStore("media"));
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      }),
  );
}

/** Keep a file or blob; its id. */
export async function keep(blob) {
  // The time leads, so that the oldest sort first.
  const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  memory.set(id, blob);
  try {
    await run("readwrite", (store) => store.put({ id, blob }));
    const ids = await run("readonly", (store) => store.getAllKeys());
    const saved = localStorage.getItem("saved") ?? ""; // addresses of searches, which need their files
    for (const old of ids.filter((key) => !saved.includes(key)).slice(0, -KEEP)) await run("readwrite", (store) => store.delete(old));
  } catch {
    // A private window may refuse; memory serves until the page is left.
  }
  return id;
}

/** The blob kept under an id, or null where this browser does not have it. */
export async function kept(id) {
  if (memory.has(id)) return memory.get(id);
  try {
    const row = await run("readonly", (store) => store.get(id));
    if (row) memory.set(id, row.blob);
    return row?.blob ?? null;
  } catch {
    return null;
  }
}
