// The newest observations as they come. The table holds so many rows and no more: a page that is open for a day does not
// grow. While it is paused, or a row has the focus, nothing moves below the reader.
import { byId, el, replace, text } from "./dom.js";
import { clock, count, ms, point } from "./format.js";
import { get } from "./live.js";
import { openPlan } from "./plan.js";

const most = 60;
const points = { early: "create_apply_plan", late: "publish_plan_post" };

export class Feed {
  #rows = []; // newest first
  #held = 0; // that came while paused
  #inside = false; // the pointer is over the rows
  #missed = 0; // that came too fast to be listed
  #paused = false;
  #asked = 0;
  #came = []; // by events since what is shown was asked for, newest first

  constructor() {
    this.body = byId("feed-rows");
    this.pause = byId("feed-pause");
    this.fields = { symbol: byId("filter-symbol"), plan_id: byId("filter-plan"), reason: byId("filter-reason"), obs_point: byId("filter-point") };
    this.pause.addEventListener("click", () => this.#setPaused(!this.#paused));
    let typing = 0;
    byId("feed-filter").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.load(), 250);
    });
    byId("feed-filter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.load();
    });
    // Rows do not run away from a pointer or a focus that is on them.
    this.body.addEventListener("pointerenter", (event) => (this.#inside = event.pointerType === "mouse"));
    this.body.addEventListener("pointerleave", () => this.#left());
    this.body.addEventListener("focusout", () => queueMicrotask(() => this.#left()));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-key]");
      const found = row && this.#rows.find((o) => key(o) === row.dataset.key);
      if (found) openPlan(found.plan_id);
    });
  }

  /** Asks for what the filter wants, from the whole of the history. */
  async load() {
    const mine = ++this.#asked;
    const want = this.#filter();
    const query = new URLSearchParams({ limit: most });
    for (const [name, value] of Object.entries(want)) if (value) query.set(name, value);
    this.#held = 0;
    this.#came = [];
    try {
      const answer = await get(`observations?${query}`);
      if (mine !== this.#asked) return;
      // The answer may have been on its way for long: what came by events meanwhile is newer.
      this.#rows = merged(this.#came, answer.observations);
      this.#missed = 0;
      this.#draw(true);
    } catch (err) {
      if (mine !== this.#asked) return;
      replace(this.body, el("tr", {}, el("td", { colspan: 8, class: "empty", role: "alert" }, `The observations cannot be shown: ${err.message}`)));
    }
  }

  /** Takes what came anew, newest first. */
  add({ observations, more }) {
    const want = this.#filter();
    const fits = observations.filter((o) => Object.entries(want).every(([name, value]) => !value || o[name] === value));
    if (this.#still()) {
      this.#held += fits.length;
      this.#words();
      return;
    }
    this.#missed = more;
    if (fits.length === 0) return;
    this.#came = merged(fits, this.#came);
    this.#rows = merged(fits, this.#rows);
    this.#draw();
  }

  #setPaused(paused) {
    this.#paused = paused;
    this.pause.setAttribute("aria-pressed", String(paused));
    text(this.pause, paused ? "Go on" : "Pause");
    this.#words();
    if (!paused) this.load();
  }

  #still() {
    return this.#paused || this.#inside || this.body.matches(":focus-within");
  }

  #left() {
    this.#inside = this.#inside && this.body.matches(":hover");
    if (!this.#still() && this.#held > 0) this.load();
  }

  #filter() {
    const want = Object.fromEntries(Object.entries(this.fields).map(([name, field]) => [name, field.value.trim()]));
    want.obs_point = points[want.obs_point] ?? "";
    return want;
  }

  #words() {
    const parts = [];
    if (this.#paused) parts.push(`paused, ${count(this.#held)} came since`);
    else if (this.#still()) parts.push(`held while you are at them, ${count(this.#held)} came since`);
    else if (this.#missed > 0) parts.push(`the newest of each second, ${count(this.#missed)} of the last one are left out`);
    else parts.push(`the newest ${count(Math.min(most, this.#rows.length))}`);
    text(byId("feed-words"), parts.join(", "));
  }

  #draw(anew = false) {
    this.#words();
    if (this.#rows.length === 0) {
      replace(this.body, el("tr", {}, el("td", { colspan: 8, class: "empty" }, "No observation fits.")));
      return;
    }
    if (anew) this.body.replaceChildren();
    // Rows that stay are kept, and with them focus and selection; what is beyond the end goes.
    const shown = new Map([...this.body.children].map((row) => [row.dataset.key, row]));
    let before = null;
    for (const o of this.#rows) {
      const row = shown.get(key(o)) ?? observation(o);
      shown.delete(key(o));
      const place = before ? before.nextSibling : this.body.firstChild;
      if (row !== place) this.body.insertBefore(row, place);
      before = row;
    }
    for (const row of shown.values()) row.remove();
  }
}

// Streams of several partitions may have the same entry ID.
const key = (o) => `${o.id} ${o.obs_point} ${o.plan_id}`;

/** The newest of both, each once and no more than are shown. */
function merged(some, others) {
  const all = new Map([...others, ...some].map((o) => [key(o), o]));
  return [...all.values()].sort(newestFirst).slice(0, most);
}

function newestFirst(a, b) {
  const [ms, seq] = a.id.split("-").map(Number);
  const [otherMs, otherSeq] = b.id.split("-").map(Number);
  return otherMs - ms || otherSeq - seq;
}

function observation(o) {
  const late = o.after_deadline ? el("span", { class: "quiet" }, " after the deadline") : null;
  return el("tr", { "data-id": o.id, "data-key": key(o) },
    el("td", { class: "time" }, clock(Date.parse(o.time), true)),
    el("td", {}, point(o.obs_point)),
    el("td", {}, el("button", { type: "button", class: "plain id" }, o.plan_id)),
    el("td", {}, o.symbol),
    el("td", {}, el("span", { class: "reason", "data-reason": o.reason, title: o.error || null }, o.reason), late),
    el("td", { class: "num" }, ms(o.wait_ms)),
    el("td", {}, o.heat_found ? `${o.heat_level} ${o.heat_score} ${o.heat_action}` : "–"),
    el("td", {}, o.decision || "–"));
}
