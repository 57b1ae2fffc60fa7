// The feeds: a list of rows that open to show the sources.

import { changeOf, draw, sparkline } from "./charts.js";
import { el, explain, keep, list, number, plain, put, say } from "./dom.js";
import { band, change, integer, many, moment, NONE, price, relative, span } from "./format.js";
import { STATUSES } from "./model.js";

const LABELS = { live: "Live", degraded: "Degraded", carried: "Carried", halted: "Halted", unavailable: "Unavailable" };

/** What kind of price it is, where it is no present one. */
const WORDS = { known: "last known", halted: "before the halt", carried: "kept" };

/** Why a feed has its status, in words; the keys are the API's. */
export const CAUSES = {
  never_agreed: "never agreed so far",
  lacked: "too many members lack it",
  carry_expired: "the last agreement is too long ago",
  unrepresentable: "the price does not fit",
  no_live_price: "sources disagree, and there is no earlier price to keep",
  too_few_observations: "too few observations this round",
  wide_confidence: "sources disagree more than usual",
  high_risk: "members report that sources are missing",
  healing: "on its way back after a halt",
  jump: "the price moved farther than its volatility explains",
  dispersion: "sources disagree too much",
};

/** Return a status in words, as one of the past while nobody confirms it. */
function label(status, isConfirmed) {
  return isConfirmed || status === "unavailable" ? LABELS[status] : `Was ${LABELS[status].toLowerCase()}`;
}

const byId = (id) => document.getElementById(id);

export class Feeds {
  query = "";
  wanted = "all";
  /** Names of the feeds that are open. */
  open = new Set();
  announced = "";

  /** `onOpen(name)` is called when a feed's sources are wanted. */
  constructor(model, onOpen) {
    this.model = model;
    this.onOpen = onOpen;
    this.chips = new Map(["all", ...STATUSES].map((status) => [status, this.chip(status)]));
    byId("chips").append(...[...this.chips.values()].map((chip) => chip.node));
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
    byId("search").addEventListener("input", (event) => {
      this.query = event.target.value;
      this.render(true);
    });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  chip(status) {
    const input = el("input", { type: "radio", name: "status", value: status, checked: status === "all" });
    const word = el("span", {}, status === "all" ? "All" : LABELS[status]);
    const count = el("span", { class: "count" });
    const node = el("label", { class: `chip ${status}` }, input, word, count);
    input.addEventListener("change", () => {
      this.wanted = status;
      this.render(true);
    });
    return { node, word, count };
  }

  key(event) {
    const search = byId("search");
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && event.target === search && search.value) {
      search.value = this.query = "";
      this.render(true);
    }
  }

  /** Return the status that may be shown: nothing is live that nobody confirms. */
  shown(feed) {
    if (feed.status === "unavailable") return "unavailable";
    return this.model.hears() ? feed.status : "known";
  }

  matches(feed) {
    if (this.wanted !== "all" && feed.status !== this.wanted) return false;
    const words = this.query.trim().toLowerCase().split(/\s+/);
    const text = `${feed.name} ${feed.name.replace("/", "")} ${feed.status}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }

  render(searched = false) {
    const { model } = this;
    const all = [...model.feeds.values()];
    const found = all.filter((feed) => this.matches(feed));
    const counts = new Map();
    for (const feed of all) counts.set(feed.status, (counts.get(feed.status) ?? 0) + 1);
    for (const [status, chip] of this.chips) {
      const count = status === "all" ? all.length : (counts.get(status) ?? 0);
      say(chip.count, String(count));
      if (status !== "all") say(chip.word, label(status, model.hears()));
      chip.node.hidden = status !== "all" && !count && this.wanted !== status;
    }
    const loading = !all.length && model.mode() === "loading";
    const rows = byId("feed-list");
    put(rows, "aria-busy", String(loading));
    if (loading) {
      if (!rows.querySelector(".skeleton")) rows.append(...Array.from({ length: 4 }, () => el("li", { class: "skeleton" })));
    } else {
      for (const one of rows.querySelectorAll(".skeleton")) one.remove();
      keep(rows, found, (feed) => feed.name, (feed) => this.row(feed), (row, feed) => this.fill(row, feed));
    }
    explain(byId("feed-empty"), loading ? "" : this.emptiness(all, found));
    const text = `${many(found.length, "feed")} of ${all.length}`;
    if (searched && text !== this.announced) say(byId("found"), (this.announced = text));
  }

  emptiness(all, found) {
    if (found.length) return "";
    if (all.length) return "No feed matches. Clear the filter to see all.";
    const mode = this.model.mode();
    if (mode === "down") return "Nothing is known yet: the node does not answer.";
    return mode === "starting" ? "The node has nothing to show yet." : "This network has no feeds.";
  }

  row(feed) {
    const id = `feed-${(this.rows = (this.rows ?? 0) + 1)}`;
    const chart = sparkline();
    const row = {
      chart,
      button: el("button", { type: "button", class: "open", "aria-expanded": "false", "aria-controls": id }, el("bdi", {}, feed.name)),
      price: el("data", { class: "price" }),
      word: el("span", { class: "word" }),
      band: el("span", { class: "half" }),
      relative: el("span", { class: "muted" }),
      change: el("span", { class: "change" }),
      status: el("span", { class: "status" }),
      cause: el("span", { class: "cause muted" }),
      age: el("span", {}),
      members: el("span", {}),
      sources: el("span", {}),
      details: el("div", { class: "details", id, hidden: true }),
    };
    const field = (name, term, ...content) => el("div", { class: `field ${name}` }, el("dt", {}, term), el("dd", {}, ...content));
    row.head = el(
      "div",
      { class: "head" },
      el("h3", {}, row.button),
      el(
        "dl",
        {},
        field("price-field number", "Price", row.price, row.word),
        field("band-field number", "Confidence", row.band, row.relative),
        field("chart-field", "Last 5 minutes", el("span", { class: "chart" }, chart.node, chart.dot), row.change),
        field("status-field", "Status", row.status, row.cause),
        field("age-field number", "Age", row.age),
        field("members-field number", "Members", row.members),
        field("sources-field number", "Sources", row.sources),
      ),
    );
    row.node = el("li", { class: "feed" }, row.head, row.details);
    row.button.addEventListener("click", () => this.toggle(feed.name, row));
    return row;
  }

  toggle(name, row) {
    if (!this.open.delete(name)) {
      this.open.add(name);
      this.onOpen(name);
    }
    put(row.button, "aria-expanded", String(this.open.has(name)));
    row.details.hidden = !this.open.has(name);
    this.render();
  }

  fill(row, feed) {
    const now = this.model.clock.now();
    const shown = this.shown(feed);
    const about = feed.about;
    const committee = number(this.model.status?.committee?.members);
    put(row.node, "data-status", shown);
    say(row.price, feed.price === null ? NONE : price(feed.price));
    put(row.price, "value", feed.price);
    put(row.price, "title", feed.price);
    say(row.word, feed.price === null ? "" : (WORDS[shown] ?? ""));
    const hasBand = feed.price !== null;
    say(row.band, hasBand ? band(feed.price, feed.ppm) : NONE);
    say(row.relative, hasBand ? relative(feed.ppm) : "");
    const ratio = changeOf(feed.points, now);
    say(row.change, ratio === null ? "" : change(ratio));
    put(row.change, "data-sign", ratio === null ? null : String(Math.sign(Math.round(ratio * 1e4))));
    if (!row.drawn || now - row.drawn > 900 || row.drawnAs !== shown) {
      draw(row.chart, feed.points, now, shown === "live" || shown === "degraded");
      row.drawn = now;
      row.drawnAs = shown;
    }
    say(row.status, label(feed.status, shown !== "known"));
    put(row.status, "data-status", shown);
    say(row.cause, feed.cause && feed.cause !== "none" ? (CAUSES[feed.cause] ?? feed.cause.replaceAll("_", " ")) : "");
    say(row.age, feed.agreedMs === null ? "never" : span(now - feed.agreedMs));
    const observers = about ? list(about.observers).length : null;
    say(row.members, observers === null ? NONE : committee ? `${observers}/${committee}` : String(observers));
    say(row.sources, about ? `${integer(number(about.sources_used))}/${integer(number(about.sources_all))}` : NONE);
    const short = about && number(about.sources_used) !== null && about.sources_used * 2 < about.sources_all;
    put(row.sources, "class", short ? "few" : null);
    if (this.open.has(feed.name)) this.fillDetails(row, feed, now);
  }

  fillDetails(row, feed, now) {
    if (!row.facts) {
      row.facts = el("dl", { class: "facts" });
      row.sourceNote = el("p", { class: "muted" });
      row.sourceBody = el("tbody");
      row.sourceTable = el(
        "table",
        { class: "sources" },
        el("caption", {}, "Sources, as this node sees them"),
        el("thead", {}, el("tr", {}, ...["Venue", "State", "Counts", "Age"].map((name) => el("th", { scope: "col", class: name === "Age" ? "number" : null }, name)))),
        row.sourceBody,
      );
      row.details.append(row.facts, row.sourceNote, row.sourceTable);
    }
    const about = feed.about ?? {};
    const missing = this.model.members().map((member) => member.name).filter((name) => !list(about.observers).includes(name));
    const facts = [
      ["Exact price", feed.price ?? NONE],
      ["Confidence", feed.ppm === null ? "unknown" : `${integer(feed.ppm)} ppm`],
      ["Agreed at", feed.agreedMs === null ? "never" : moment(feed.agreedMs, now)],
      ["On chain after", `${relative(number(about.deviation_ppm))} or ${span(number(about.heartbeat_ms))}`],
      ["Risk tier", plain(about.tier) || NONE],
      ["Not observing", missing.length ? missing.join(", ") : "nobody"],
    ];
    keep(row.facts, facts, ([term]) => term, ([term]) => {
      const value = el("dd", {});
      return { node: el("div", {}, el("dt", {}, term), value), value };
    }, (fact, [, text]) => say(fact.value, text));
    const known = this.model.sources.get(feed.name);
    const sources = list(known?.document?.sources);
    row.sourceTable.hidden = !sources.length;
    say(row.sourceNote, known?.error ?? (known ? (plain(known.document.shortage, 120) ? `This node has no own price: ${plain(known.document.shortage, 120)}.` : "") : "Loading sources"));
    row.sourceNote.hidden = !row.sourceNote.textContent;
    const elapsed = known ? performance.now() - known.hereAt : 0;
    keep(row.sourceBody, sources, (source) => `${source?.venue} ${source?.pair}`, () => this.sourceRow(), (view, source) => fillSource(view, source, elapsed));
  }

  sourceRow() {
    const row = {
      venue: el("bdi", {}),
      pair: el("span", { class: "muted" }),
      state: el("span", { class: "state" }),
      reason: el("span", { class: "muted reason" }),
      use: el("td", {}),
      age: el("td", { class: "number" }),
    };
    row.node = el("tr", {}, el("th", { scope: "row" }, row.venue, row.pair), el("td", {}, row.state, row.reason), row.use, row.age);
    return row;
  }
}

const USES = { used: "yes", outlier: "yes, outlier", rejected: "no", unused: "no", unknown: NONE };

function fillSource(row, source, elapsedMs) {
  const state = plain(source?.state, 20) || "waiting";
  say(row.venue, plain(source?.venue, 40).replaceAll("_", " "));
  say(row.pair, plain(source?.pair, 30) + (source?.converted ? ", converted" : ""));
  say(row.state, state);
  put(row.state, "data-state", state);
  say(row.reason, plain(source?.reason, 120));
  say(row.use, USES[source?.use] ?? NONE);
  const age = number(source?.age_ms);
  say(row.age, age === null ? NONE : span(age + elapsedMs));
}
