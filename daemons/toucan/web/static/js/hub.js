// Holds the streams for all windows of one user in this browser: a browser has six connections to the gateway, and each stream holds one of them.
//
// A stream that breaks is opened again, with `afterSeq` where it can go on; whoever looks is told, and hears nothing twice. The hub has its own copy of the state, from
// which a window that comes later gets its snapshot. It runs in a SharedWorker (worker.js), or in the page where there is none.

import { CallError, call, stream } from "./connect.js";
import { SILENCE_MAX_MS } from "./freshness.js";
import { Market } from "./market.js";
import { OrderBook } from "./orders.js";
import { LINES_MAX, Tape } from "./tape.js";

const PULSE_MS = 1000;
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 4000;
const LIMITS_EVERY_MS = 1500;
const ORDERS_PER_MESSAGE = 250; // A window takes so many in a few milliseconds.
const HISTORY_ORDERS = 500; // Finished orders that a page begins with.
// Not for this user, or not at this gateway: asking again changes nothing.
const REFUSED = new Set(["permission_denied", "unimplemented", "not_found"]);
export const DEPTH = 10;

// One stream that is kept open.
class Kept {
  constructor(hub, name, method, request, take) {
    Object.assign(this, { hub, name, method, request, take, state: "opening", isStale: false, heardMs: 0, why: "", abort: null, isEnded: false });
  }

  get status() {
    return { state: this.state, isStale: this.isStale, heardMs: this.heardMs, why: this.why };
  }

  async run() {
    let retryMs = RETRY_MIN_MS;
    while (!this.isEnded) {
      const begun = Date.now();
      try {
        await this.follow();
        this.why = "the gateway ended it";
      } catch (error) {
        this.why = error.message;
        if (error.isLoggedOut) this.hub.isLoggedOut = true;
        if (REFUSED.has(error.code) && !error.isLoggedOut) return this.tell("refused");
      }
      if (this.isEnded) return;
      if (this.state === "live") retryMs = RETRY_MIN_MS;
      this.tell(this.isRenewed ? "opening" : "broken");
      if (!this.isRenewed) await new Promise((resolve) => setTimeout(resolve, Math.max(0, retryMs * (0.5 + Math.random() / 2) - (Date.now() - begun) / 10)));
      this.isRenewed = false;
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
  }

  async follow() {
    this.abort = new AbortController();
    const watch = setInterval(() => {
      if (Date.now() - (this.heardMs || opened) > SILENCE_MAX_MS) this.abort.abort(new Error("nothing was heard"));
    }, 500);
    const opened = Date.now();
    this.heardMs = 0;
    try {
      for await (const message of stream(this.method, this.request(), { csrf: this.hub.csrf, signal: this.abort.signal })) {
        this.heardMs = Date.now();
        if (message === null) continue;
        this.take(message);
        // Where single venues are silent, their symbols are named, and the others can be traded.
        const isStale = Boolean(message.isStale) && !message.staleSymbols?.length;
        if (this.state !== "live" || isStale !== this.isStale) {
          this.isStale = isStale;
          this.tell("live");
        }
      }
    } finally {
      clearInterval(watch);
      this.abort.abort(new Error("over"));
    }
  }

  tell(state) {
    this.state = state;
    this.hub.tellStatus();
  }

  // Opens it anew, with another request.
  renew() {
    this.isRenewed = true;
    this.abort?.abort(new Error("asked for something else"));
  }

  end() {
    this.isEnded = true;
    this.abort?.abort(new Error("over"));
  }
}

export class Hub {
  constructor() {
    this.windows = new Map(); // post function -> the symbols it watches
    this.csrf = "";
    this.isLoggedOut = false;
    this.book = new OrderBook();
    this.market = new Market();
    this.tape = new Tape();
    this.positions = new Map();
    this.staged = new Map();
    this.others = {}; // the last of each other kind
    this.symbols = [];
    this.streams = {};
  }

  // A window's message. Kinds: hello {csrf, actions, hasStaged}, watch {symbols}, limits, bye.
  take(post, message) {
    if (message.kind === "hello") this.welcome(post, message);
    else if (message.kind === "watch") this.watch(post, message.symbols);
    else if (message.kind === "limits") this.askLimits();
    else if (message.kind === "bye") this.leave(post);
  }

  welcome(post, { csrf, symbols, hasStaged }) {
    const isNewLogin = csrf !== this.csrf;
    this.csrf = csrf;
    this.isLoggedOut = false;
    this.windows.set(post, symbols);
    if (!this.timer) this.begin(hasStaged);
    else if (isNewLogin) for (const one of Object.values(this.streams)) one.renew();
    this.tellAll(post);
    this.watch(post, symbols);
  }

  begin(hasStaged) {
    this.timer = setInterval(() => this.tellStatus(), PULSE_MS);
    this.limitsTimer = setInterval(() => this.askLimits(), LIMITS_EVERY_MS);
    this.keep("orders", "OrderEntryService/WatchOrders", () => this.ordersRequest(), (message) => this.takeOrders(message));
    this.keep("positions", "OrderEntryService/WatchPositions", () => ({}), (message) => this.takePositions(message));
    if (hasStaged) this.keep("staged", "StagedOrderService/WatchStagedOrders", () => ({ filter: { isPending: true } }), (message) => this.takeStaged(message));
    this.askLimits();
    this.askHistory();
  }

  keep(name, method, request, take) {
    this.streams[name] = new Kept(this, name, method, request, take);
    this.streams[name].run();
  }

  ordersRequest() {
    const request = { filter: { isOpen: true } };
    if (this.book.seq > 0n) request.afterSeq = String(this.book.seq);
    this.book.snapshot = null;
    return request;
  }

  takeOrders(message) {
    this.book.apply(message);
    if (message.updates?.length || message.isSnapshotEnd) this.post({ kind: "orders", message });
  }

  takePositions(message) {
    for (const one of message.positions ?? []) this.positions.set(`${one.account}\n${one.symbol}`, one);
    if (message.positions?.length) this.post({ kind: "positions", positions: message.positions });
  }

  takeStaged(message) {
    if (message.isSnapshot && !this.isStagedSnapshot) this.staged.clear();
    this.isStagedSnapshot = Boolean(message.isSnapshot) && !message.isSnapshotEnd;
    for (const { staged } of message.updates ?? []) {
      if (staged.status === "STAGED_STATUS_PROPOSED") this.staged.set(staged.stagedId, staged);
      else this.staged.delete(staged.stagedId);
    }
    this.post({ kind: "staged", staged: [...this.staged.values()] });
  }

  marketRequest() {
    return { symbols: this.symbols, depth: DEPTH, withTrades: true, tradesBefore: LINES_MAX, after: this.tape.places(this.symbols) };
  }

  takeMarket(message) {
    const hadStale = this.market.stale.size > 0;
    this.market.apply(message);
    this.tape.apply(message.trades);
    if (message.marketData?.length || message.trades?.length || message.staleSymbols || hadStale) this.post({ kind: "market", message });
  }

  watch(post, symbols) {
    this.windows.set(post, symbols);
    const all = [...new Set([...this.windows.values()].flat())].sort();
    if (!all.length || all.join("\n") === this.symbols.join("\n")) return;
    this.symbols = all;
    if (this.streams.market) this.streams.market.renew();
    else this.keep("market", "OrderEntryService/WatchMarketData", () => this.marketRequest(), (message) => this.takeMarket(message));
  }

  // Levels and limits have no stream; they are asked for, which costs the engine nothing.
  async askLimits() {
    if (this.isAskingLimits || this.isLoggedOut) return;
    this.isAskingLimits = true;
    try {
      this.tellOther({ kind: "limits", answer: await call("RiskService/ListLimits", {}, { csrf: this.csrf }) });
    } catch (error) {
      if (error instanceof CallError && error.isLoggedOut) this.isLoggedOut = true;
    } finally {
      this.isAskingLimits = false;
    }
  }

  // Orders that ended before the page was there.
  async askHistory() {
    try {
      const answer = await call("OrderEntryService/ListOrders", { pageSize: HISTORY_ORDERS }, { csrf: this.csrf });
      const updates = (answer.orders ?? []).reverse().map((order) => ({ event: "Snapshot", order, seq: order.updatedSeq ?? "0" }));
      this.takeOrders({ updates, isHistory: true });
    } catch {
      // They are for the eye alone; those that work come by the stream.
    }
  }

  tellAll(post) {
    post({ kind: "status", ...this.status() });
    const orders = [...this.book.orders.values()];
    for (let at = 0; at < orders.length; at += ORDERS_PER_MESSAGE) {
      const updates = orders.slice(at, at + ORDERS_PER_MESSAGE).map((order) => ({ event: "Snapshot", order, seq: order.updatedSeq ?? "0" }));
      post({ kind: "orders", message: { updates, isHistory: true } });
    }
    if (this.book.fills.length) post({ kind: "fills", fills: this.book.fills });
    post({ kind: "positions", positions: [...this.positions.values()] });
    post({ kind: "market", message: { marketData: [...this.market.symbols.values()] } });
    post({ kind: "tape", snapshot: this.tape.snapshot });
    if (this.staged.size) post({ kind: "staged", staged: [...this.staged.values()] });
    for (const one of Object.values(this.others)) post(one);
  }

  tellOther(message) {
    this.others[message.kind] = message;
    this.post(message);
  }

  status() {
    const streams = Object.fromEntries(Object.entries(this.streams).map(([name, one]) => [name, one.status]));
    return { streams, isLoggedOut: this.isLoggedOut, windows: this.windows.size };
  }

  tellStatus() {
    this.post({ kind: "status", ...this.status() });
  }

  post(message) {
    for (const post of this.windows.keys()) post(message);
  }

  leave(post) {
    this.windows.delete(post);
    if (this.windows.size) return;
    for (const one of Object.values(this.streams)) one.end();
    clearInterval(this.timer);
    clearInterval(this.limitsTimer);
    Object.assign(this, { timer: null, streams: {}, symbols: [] });
  }
}
