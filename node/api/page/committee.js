// Who signs: the members with a strip of the newest certificates, and what the chains hold.

import { cells, STRIP } from "./charts.js";
import { el, explain, keep, list, number, plain, put, say, svg } from "./dom.js";
import { integer, NONE, span } from "./format.js";

const byId = (id) => document.getElementById(id);

const STATES = {
  signed: "signed",
  observed: "in time",
  late: "late",
  absent: "absent",
  unknown: "unknown",
};

export class Committee {
  constructor(model) {
    this.model = model;
  }

  render() {
    const { model } = this;
    const members = model.members();
    const newest = list(model.participation?.certificates).at(-1);
    const quorum = number(model.participation?.quorum);
    const view = number(newest?.view);
    say(byId("committee-note"), view === null ? "" : `certificate of view ${integer(view)}`);
    this.bar(members, quorum);
    byId("members-key").hidden = !newest;
    keep(byId("members"), members, (member) => member.index, () => memberRow(), (row, member) => fillMember(row, member));
    explain(byId("members-empty"), members.length ? "" : model.mode() === "down" ? "Nothing is known yet." : "Loading members");
  }

  /** One segment for each member, sorted by what it did, and a mark where the quorum is. */
  bar(members, quorum) {
    const box = byId("quorum");
    if (!members.length || quorum === null) {
      box.replaceChildren();
      return;
    }
    this.segments ??= el("div", { class: "segments", "aria-hidden": "true" });
    this.text ??= el("p", { class: "quorum-text" });
    if (!box.firstChild) box.append(this.segments, this.text);
    const order = ["signed", "observed", "late", "absent", "unknown"];
    const states = members.map((one) => one.state).sort((one, other) => order.indexOf(one) - order.indexOf(other));
    keep(
      this.segments,
      states.map((state, place) => ({ state, place })),
      ({ place }) => place,
      () => el("span", {}),
      (node, { state, place }) => {
        put(node, "data-state", state);
        put(node, "class", place + 1 === quorum && quorum < states.length ? "quorum" : null);
      },
    );
    const signed = states.filter((state) => state === "signed").length;
    say(this.text, `${signed} signed, ${quorum} are needed of ${members.length}`);
  }
}

function memberRow() {
  const signed = svg("path", { class: "signed" });
  const observed = svg("path", { class: "observed" });
  const missed = svg("path", { class: "missed" });
  const row = {
    signed,
    observed,
    missed,
    name: el("bdi", { class: "name" }),
    leads: el("span", { class: "leads" }, "led"),
    share: el("span", { class: "hidden" }),
    state: el("span", { class: "state" }),
  };
  row.node = el(
    "li",
    {},
    el("span", { class: "who" }, row.name, row.leads),
    svg("svg", { class: "strip", viewBox: `0 0 ${STRIP * 4} 12`, preserveAspectRatio: "none", "aria-hidden": "true" }, missed, observed, signed),
    row.share,
    row.state,
  );
  return row;
}

function fillMember(row, member) {
  const shown = member.strip.slice(-STRIP);
  const count = shown.filter((mark) => mark > 0).length;
  say(row.name, member.name);
  put(row.node, "title", `${member.name}: took part in ${count} of the last ${shown.length} rounds`);
  row.leads.hidden = !member.leads;
  put(row.signed, "d", cells(member.strip, 2) || null);
  put(row.observed, "d", cells(member.strip, 1) || null);
  put(row.missed, "d", cells(member.strip, 0) || null);
  // The strip in words, for who does not see it.
  say(row.share, shown.length ? `took part in ${count} of the last ${shown.length} rounds,` : "");
  const away = member.lastMs === null ? "never seen" : `absent ${span(member.newestMs - member.lastMs)}`;
  say(row.state, member.state === "absent" ? away : STATES[member.state]);
  put(row.state, "data-state", member.state);
}

export class Chains {
  constructor(model) {
    this.model = model;
  }

  render() {
    const { model } = this;
    const chains = list(model.status?.chains);
    keep(byId("chain-list"), chains, (chain) => plain(chain?.chain), () => chainRow(), (row, chain) => this.fill(row, chain));
    const nothing = model.status ? "This node publishes to no chain." : model.mode() === "down" ? "Nothing is known yet." : "Loading chains";
    explain(byId("chain-empty"), chains.length ? "" : nothing);
  }

  fill(row, chain) {
    const { model } = this;
    const view = number(chain?.stored_view);
    const epoch = number(chain?.stored_epoch);
    const atMs = number(chain?.stored_observed_at_ms);
    say(row.name, plain(chain?.chain, 40));
    say(row.id, `chain ${plain(chain?.chain_id, 20)}`);
    say(row.oracle, plain(chain?.oracle, 66));
    say(row.view, view === null ? "nothing stored yet" : `${epoch === null ? "" : `epoch ${integer(epoch)}, `}view ${integer(view)}`);
    say(row.age, atMs ? `${span(model.clock.now() - atMs)} old` : NONE);
    const newest = model.newest;
    const same = newest && view !== null && (epoch === null || epoch === newest.epoch);
    const behind = same ? Math.max(0, newest.view - view) : null;
    say(row.behind, behind === null ? "" : behind ? `${integer(behind)} views behind the newest` : "the newest");
  }
}

function chainRow() {
  const row = {
    name: el("bdi", {}),
    id: el("span", { class: "muted" }),
    view: el("dd", {}),
    age: el("dd", { class: "value" }),
    behind: el("dd", { class: "muted" }),
    oracle: el("dd", { class: "address" }),
  };
  row.node = el(
    "li",
    {},
    el("h3", {}, row.name, " ", row.id),
    el(
      "dl",
      {},
      el("div", {}, el("dt", {}, "Stored price"), row.age),
      el("div", {}, el("dt", {}, "Report"), row.view, row.behind),
      el("div", { class: "all" }, el("dt", {}, "Oracle"), row.oracle),
    ),
  );
  return row;
}
