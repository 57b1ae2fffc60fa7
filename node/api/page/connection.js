// How the page hears of the node: every report over a WebSocket, or by asking where that does not
// work; everything else by asking. It tells truthfully whether it hears anything at all.

const OPEN = 1;
const ASK_EVERY_MS = 1000;
const ASK_TIMEOUT_MS = 8000;
const SILENT_SOCKET_MS = 20_000;
const RETRY_MS = [1000, 2000, 4000, 8000, 15_000];

export class NodeError extends Error {
  /** An answer that says why there is none; `code` is the API's. */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Ask the node; throws NodeError for its refusals, TypeError and the like if it does not answer. */
export async function ask(path) {
  const response = await fetch(new URL(path, document.baseURI), {
    signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
    credentials: "omit",
  });
  const body = await response.json();
  if (response.ok) return body;
  throw new NodeError(response.status, body?.error?.code ?? "", body?.error?.message ?? "");
}

export class Reports {
  /** Follow the reports: `onReport(report)`, `onState("open" | "asking" | "down")`. */
  constructor(onReport, onState) {
    this.onReport = onReport;
    this.onState = onState;
    this.failures = 0;
    this.socket = null;
    this.heard = performance.now();
    this.connect();
    setInterval(() => this.watch(), ASK_EVERY_MS);
  }

  connect() {
    clearTimeout(this.retry);
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    let socket;
    try {
      socket = new WebSocket(url);
    } catch {
      this.lost(null);
      return;
    }
    this.socket = socket;
    this.heard = performance.now();
    socket.addEventListener("open", () => {
      if (socket !== this.socket) return;
      this.heard = performance.now();
      this.state("open");
    });
    socket.addEventListener("message", (event) => {
      if (socket !== this.socket || typeof event.data !== "string") return;
      let report;
      try {
        report = JSON.parse(event.data);
      } catch {
        return;
      }
      this.heard = performance.now();
      this.failures = 0;
      this.take(report);
    });
    socket.addEventListener("close", () => this.lost(socket));
  }

  lost(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    const pause = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    // Where asking works that goes on; whether the socket fails again says nothing new.
    if (this.last !== "asking") this.state("down");
    // Not all at once, when a node comes back that many look at.
    this.retry = setTimeout(() => this.connect(), pause * (0.75 + Math.random() / 2));
  }

  /** Ask where the stream brings nothing, and find out whose silence it is. */
  async watch() {
    const socket = this.socket;
    const open = socket?.readyState === OPEN;
    if (open && performance.now() - this.heard < SILENT_SOCKET_MS) return;
    if (this.asking || document.hidden) return;
    this.asking = true;
    const known = this.newest;
    try {
      const report = await ask("v1/reports/latest");
      this.take(report);
      if (socket !== this.socket) return;
      if (!open) this.state("asking");
      else if (this.newest !== known && performance.now() - this.heard >= SILENT_SOCKET_MS) this.drop(socket);
      // It is the network that is silent, not the socket.
      else this.heard = performance.now();
    } catch (error) {
      if (socket !== this.socket) return;
      const refused = error instanceof NodeError && error.status === 503;
      if (!open) this.state(refused ? "asking" : "down");
      else if (refused) this.heard = performance.now();
      else this.drop(socket);
    } finally {
      this.asking = false;
    }
  }

  drop(socket) {
    this.lost(socket);
    socket.close();
  }

  take(report) {
    this.newest = `${report?.epoch} ${report?.header?.view}`;
    this.onReport(report);
  }

  /** Try at once: the machine woke up, or the network is back. */
  hurry() {
    if (this.socket?.readyState === OPEN) return;
    if (this.socket) {
      const socket = this.socket;
      this.socket = null;
      socket.close();
    }
    this.failures = 0;
    this.connect();
  }

  state(name) {
    if (name === this.last) return;
    this.last = name;
    this.onState(name);
  }
}

/** Ask again and again, as often as `everyMs` says; slower while it fails, never while unseen. */
export function repeat(everyMs, once) {
  let timer = 0;
  let running = false;
  let failures = 0;
  const run = async () => {
    clearTimeout(timer);
    if (running) return;
    running = true;
    try {
      if (!document.hidden) await once();
      failures = 0;
    } catch {
      failures = Math.min(failures + 1, 3);
    } finally {
      running = false;
      timer = setTimeout(run, everyMs * (1 + failures));
    }
  };
  run();
  return run;
}
