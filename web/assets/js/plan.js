// The timeline of one plan, in a dialog: opened from a row, closed with Escape or its button, after which the focus is
// back on the row's button.
import { byId, el, replace } from "./dom.js";
import { clock, ms } from "./format.js";
import { get } from "./live.js";

const names = {
  published: "published", read: "read", unread: "not read yet", decision: "heat decided", hash: "heat hash written",
  observation: "observed", dedupe_key: "dedupe key set", dead_letter: "dead letter",
};

const dialog = byId("plan");
let asked = 0;

export async function openPlan(id) {
  const mine = ++asked;
  replace(byId("plan-title"), "Plan ", el("span", { class: "id" }, id));
  const body = byId("plan-body");
  replace(body, el("p", { class: "quiet" }, "Looking through the streams…"));
  if (!dialog.open) dialog.showModal();
  try {
    const trace = await get(`plans?plan_id=${encodeURIComponent(id)}`);
    if (mine === asked) replace(body, timeline(trace));
  } catch (err) {
    if (mine === asked) replace(body, el("p", { role: "alert" }, `The timeline cannot be shown: ${err.message}`));
  }
}

// A click beside the dialog closes it as well: the backdrop belongs to the dialog itself.
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => {
  if (dialog.open) return; // it comes late, and the next plan has been opened already
  asked++;
  replace(byId("plan-body"));
});

function timeline(trace) {
  const notes = (trace.notes ?? []).map((note) => el("p", { class: "words" }, note));
  if (!trace.found) return [el("p", {}, "Nothing is known of this plan any more."), notes];
  return [
    el("ol", { class: "timeline" }, trace.events.map((event) =>
      el("li", {},
        el("span", { class: "after" }, event.after_ms === null ? "" : `+${ms(event.after_ms)}`),
        el("span", { class: "what" }, names[event.what] ?? event.what),
        el("span", { class: "quiet" }, when(event)),
        el("dl", {},
          el("dt", {}, "where"), el("dd", {}, event.where),
          event.entry_id ? [el("dt", {}, "entry"), el("dd", {}, event.entry_id)] : null,
          Object.entries(event.detail ?? {}).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))))),
    notes,
  ];
}

function when(event) {
  if (event.time_unknown) return "time unknown";
  return `${event.estimated ? "about " : ""}${clock(Date.parse(event.time), true)}`;
}
