// Server-sent events over fetch: EventSource cannot send an API key.

import { request } from "./api.js";

/** Yield {event, data} of a stream until it ends. */
export async function* events(path, signal) {
  const answer = await request(path, { headers: { Accept: "text/event-stream" }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event.data) yield event;
    }
  }
}

/** One block of lines; comments, which keep a connection alive, have no data. */
function parse(block) {
  const event = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at < 1) continue;
    const [name, value] = [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
    if (name === "event") event.event = value;
    if (name === "data") event.data += event.data ? `\n${value}` : value;
  }
  return event;
}
