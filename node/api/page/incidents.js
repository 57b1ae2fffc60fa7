// What happened lately: changes of feeds' statuses, evidence of offences, alarms of fairness.

import { el, explain, keep, list, number, plain, put, say } from "./dom.js";
import { CAUSES } from "./feeds.js";
import { integer, many, moment } from "./format.js";

const SHOWN = 12;
/** With few feeds there is room below them. */
const FEW_FEEDS = 8;
const byId = (id) => document.getElementById(id);

const ALARMS = {
  left_out: "Leader leaves a member out",
  own_left_out: "Leader leaves this node out",
  own_left_out_by_most: "Most leaders leave this node out",
  price_bias: "Leader bends a price",
};

export class Incidents {
  all = false;

  constructor(model) {
    this.model = model;
    byId("more").addEventListener("click", () => {
      this.all = !this.all;
      this.render();
    });
  }

  render() {
    const { model } = this;
    const told = model.incidents;
    if (model.feeds.size) this.place(model.feeds.size <= FEW_FEEDS ? byId("wide") : byId("narrow"));
    const now = model.clock.now();
    const alarms = list(told?.fairness_alarms).map((alarm) => ({
      key: `${alarm?.kind} ${alarm?.leader} ${alarm?.member} ${alarm?.feed} ${alarm?.side}`,
      tone: "warn",
      title: ALARMS[alarm?.kind] ?? "Alarm of fairness",
      text: plain(alarm?.text, 400),
      tag: "on now",
      atMs: null,
    }));
    byId("alarm-list").hidden = !alarms.length;
    fillList(byId("alarm-list"), alarms, now);
    const entries = [...list(told?.incidents).map(entryOf), ...list(told?.evidence).map(evidenceOf)]
      .filter(Boolean)
      .sort((one, other) => other.atMs - one.atMs);
    const counts = new Map();
    for (const entry of entries) {
      // Several of one kind may share a moment.
      const count = (counts.get(entry.key) ?? 0) + 1;
      counts.set(entry.key, count);
      entry.key += ` ${count}`;
    }
    fillList(byId("incident-list"), this.all ? entries : entries.slice(0, SHOWN), now);
    const more = byId("more");
    more.hidden = entries.length <= SHOWN;
    say(more, this.all ? "Show fewer" : `Show all ${integer(entries.length)}`);
    put(more, "aria-expanded", String(this.all));
    say(byId("incidents-note"), entries.length ? many(entries.length, "entry", "entries") : "");
    const since = number(told?.since_ms);
    const nothing = told ? `Nothing since ${since === null ? "the node's start" : moment(since, now)}.` : "Loading incidents";
    explain(byId("incident-empty"), entries.length || alarms.length ? "" : model.mode() === "down" && !told ? "Nothing is known yet." : nothing);
  }

  place(column) {
    const section = byId("incidents");
    if (section.parentNode !== column && !section.contains(document.activeElement)) column.append(section);
  }
}

function entryOf(incident) {
  const atMs = number(incident?.at_ms);
  if (atMs === null) return null;
  if (incident.kind === "feed_status") {
    const status = plain(incident.status, 20);
    const cause = plain(incident.cause, 40);
    const before = plain(incident.before, 20);
    const why = cause === "none" ? "" : (CAUSES[cause] ?? cause.replaceAll("_", " "));
    return {
      key: `${atMs} ${incident.feed} ${status} ${cause}`,
      tone: { live: "good", halted: "bad", unavailable: "bad" }[status] ?? "warn",
      title: `${plain(incident.feed, 40)} ${status}`,
      text: [why, before && before !== status ? `was ${before}` : ""].filter(Boolean).join("; "),
      atMs,
    };
  }
  const ended = incident.kind === "fairness_ended";
  return {
    key: `${atMs} ${incident.kind} ${incident.alarm} ${incident.leader} ${incident.member} ${incident.feed}`,
    tone: ended ? "good" : "warn",
    title: (ALARMS[incident.alarm] ?? "Alarm of fairness") + (ended ? ": over" : ""),
    text: ended ? [incident.leader, incident.member, incident.feed].map((name) => plain(name, 40)).filter(Boolean).join(", ") : plain(incident.text, 400),
    atMs,
  };
}

function evidenceOf(offence) {
  const atMs = number(offence?.found_at_ms);
  if (atMs === null) return null;
  return {
    key: `evidence ${offence.id} ${offence.member}`,
    tone: "bad",
    title: `Evidence against ${plain(offence.member, 40)}`,
    text: `${plain(offence.kind, 60).replaceAll("_", " ")} in epoch ${integer(number(offence.epoch))}, view ${integer(number(offence.view))}`,
    atMs,
  };
}

function fillList(box, entries, now) {
  keep(
    box,
    entries,
    (entry) => entry.key,
    (entry) => {
      const row = { title: el("bdi", { class: "title" }), text: el("span", { class: "muted" }), time: el("time", {}) };
      row.node = el("li", { "data-tone": entry.tone }, el("p", {}, row.title, row.time), row.text);
      return row;
    },
    (row, entry) => {
      say(row.title, entry.title);
      say(row.text, entry.text);
      say(row.time, entry.tag ?? moment(entry.atMs, now));
      const date = new Date(entry.atMs ?? Number.NaN);
      put(row.time, "datetime", Number.isNaN(date.getTime()) ? null : date.toISOString());
    },
  );
}
