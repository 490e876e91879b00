// Dead letters: why each was given up, and the raw fields as they came.
import { byId, el, replace, text } from "./dom.js";
import { clock, count } from "./format.js";
import { get } from "./live.js";

const most = 20;
const fields = { reason: byId("dead-reason"), group: byId("dead-group") };
const known = { reason: new Set(), group: new Set() }; // what has been met, to choose from
let shown = "";
let asked = 0;

/** Asks for the newest that the filter wants and shows them; an opened one stays open. */
export async function loadDead() {
  const mine = ++asked;
  const query = new URLSearchParams({ limit: most });
  for (const [name, field] of Object.entries(fields)) if (field.value.trim()) query.set(name, field.value.trim());
  const filtered = query.size > 1;
  const { total, dead_letters: letters } = await get(`deadletters?${query}`);
  if (mine !== asked) return;
  const some = filtered ? `, the newest ${letters.length} of the newest 200 that fit here` : total > letters.length ? `, the newest ${letters.length} here` : "";
  text(byId("dead-words"), total === 0 ? "" : `${count(total)} in the stream${some}`);
  suggest(letters);
  const ids = letters.map(key).join("\n");
  if (shown === ids && shown !== "") return;
  shown = ids;
  const place = byId("dead-rows");
  const open = new Set([...place.querySelectorAll("details[open]")].map((d) => d.dataset.key));
  const none = filtered && total > 0 ? "No dead letter fits." : "None: nothing was given up.";
  replace(place, letters.length === 0 ? el("p", { class: "quiet" }, none) : letters.map((l) => letter(l, open.has(key(l)))));
}

// Dead letters of several partitions may have the same ID.
const key = (l) => `${l.id} ${l.stream}`;

let typing = 0;
byId("dead-filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(filter, 250);
});
byId("dead-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  filter();
});

function filter() {
  loadDead().catch((err) => {
    shown = "";
    replace(byId("dead-rows"), el("p", { role: "alert" }, `The dead letters cannot be shown: ${err.message}`));
  });
}

function suggest(letters) {
  for (const [name, values] of Object.entries(known)) {
    for (const l of letters) if (values.size < 50) values.add(l[name]);
    replace(byId(`dead-${name}s`), [...values].sort().map((value) => el("option", { value })));
  }
}

function letter(l, open) {
  const raw = el("div");
  const fill = (whole) => replace(raw, rawFields(whole));
  const details = el("details", { open, "data-key": key(l) },
    el("summary", {}, el("strong", {}, l.reason), " ", el("span", { class: "quiet" }, `${clock(Date.parse(l.time))} · ${l.group} · entry ${l.entry_id}`)),
    el("p", {}, l.error),
    el("p", { class: "words" }, l.redrivable ? "It can be redriven as it is." : `It cannot be redriven as it is: ${l.refused}`),
    raw);
  if (l.raw !== null) {
    fill(l);
  } else {
    const button = el("button", { type: "button", onclick: async () => {
      try {
        fill(await get(`deadletters/${l.id}?${new URLSearchParams(l.stream ? { stream: l.stream } : {})}`));
      } catch (err) {
        replace(raw, el("p", { role: "alert" }, err.message));
      }
    } }, `Show the raw fields (${count(l.raw_bytes)} bytes)`);
    raw.append(button);
  }
  return details;
}

function rawFields({ raw }) {
  if (raw === null || typeof raw !== "object") return el("dl", {}, el("dt", {}, "raw"), el("dd", {}, String(raw)));
  return el("dl", {}, Object.entries(raw).map(([name, value]) => [
    el("dt", {}, name), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
  ]));
}
