// Dead letters: why each was given up, and the raw fields as they came.
import { byId, el, replace, text } from "./dom.js";
import { clock, count } from "./format.js";
import { get } from "./live.js";

const most = 20;
let shown = "";

/** Asks for the newest and shows them; an opened one stays open. */
export async function loadDead() {
  const { total, dead_letters: letters } = await get(`deadletters?limit=${most}`);
  text(byId("dead-words"), total === 0 ? "" : `${count(total)} in the stream${total > letters.length ? `, the newest ${letters.length} here` : ""}`);
  const ids = letters.map((l) => l.id).join(" ");
  if (shown === ids && shown !== "") return;
  shown = ids;
  const place = byId("dead-rows");
  const open = new Set([...place.querySelectorAll("details[open]")].map((d) => d.dataset.id));
  replace(place, letters.length === 0 ? el("p", { class: "quiet" }, "None: nothing was given up.") : letters.map((l) => letter(l, open.has(l.id))));
}

function letter(l, open) {
  const raw = el("div");
  const fill = (whole) => replace(raw, fields(whole));
  const details = el("details", { open, "data-id": l.id },
    el("summary", {}, el("strong", {}, l.reason), " ", el("span", { class: "quiet" }, `${clock(Date.parse(l.time))} · ${l.group} · entry ${l.entry_id}`)),
    el("p", {}, l.error),
    el("p", { class: "words" }, l.redrivable ? "It can be redriven as it is." : `It cannot be redriven as it is: ${l.refused}`),
    raw);
  if (l.raw !== null) {
    fill(l);
  } else {
    const button = el("button", { type: "button", onclick: async () => {
      try {
        fill(await get(`deadletters/${encodeURIComponent(l.id)}`));
      } catch (err) {
        replace(raw, el("p", { role: "alert" }, err.message));
      }
    } }, `Show the raw fields (${count(l.raw_bytes)} bytes)`);
    raw.append(button);
  }
  return details;
}

function fields({ raw }) {
  if (raw === null || typeof raw !== "object") return el("dl", {}, el("dt", {}, "raw"), el("dd", {}, String(raw)));
  return el("dl", {}, Object.entries(raw).map(([name, value]) => [
    el("dt", {}, name), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
  ]));
}
