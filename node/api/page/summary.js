// The head of the page: whether anything here is live, and the network's figures.

import { el, keep, list, number, plain, put, say } from "./dom.js";
import { coarse, integer, latency, many, moment, NONE, span } from "./format.js";

const byId = (id) => document.getElementById(id);

const PILLS = {
  loading: "Connecting",
  starting: "Node starting",
  live: "Live",
  asking: "Live, by polling",
  silent: "Silent",
  down: "Disconnected",
};

const SPOKEN = {
  live: "Connected. Prices are live.",
  asking: "Connected by polling. Prices are live.",
  silent: "The network is silent: no new certificate. Prices are the last known, not live.",
  down: "Disconnected from the node. Prices are the last known, not live.",
  starting: "The node has no report yet.",
};

export class Summary {
  spoken = "";

  constructor(model) {
    this.model = model;
  }

  render() {
    const { model } = this;
    const mode = model.mode();
    put(document.body, "data-mode", mode);
    say(byId("connection-text"), PILLS[mode]);
    if (SPOKEN[mode] && mode !== this.spoken) {
      // What is only the normal beginning is not worth a word.
      if (this.spoken || mode !== "live") say(byId("announcer"), SPOKEN[mode]);
      this.spoken = mode;
    }
    document.title = mode === "live" || mode === "asking" ? this.name() : `${PILLS[mode]} – ${this.name()}`;
    this.banner(mode);
    this.notices();
    this.identity();
    this.figures(mode);
  }

  name() {
    const network = plain(this.model.status?.network?.name, 40);
    return network ? `Didyma · ${network}` : "Didyma";
  }

  banner(mode) {
    const { model } = this;
    const banner = byId("banner");
    const last = model.newest ? moment(model.newest.atMs, model.clock.now()) : null;
    let text = "";
    if (mode === "down") {
      text = "This page does not reach the node and tries again. ";
      text += last ? `Everything below is as of ${last}; no price is live.` : "Nothing is known yet.";
    } else if (mode === "silent") {
      text = `No certificate for ${coarse(model.silentMs())}. Prices below are the last known, of ${last}; none is live.`;
    } else if (mode === "starting") {
      text = `${model.refusal || "No report yet"}. The page shows the first one as soon as there is one.`;
      text = text[0].toUpperCase() + text.slice(1);
    }
    say(banner, text);
    put(banner, "class", `banner ${mode === "down" ? "bad" : "warn"}`);
    banner.hidden = !text;
  }

  notices() {
    const { status } = this.model;
    const texts = [
      ...list(status?.reasons).map((text) => ({ kind: "Not ready", text: plain(text, 300) })),
      ...list(status?.warnings).map((text) => ({ kind: "Warning", text: plain(text, 300) })),
    ].slice(0, 8);
    const box = byId("notices");
    box.hidden = !texts.length || this.model.mode() === "down";
    keep(
      box,
      // Numbers in a reason change every second; its words make it the same one.
      texts.map((one, place) => ({ ...one, place })),
      (one) => `${one.kind} ${one.place}`,
      ({ kind }) => {
        const text = el("span", {});
        return { node: el("li", {}, el("strong", {}, kind), text), text };
      },
      (view, one) => say(view.text, one.text),
    );
  }

  identity() {
    const { status } = this.model;
    if (!status) return;
    const member = plain(status.node?.member, 40);
    const network = plain(status.network?.name, 40);
    say(byId("where"), [network, member ? `node ${member}` : "a node that follows"].filter(Boolean).join(" · "));
    say(byId("version"), plain(status.node?.version, 20) ? `Didyma ${plain(status.node.version, 20)}` : "");
  }

  figures(mode) {
    const { model } = this;
    const { newest, status } = model;
    const members = model.members();
    const quorum = number(status?.committee?.quorum);
    const size = number(status?.committee?.members);
    const silent = model.silentMs();
    const signed = newest ? newest.signers.length : null;
    const active = members.length && members.some((one) => one.state !== "unknown")
      ? members.filter((one) => one.state !== "absent").length
      : null;
    // While nothing is certified nobody here knows who is still there.
    const unknown = !model.hears();
    const spare = active === null || quorum === null ? null : active - quorum;
    const late = members.filter((one) => one.state === "absent" || one.state === "late");
    const round = status?.latency_ms?.observation_to_certificate;
    const rate = mode === "down" ? null : model.rate();
    const days = number(status?.configuration?.days_left);
    const figures = [
      {
        term: "Newest certificate",
        value: newest ? `${span(silent)} ago` : NONE,
        note: newest ? `epoch ${integer(newest.epoch)}, view ${integer(newest.view)}` : "none yet",
        tone: silent !== null && !model.hears() ? "warn" : "",
      },
      {
        term: "Signed by",
        value: signed === null || size === null ? NONE : `${signed} of ${size}`,
        note: quorum === null ? "" : margin(signed, quorum),
      },
      {
        term: "Taking part",
        value: active === null || size === null || unknown ? NONE : `${active} of ${size}`,
        note: spare === null ? "" : unknown ? `${active} of ${size} at the last certificate` : reserve(spare),
        tone: spare === null || unknown || spare > 0 || size === 1 ? "" : spare === 0 ? "warn" : "bad",
      },
      {
        term: "Late or absent",
        value: active === null || unknown ? NONE : late.length ? String(late.length) : "Nobody",
        note: unknown ? "" : late.slice(0, 3).map((one) => one.name).join(", ") + (late.length > 3 ? ` and ${late.length - 3} more` : ""),
        tone: !unknown && late.some((one) => one.state === "absent") ? "warn" : "",
      },
      {
        term: "Rounds a second",
        value: rate === null ? NONE : rate.toFixed(rate < 10 ? 1 : 0),
        note: status ? `${integer(number(status.rounds_certified))} since the node's start` : "",
      },
      {
        term: "Round latency",
        value: latency(number(round?.p50)),
        note: round ? `99 % within ${latency(number(round.p99))}` : "",
      },
    ];
    if (days !== null && days < 30) {
      figures.push({ term: "Committee valid for", value: days < 0 ? "expired" : many(days, "day"), note: "then a handover must have happened", tone: days < 7 ? "bad" : "warn" });
    }
    keep(
      byId("figures"),
      figures,
      ({ term }) => term,
      ({ term }) => {
        const value = el("dd", { class: "value" });
        const note = el("dd", { class: "note" });
        return { node: el("div", { class: "figure" }, el("dt", {}, term), value, note), value, note };
      },
      (view, figure) => {
        say(view.value, figure.value);
        say(view.note, figure.note);
        put(view.node, "data-tone", figure.tone || null);
      },
    );
  }
}

/** Return how many more may fail before nothing is certified. */
function reserve(spare) {
  if (spare < 0) return "fewer than the quorum";
  return spare ? `${spare} to spare above the quorum` : "nobody to spare";
}

function margin(signed, quorum) {
  if (signed === null) return `quorum ${quorum}`;
  const above = signed - quorum;
  return above > 0 ? `${above} above the quorum of ${quorum}` : `exactly the quorum of ${quorum}`;
}
