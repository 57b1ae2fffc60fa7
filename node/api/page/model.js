// What the page knows. Everything is checked on its way in; nothing in here touches the document.

import { list, number, plain } from "./dom.js";

export const WINDOW_MS = 300_000;
/** Without a certificate for so long nothing is shown as live. */
export const SILENT_MS = 5000;
/** Members that were in no certificate for so long are absent. */
export const ABSENT_MS = 10_000;
export const STATUSES = ["live", "degraded", "carried", "halted", "unavailable"];

const POINT_MS = 1000;
const GAP_MS = 6500;
const RATE_MS = 30_000;
const DECIMAL = /^\d{1,20}(\.\d{1,20})?$/;

/** A clock that follows the node's, and goes on steadily whatever this machine's does. */
class Clock {
  offset = null;
  trip = Infinity;
  skew = Date.now() - performance.now();

  /** Take the node's time, asked for at one moment and here at another. */
  take(timeMs, askedAt, hereAt) {
    const trip = hereAt - askedAt;
    this.trip += 5; // The best reading ages.
    if (this.offset !== null && trip > this.trip) return;
    this.trip = trip;
    this.offset = timeMs - (askedAt + trip / 2);
  }

  now() {
    return (this.offset ?? Date.now() - performance.now()) + performance.now();
  }

  /** Whether the machine slept since the last look: the steady clock may stand still then. */
  slept() {
    const skew = Date.now() - performance.now();
    const jump = skew - this.skew;
    this.skew = skew;
    if (jump < 2000) return false;
    if (this.offset !== null) this.offset += jump;
    this.trip = Infinity;
    return true;
  }
}

export class Model {
  clock = new Clock();
  link = "connecting";
  /** Why the node has nothing to say yet, in its own words. */
  refusal = "";
  status = null;
  newest = null;
  committee = null;
  participation = null;
  incidents = null;
  /** By name, in the order of the table. */
  feeds = new Map();
  sources = new Map();
  rounds = [];

  /** Return what may be claimed: loading, starting, live, asking, silent, down. */
  mode() {
    if (this.link === "connecting") return "loading";
    if (this.link === "down") return "down";
    if (!this.newest) return this.refusal ? "starting" : "loading";
    if (this.silentMs() > SILENT_MS) return "silent";
    return this.link === "asking" ? "asking" : "live";
  }

  /** Whether prices are live, as far as this page can know. */
  hears() {
    return ["live", "asking"].includes(this.mode());
  }

  silentMs() {
    return this.newest ? Math.max(0, this.clock.now() - this.newest.atMs) : null;
  }

  takeStatus(document, askedAt, hereAt) {
    const timeMs = number(document?.time_ms);
    if (timeMs !== null) this.clock.take(timeMs, askedAt, hereAt);
    this.status = document;
    const certified = number(document?.rounds_certified);
    if (certified === null) return;
    const last = this.rounds.at(-1);
    if (last && certified < last.certified) this.rounds = []; // The node was started anew.
    this.rounds.push({ at: hereAt, certified });
    while (this.rounds.length > 2 && hereAt - this.rounds[0].at > RATE_MS) this.rounds.shift();
  }

  /** Return rounds a second over the last half minute, null while too little is known. */
  rate() {
    const [first, last] = [this.rounds[0], this.rounds.at(-1)];
    if (!first || last.at - first.at < 1500) return null;
    return ((last.certified - first.certified) * 1000) / (last.at - first.at);
  }

  /** Take a report; older ones than the newest are passed over. */
  takeReport(report) {
    const view = number(report?.header?.view);
    const atMs = number(report?.header?.observed_at_ms);
    const epoch = number(report?.epoch);
    if (view === null || atMs === null || epoch === null) return false;
    const newest = this.newest;
    if (newest && (epoch < newest.epoch || (epoch === newest.epoch && view <= newest.view))) return false;
    this.newest = { epoch, view, atMs, id: plain(report.id), signers: list(report.signers).map((name) => plain(name)) };
    this.refusal = "";
    let news = false;
    for (const answer of list(report.answers)) {
      const name = plain(answer?.feed);
      if (!name) continue;
      const feed = this.feed(name);
      news = this.answer(feed, answer, atMs) || news;
    }
    return news;
  }

  feed(name) {
    if (!this.feeds.has(name)) {
      this.feeds.set(name, {
        name,
        price: null,
        ppm: null,
        status: "unavailable",
        cause: null,
        agreedMs: null,
        takenMs: null,
        about: null,
        points: [],
      });
    }
    return this.feeds.get(name);
  }

  answer(feed, answer, atMs) {
    const status = STATUSES.includes(answer.status) ? answer.status : "unavailable";
    const before = feed.status;
    const agreed = status === "live" || status === "degraded";
    feed.status = status;
    feed.price = status !== "unavailable" && DECIMAL.test(answer.price) ? answer.price : null;
    feed.ppm = number(answer.confidence_ppm);
    feed.takenMs = atMs;
    if (agreed) feed.agreedMs = atMs;
    if (before !== status) feed.cause = null;
    const last = feed.points.at(-1);
    if (!last || atMs - last.at >= POINT_MS) {
      this.point(feed, atMs, agreed ? Number(feed.price) : null, feed.ppm);
    }
    return before !== status;
  }

  point(feed, at, value, ppm) {
    feed.points.push({ at, value: value > 0 ? value : null, ppm: ppm ?? 0 });
    const oldest = at - WINDOW_MS - GAP_MS;
    while (feed.points.length && feed.points[0].at < oldest) feed.points.shift();
  }

  /** Take what only the node's own view says of feeds; prices only where no report told them. */
  takeFeeds(document) {
    const named = new Map();
    for (const about of list(document?.feeds)) {
      const name = plain(about?.feed);
      if (!name) continue;
      const feed = this.feed(name);
      const agreedMs = number(about.agreed_at_ms);
      if (feed.takenMs === null) {
        feed.status = STATUSES.includes(about.status) ? about.status : "unavailable";
        feed.price = DECIMAL.test(about.price ?? "") ? about.price : null;
        feed.ppm = number(about.confidence_ppm);
        feed.agreedMs = agreedMs;
      } else if (feed.status !== "live" && feed.status !== "degraded" && feed.agreedMs === null) {
        feed.agreedMs = agreedMs;
      }
      if (about.status === feed.status) feed.cause = plain(about.cause);
      feed.about = about;
      named.set(name, feed);
    }
    for (const [name, feed] of this.feeds) if (!named.has(name) && feed.takenMs !== null) named.set(name, feed);
    this.feeds = named;
  }

  /** Take the node's history, and after it what was heard since its end. */
  takeHistory(document) {
    const times = list(document?.times_ms);
    const end = number(times.at(-1)) ?? -Infinity;
    for (const told of list(document?.feeds)) {
      const feed = this.feeds.get(plain(told?.feed));
      if (!feed) continue;
      const heard = feed.points.filter((point) => point.at > end);
      feed.points = [];
      times.forEach((at, index) => {
        if (number(at) === null) return;
        const value = told.prices?.[index];
        this.point(feed, at, DECIMAL.test(value ?? "") ? Number(value) : null, number(told.confidence_ppm?.[index]));
      });
      feed.points.push(...heard);
    }
  }

  /** Return the members with what the newest certificates say of each. */
  members() {
    const { participation } = this;
    if (!participation) return [];
    const certificates = list(participation.certificates);
    const newest = certificates.at(-1);
    return list(participation.members).map((member) => {
      const index = number(member?.index) ?? 0;
      const lastMs = Math.max(number(member?.last_signed_at_ms) ?? 0, number(member?.last_observed_at_ms) ?? 0) || null;
      const strip = certificates.map((one) => (has(one?.signers, index) ? 2 : has(one?.observers, index) ? 1 : 0));
      const newestMs = number(newest?.observed_at_ms);
      let state = "unknown";
      if (newest) {
        const now = strip.at(-1);
        const away = lastMs === null || newestMs - lastMs > ABSENT_MS;
        state = now === 2 ? "signed" : now === 1 ? "observed" : away ? "absent" : "late";
      }
      const leads = newest && number(newest.leader) === index;
      return { name: plain(member?.member) || `member ${index}`, index, state, strip, leads, lastMs, newestMs };
    });
  }
}

function has(bitmap, index) {
  if (typeof bitmap !== "string" || !/^0x[0-9a-f]{1,64}$/.test(bitmap)) return false;
  return ((BigInt(bitmap) >> BigInt(index)) & 1n) === 1n;
}
