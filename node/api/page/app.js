// Brings together what is heard, what is known and what is shown.

import { Chains, Committee } from "./committee.js";
import { ask, NodeError, repeat, Reports } from "./connection.js";
import { plain } from "./dom.js";
import { Feeds } from "./feeds.js";
import { Incidents } from "./incidents.js";
import { Model } from "./model.js";
import { Summary } from "./summary.js";

const TICK_MS = 500;
const ASK_MS = 2000;
const INCIDENTS_MS = 5000;
const HISTORY_FEEDS = 32;

const model = new Model();
const feeds = new Feeds(model, (name) => refreshSources(name));
const parts = [new Summary(model), feeds, new Committee(model), new Chains(model), new Incidents(model)];

let drawing = false;
/** Charts lack what the page did not hear: before it began, or while it was cut off. */
let wantsHistory = true;

/** Draw once before the next frame, however much is heard until then. */
function draw() {
  if (drawing || document.hidden) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    for (const part of parts) part.render();
  });
}

async function askStatus() {
  const askedAt = performance.now();
  try {
    const status = await ask("v1/status");
    model.takeStatus(status, askedAt, performance.now());
  } catch (error) {
    if (error instanceof NodeError && error.code === "starting") model.refusal = plain(error.message, 200);
    throw error;
  } finally {
    draw();
  }
}

/** Ask for the newest report, however old: the stream only brings those that come. */
async function askNewest() {
  try {
    model.takeReport(await ask("v1/reports/latest"));
  } catch (error) {
    if (error instanceof NodeError && error.code === "no_report_yet") model.refusal = plain(error.message, 200);
    else throw error;
  }
}

async function askFeeds() {
  model.takeFeeds(await ask("v1/feeds"));
  if (!model.feeds.size || !wantsHistory) return;
  const names = [...model.feeds.keys()];
  for (let first = 0; first < names.length; first += HISTORY_FEEDS) {
    const some = names.slice(first, first + HISTORY_FEEDS);
    model.takeHistory(await ask(`v1/history?feeds=${some.map(encodeURIComponent).join(",")}`));
  }
  wantsHistory = false;
}

async function askParticipation() {
  model.participation = await ask("v1/participation");
}

async function refreshSources(name) {
  try {
    const told = await ask(`v1/sources?feed=${encodeURIComponent(name)}`);
    model.sources.set(name, { document: told, hereAt: performance.now() });
  } catch (error) {
    if (!model.sources.has(name) && error instanceof NodeError) {
      model.sources.set(name, { document: {}, error: plain(error.message, 120), hereAt: performance.now() });
    }
  }
  draw();
}

async function askIncidents() {
  model.incidents = await ask("v1/incidents");
  draw();
}

const askAgain = repeat(ASK_MS, async () => {
  await askStatus();
  if (!model.newest) await askNewest();
  await Promise.all([askFeeds(), askParticipation(), ...[...feeds.open].map(refreshSources)]);
  draw();
});
const askIncidentsAgain = repeat(INCIDENTS_MS, askIncidents);

const reports = new Reports(
  (report) => {
    // A changed status has a cause, which reports do not tell.
    if (model.takeReport(report)) {
      askAgain();
      askIncidentsAgain();
    }
    draw();
  },
  (state) => {
    const wasDown = model.link === "down";
    model.link = state;
    if (wasDown && state !== "down") {
      wantsHistory = true;
      askAgain();
    }
    draw();
  },
);

setInterval(() => {
  if (model.clock.slept()) reports.hurry();
  draw();
}, TICK_MS);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  askAgain();
  askIncidentsAgain();
  draw();
});
addEventListener("online", () => reports.hurry());
draw();
