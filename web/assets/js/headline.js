// The one number: late coverage now, beside the early one and that of a day ago, and the verdict in words.
import { byId, el, replace, text } from "./dom.js";
import { compact, count, local, ms, percent, points, round, seconds } from "./format.js";

export function showSummary(s) {
  const share = percent(s.late.coverage);
  const number = byId("headline");
  if (number.dataset.share !== share) {
    number.dataset.share = share;
    const [digits, unit] = share.endsWith(" %") ? [share.slice(0, -2), "%"] : [share, ""];
    replace(number, digits, unit && el("span", { class: "unit" }, unit));
  }
  text(byId("headline-window"), s.late.enabled ? `the last ${seconds(s.window_seconds)}` : "switched off");
  const verdict = byId("verdict");
  verdict.dataset.level = s.verdict.state;
  text(verdict, s.verdict.text);
  document.title = `${share} · Heat observer`;
  text(byId("clock"), new Date(s.time).toLocaleTimeString("en-GB"));

  const day = s.day_ago;
  const delay = s.readers_delay_ms;
  facts([
    ["Early coverage", percent(s.early.coverage), s.early.enabled ? `${count(s.early.found)} of ${count(s.early.observations - s.early.after_deadline)} plans` : "switched off"],
    ["Late, found in time", count(s.late.found), `of ${count(s.late.observations - s.late.after_deadline)} plans`],
    ["24 h ago", day.available && day.late ? percent(day.late.coverage) : "–", day.available && day.late ? `${points(s.late.coverage, day.late.coverage)} points since; early ${percent(day.early?.coverage)}` : local(day.note)],
    ["Wait until found", ms(s.late.wait_ms?.p50), `p99 ${ms(s.late.wait_ms?.p99)} of ${round(s.wait.max_wait_ms)}`],
    ["Advised max wait", round(s.wait.advised_max_wait_ms), s.wait.advised_because],
    ["Readers’ delay", ms(delay?.p50), `p99 ${ms(delay?.p99)}: what early waits before it looks`],
    ["Found after the deadline", count(s.late.after_deadline), "left out of every coverage"],
    ["Lost to every coverage", compact(s.lost.dropped + s.lost.trimmed + s.lost.dead_letters), `${count(s.lost.dropped)} dropped, ${count(s.lost.trimmed)} trimmed, ${count(s.lost.dead_letters)} dead letters`],
  ]);
  const banner = byId("banner");
  banner.hidden = s.redis.reachable;
  text(banner, s.redis.reachable ? "" : `Redis does not answer: ${s.redis.error}. What is shown is of ${new Date(s.redis.as_of).toLocaleTimeString("en-GB")}.`);
}

// facts are made once; later only what changed is written.
function facts(rows) {
  const list = byId("facts");
  if (list.children.length !== rows.length) {
    replace(list, rows.map(([name]) => el("div", {}, el("dt", {}, name), el("dd"), el("dd"))));
  }
  rows.forEach(([name, value, more], i) => {
    const [dt, dd, note] = list.children[i].children;
    text(dt, name);
    text(dd, value);
    text(note, more);
  });
}
