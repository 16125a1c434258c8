// The page: who is logged in, what it shows, one loop that draws.

import { Actions } from "./actions.js";
import { call, logIn, logOut, session } from "./connect.js";
import { element, find, isTyping, setText } from "./dom.js";
import { openFeed } from "./feed.js";
import { Lane } from "./lanes.js";
import { Market } from "./market.js";
import { OrderBook } from "./orders.js";
import { Tape } from "./tape.js";
import { termsWords } from "./words.js";
import { AlertsView, alertOf } from "./views/alerts.js";
import { BannerView } from "./views/banner.js";
import { ask, confirm } from "./views/dialogs.js";
import { FillsView } from "./views/fills.js";
import { LadderView } from "./views/ladder.js";
import { MarketView } from "./views/market.js";
import { OrdersView } from "./views/orders.js";
import { PositionsView } from "./views/positions.js";
import { RiskView } from "./views/risk.js";
import { StagedView } from "./views/staged.js";
import { TapeView } from "./views/tape.js";
import { TicketView } from "./views/ticket.js";

const SYMBOLS_WATCHED_MAX = 50; // As many lines as anybody reads.

class App {
  constructor() {
    this.book = new OrderBook();
    this.market = new Market();
    this.tape = new Tape();
    this.positions = new Map();
    this.instruments = new Map();
    this.symbols = [];
    this.symbol = "";
    this.account = "";
    this.verdict = { level: "opening", canEnter: false, text: "Connecting" };
    this.dirty = new Set();
    this.ask = ask;
    this.confirm = confirm;
    this.frames = { count: 0, drawnMs: [] };
    this.frame = this.frame.bind(this);
  }

  may(action) {
    return this.identity?.actions?.includes(action) ?? false;
  }

  async begin(login) {
    this.login = login;
    const asked = (method) => call(method, {}, { csrf: login.csrf });
    const [identity, table] = await Promise.all([asked("OrderEntryService/GetIdentity"), asked("OrderEntryService/ListInstruments")]);
    this.identity = identity;
    this.book = new OrderBook(identity.user);
    this.instruments = new Map((table.instruments ?? []).map((one) => [one.symbol, one]));
    const tradable = (table.instruments ?? []).map((one) => one.symbol).filter((one) => !identity.symbols?.length || identity.symbols.includes(one));
    this.symbols = tradable.slice(0, SYMBOLS_WATCHED_MAX);
    this.symbol = remembered("symbol", this.symbols);
    this.account = remembered("account", identity.accounts ?? []);
    this.makeLanes();
    this.makeViews();
    setText(find("#user"), identity.user);
    find("#kill-open").hidden = !this.may("kill");
    const hasStaged = this.may("release") || this.may("stage");
    find("#staged-panel").hidden = !hasStaged;
    this.feed = openFeed(login, (message) => this.take(message));
    this.feed({ kind: "hello", csrf: login.csrf, symbols: this.symbols, hasStaged });
    document.body.dataset.view = "blotter";
    this.markAll();
    requestAnimationFrame(this.frame);
  }

  makeLanes() {
    const send = (method, request) => call(method, request, { csrf: this.login.csrf, timeoutMs: 2000 });
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const name = crypto.randomUUID().slice(0, 13);
    const lane = (kind) => new Lane({ session: `web-${name}-${kind}`, call: send, now: () => performance.now(), wait });
    this.orderLane = lane("orders");
    this.cancelLane = lane("cancels");
  }

  makeViews() {
    this.actions = new Actions(this);
    this.alerts = new AlertsView(this);
    this.banner = new BannerView(this);
    this.ticket = new TicketView(this);
    this.risk = new RiskView(this);
    this.staged = new StagedView(this);
    this.views = { alerts: this.alerts, banner: this.banner, ticket: this.ticket, risk: this.risk, staged: this.staged };
    for (const [name, View] of Object.entries({ orders: OrdersView, fills: FillsView, positions: PositionsView, market: MarketView, ladder: LadderView, tape: TapeView })) this.views[name] = new View(this);
    this.ticket.begin();
    this.ticket.sayBack();
  }

  alert(level, text, act) {
    this.alerts.add(level, text, act);
  }

  // ------------------------------------------------------------ what the hub tells

  take(message) {
    const take = {
      orders: () => this.takeOrders(message.message),
      fills: () => { for (const fill of message.fills) this.book.addFill({ ...fill, executionType: { fill: "EXECUTION_TYPE_TRADE", bust: "EXECUTION_TYPE_TRADE_CANCEL", correction: "EXECUTION_TYPE_TRADE_CORRECT" }[fill.kind] }); },
      positions: () => { for (const one of message.positions) this.positions.set(`${one.account}\n${one.symbol}`, one); },
      market: () => {
        this.market.apply(message.message);
        if (this.tape.apply(message.message.trades)) this.mark(this.views.tape);
      },
      tape: () => this.tape.restore(message.snapshot),
      limits: () => this.risk.take(message.answer),
      staged: () => this.staged.take(message.staged),
      status: () => this.takeStatus(message),
      failed: () => this.alert("danger", message.text),
    }[message.kind];
    take?.();
    const views = this.views;
    const shown = { orders: [views.orders, views.fills, views.ladder], fills: [views.fills], positions: [views.positions], market: [views.market, views.ladder], tape: [views.tape] }[message.kind] ?? [];
    for (const view of shown) this.mark(view);
  }

  takeOrders(message) {
    const news = this.book.apply(message);
    if (message.isHistory) return;
    for (const update of news) {
      const found = alertOf(update, termsWords(update.order.terms, this.instruments.get(update.order.terms.symbol)));
      if (found) this.alert(...found);
    }
  }

  takeStatus(message) {
    if (message.isLoggedOut) this.loggedOut();
    else this.banner.take(message);
  }

  loggedOut() {
    this.feed?.({ kind: "bye" });
    if (document.body.dataset.view !== "login") location.reload();
  }

  // ------------------------------------------------------------ what is shown

  show(symbol) {
    if (!this.instruments.has(symbol)) return;
    if (symbol !== this.symbol) this.ticket.clearPrices(); // what was typed was another instrument's
    this.symbol = symbol;
    localStorage.setItem("toucan symbol", symbol);
    if (!this.symbols.includes(symbol)) this.feed({ kind: "watch", symbols: [...this.symbols, symbol] });
    for (const name of ["ladder", "market", "tape", "ticket"]) this.mark(this.views[name]);
    this.ticket.look();
  }

  trade(account) {
    this.account = account;
    localStorage.setItem("toucan account", account);
    this.ticket.look();
  }

  mark(view) {
    this.dirty.add(view);
  }

  markAll() {
    for (const view of Object.values(this.views ?? {})) this.dirty.add(view);
  }

  // One loop draws everything, at most once a frame, and only what has changed.
  frame() {
    requestAnimationFrame(this.frame); // first: a fault in one view stops no other, and not the next frame
    if (this.dirty.size) {
      const begun = performance.now();
      const views = [...this.dirty];
      this.dirty.clear();
      for (const view of views) this.draw(view);
      this.frames.drawnMs.push(performance.now() - begun);
      if (this.frames.drawnMs.length > 2000) this.frames.drawnMs.splice(0, 1000);
    }
    this.frames.count += 1;
  }

  draw(view) {
    try {
      view.render();
    } catch (error) {
      reportError(error);
      if (!this.hasFailed) this.alert("danger", `this page has a fault; load it again: ${error.message}`);
      this.hasFailed = true;
    }
  }
}

function remembered(name, choices) {
  const kept = localStorage.getItem(`toucan ${name}`);
  return choices.includes(kept) ? kept : (choices[0] ?? "");
}

// ------------------------------------------------------------ keys, theme, login

const KEYS = { "/": "#command", o: "#orders", l: "#ladder", p: "#positions", f: "#fills", m: "#market", a: "#alerts", t: "#tape" };

function listenToKeys(app) {
  const areOn = find("#keys-on");
  areOn.checked = localStorage.getItem("toucan keys") !== "off";
  areOn.addEventListener("input", () => localStorage.setItem("toucan keys", areOn.checked ? "on" : "off"));
  find("#keys-open").addEventListener("click", () => find("#keys").showModal());
  find("#keys-close").addEventListener("click", () => find("#keys").close());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || document.body.dataset.view !== "blotter") return;
    if (event.key === "Escape" && isTyping(event.target)) event.target.blur();
    if (isTyping(event.target) || event.defaultPrevented || !areOn.checked) return;
    if (event.key === "k") app.risk.open();
    else if (event.key === "?") find("#keys").showModal();
    else if (Object.hasOwn(KEYS, event.key)) find(KEYS[event.key]).focus();
    else return;
    event.preventDefault();
  });
}

function chooseTheme() {
  const kept = localStorage.getItem("toucan theme");
  if (kept) document.documentElement.dataset.theme = kept;
  find("#theme").addEventListener("click", () => {
    const isDark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("toucan theme", document.documentElement.dataset.theme);
  });
}

async function start() {
  const app = new App();
  globalThis.blotter = app; // for the console, and for measuring
  chooseTheme();
  listenToKeys(app);
  find("#logout").addEventListener("click", async () => {
    await logOut(app.login.csrf);
    location.reload();
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  find("#login").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(app, () => logIn(find("#token").value.trim()));
  });
  await enter(app, async () => (await session()) ?? localLogin());
}

// With a local user everybody is that one, and calls need no login; else a token is asked for.
async function localLogin() {
  try {
    await call("OrderEntryService/GetIdentity", {}, {});
  } catch (error) {
    if (error.isLoggedOut) return null;
    throw error;
  }
  return logIn("");
}

async function enter(app, login) {
  const told = find("#login-told");
  try {
    const found = await login();
    if (found) await app.begin(found);
    else showLogin();
  } catch (error) {
    showLogin();
    told.replaceChildren(element("span", {}, error.message));
    if (error.code === "unreachable" || error.code === "unavailable") setTimeout(() => location.reload(), 2000);
  }
}

function showLogin() {
  document.body.dataset.view = "login";
  find("#token").value = "";
  find("#token").focus();
}

start();
