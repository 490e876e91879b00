// The fleet: a row for each worker, the dead and the drained marked.
import { byId, el, replace, text } from "./dom.js";
import { count, percent, seconds } from "./format.js";

const levels = { alive: "good", draining: "warn", drained: "", dead: "bad" };
const order = ["dead", "draining", "alive", "drained"];
const most = 200; // rows; what is beyond is counted

export function showWorkers({ total, workers }) {
  const alive = workers.filter((w) => w.state === "alive").length;
  const rest = Object.keys(levels).filter((s) => s !== "alive").map((s) => [s, workers.filter((w) => w.state === s).length]).filter(([, n]) => n > 0);
  text(byId("fleet-words"), [`${alive} alive`, ...rest.map(([state, n]) => `${n} ${state}`), total > most ? `${total} in all` : ""].filter(Boolean).join(", "));
  const sorted = workers.toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || (b.share ?? 0) - (a.share ?? 0));
  const rows = byId("fleet-rows");
  if (sorted.length === 0) {
    replace(rows, el("tr", {}, el("td", { colspan: 7, class: "empty" }, "No worker has read yet.")));
    return;
  }
  replace(rows, sorted.slice(0, most).map((w) =>
    el("tr", { "data-state": w.state, "data-worker": w.name },
      el("td", { class: "id" }, w.name, w.this ? el("span", { class: "quiet" }, " (serves this page)") : null),
      el("td", {}, el("span", { class: "badge", "data-level": levels[w.state] }, w.state)),
      el("td", {}, w.groups.map((g) => g.group).join(", ")),
      el("td", { class: "num" }, percent(w.share)),
      el("td", { class: "num" }, count(w.groups.reduce((sum, g) => sum + g.pending, 0))),
      el("td", { class: "num" }, seconds(w.idle_seconds)),
      el("td", {}, w.version ?? "–"))));
}
