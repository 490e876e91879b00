// The way of a plan as a picture: apply.plan to early and late to observed, with what moves on each edge. A part that is
// stuck is red and dashed, and says so in words below the picture.
import { byId, el, replace, svg } from "./dom.js";
import { compact, count, rate, seconds } from "./format.js";

// Where things stand in a wide picture and in a narrow one: boxes as x, y, width, height, labels as x, y, anchor.
const wide = {
  size: [1000, 300],
  plans: [8, 105, 176, 90],
  early: [420, 18, 190, 96],
  late: [420, 186, 190, 96],
  observed: [838, 105, 154, 90],
  edges: {
    "plans-early": ["M184 138 C 270 138, 320 66, 410 66", 300, 40, "middle"],
    "plans-late": ["M184 162 C 270 162, 320 234, 410 234", 300, 246, "middle"],
    "early-observed": ["M610 66 C 700 66, 750 138, 828 138", 730, 40, "middle"],
    "late-observed": ["M610 234 C 700 234, 750 162, 828 162", 730, 246, "middle"],
  },
};
const narrow = {
  size: [340, 500],
  plans: [80, 6, 180, 84],
  early: [4, 196, 156, 92],
  late: [180, 196, 156, 92],
  observed: [80, 406, 180, 84],
  edges: {
    "plans-early": ["M140 90 C 140 140, 82 130, 82 186", 4, 130, "start"],
    "plans-late": ["M200 90 C 200 140, 258 130, 258 186", 336, 130, "end"],
    "early-observed": ["M82 288 C 82 340, 140 340, 140 396", 4, 346, "start"],
    "late-observed": ["M258 288 C 258 340, 200 340, 200 396", 336, 346, "end"],
  },
};

export class Flow {
  constructor() {
    this.place = byId("flow-picture");
    this.flow = null;
    new ResizeObserver(() => this.#layout() !== this.drawn && this.#draw()).observe(this.place);
  }

  /** Shows the answer of api/v1/flow. */
  show(answer) {
    this.flow = answer;
    this.#draw();
    const list = byId("stuck");
    const words = answer.stuck.join("\n");
    if (list.dataset.words === words) return; // a screen reader is not told twice
    list.dataset.words = words;
    replace(list, answer.stuck.map((why) => el("li", {}, why)));
  }

  #layout() {
    return this.place.clientWidth < 640 ? narrow : wide;
  }

  #draw() {
    if (!this.flow) return;
    const at = (this.drawn = this.#layout());
    const nodes = byName(this.flow.nodes);
    const edges = byName(this.flow.edges);
    replace(
      this.place,
      svg("svg", { viewBox: `0 0 ${at.size.join(" ")}`, role: "img", "aria-label": words(nodes, edges) },
        svg("defs", {}, arrow("arrow", "arrow"), arrow("arrow-stuck", "alert")),
        Object.entries(at.edges).map(([id, [path, x, y, anchor]]) => edge(edges[id], edges[`plans-${edges[id].from}`], path, x, y, anchor)),
        box(at.plans, nodes.plans, "apply.plan", stream(nodes.plans), false),
        box(at.early, nodes.early, "early", observer(edges["plans-early"]), edges["plans-early"].stuck),
        box(at.late, nodes.late, "late", observer(edges["plans-late"]), edges["plans-late"].stuck),
        box(at.observed, nodes.observed, "observed", stream(nodes.observed), edges["early-observed"].stuck || edges["late-observed"].stuck),
      ),
    );
  }
}

const byName = (parts) => Object.fromEntries(parts.map((part) => [part.id, part]));
const stream = (node) => [rate(node.rate_per_sec), `${compact(node.length)} kept`];
const observer = (into) => [`${count(into.in_flight)} in flight`, `${count(into.pending)} pending${into.pending > 0 ? `, oldest ${seconds(into.oldest_pending_seconds)}` : ""}`];

function arrow(id, name) {
  return svg("marker", { id, viewBox: "0 0 10 10", refX: 8, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
    svg("path", { d: "M0 0 L10 5 L0 10 z", class: name }));
}

function box([x, y, width, height], node, name, [big, sub], stuck) {
  const middle = x + width / 2;
  const line = (down, kind, words) => svg("text", { x: middle, y: y + down, "text-anchor": "middle", class: kind }, words);
  return svg("g", { class: "node", "data-node": node.id, "data-stuck": stuck, "data-off": !node.enabled },
    svg("title", {}, node.name),
    svg("rect", { x, y, width, height, rx: 9 }),
    line(25, "name", stuck ? `${name}: stuck` : name),
    node.enabled ? [line(50, "big", big), line(71, "sub", sub)] : line(52, "sub", "switched off"));
}

// An edge into an observer says how far that is behind; one out of it, what its group has not written: that is counted at
// the edge into it.
function edge(part, into, path, x, y, anchor) {
  const lost = into ? into.dead_letters + into.dropped + into.trimmed : 0;
  const sub = into
    ? `dead ${count(into.dead_letters)}${into.dropped > 0 ? `, dropped ${count(into.dropped)}` : ""}${into.trimmed > 0 ? `, trimmed ${count(into.trimmed)}` : ""}`
    : `lag ${count(part.lag)}${part.behind_seconds >= 1 ? `, ${seconds(part.behind_seconds)} behind` : ""}`;
  return svg("g", { class: "edge", "data-edge": part.id, "data-stuck": part.stuck },
    svg("path", { d: path, "marker-end": `url(#${part.stuck ? "arrow-stuck" : "arrow"})` }),
    svg("text", { x, y, "text-anchor": anchor, class: "big" }, rate(part.rate_per_sec)),
    svg("text", { x, y: y + 18, "text-anchor": anchor, class: lost > 0 ? "alert" : "sub" }, sub));
}

// words are the picture for those who do not see it.
function words(nodes, edges) {
  const group = (name) => {
    const into = edges[`plans-${name}`];
    if (!nodes[name].enabled) return `${name} is switched off`;
    return `${name}${into.stuck ? " is stuck:" : ""} reads ${rate(into.rate_per_sec)}, lag ${count(into.lag)}, ${count(into.pending)} pending, ` +
      `${count(into.in_flight)} in flight, ${count(into.dead_letters)} dead letters, and writes ${rate(edges[`${name}-observed`].rate_per_sec)}`;
  };
  return `${rate(nodes.plans.rate_per_sec)} plans are published; ${group("early")}; ${group("late")}; ${rate(nodes.observed.rate_per_sec)} observations are written.`;
}
