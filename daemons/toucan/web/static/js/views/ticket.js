// The order ticket: a command line, and the same as fields. Enter sends from either; what was typed is said back in words before that.

import { find, options, setClass, setText } from "../dom.js";
import { money } from "../decimal.js";
import { orderType, parse, priceUnits, quantityUnits } from "../grammar.js";
import { quantity as quantityWords, termsWords } from "../words.js";

const PREVIEW_AFTER_MS = 250;

export class TicketView {
  constructor(app) {
    this.app = app;
    this.command = find("#command");
    this.said = find("#command-said");
    this.form = find("#ticket");
    this.outlook = find("#outlook");
    this.history = [];
    find("#command-form").addEventListener("submit", (event) => this.run(event));
    this.command.addEventListener("input", () => this.sayBack());
    this.command.addEventListener("keydown", (event) => this.recall(event));
    this.form.addEventListener("submit", (event) => this.send(event));
    this.form.addEventListener("input", () => this.look());
    this.field("symbol").addEventListener("input", (event) => app.show(event.target.value));
    this.field("account").addEventListener("input", (event) => app.trade(event.target.value));
    for (const one of this.form.querySelectorAll("button[data-side]")) one.addEventListener("click", (event) => this.send(event, one.dataset.side));
  }

  field(name) {
    return this.form.elements[name];
  }

  begin() {
    options(this.field("account"), this.app.identity.accounts ?? [], this.app.account);
    options(this.field("symbol"), this.app.symbols, this.app.symbol);
  }

  render() {
    const { app } = this;
    for (const [name, value] of [["account", app.account], ["symbol", app.symbol]]) if (this.field(name).value !== value) this.field(name).value = value;
    const canEnter = app.verdict.canEnter && app.may("trade") && !this.isBusy;
    const isOff = !canEnter;
    if (find("#entry").disabled !== isOff) find("#entry").disabled = isOff;
    if (find("#ladder-entry").disabled !== isOff) find("#ladder-entry").disabled = isOff;
    setText(find("#entry-state"), app.may("trade") ? (app.verdict.canEnter ? "" : "no entry while this page is stale") : `${app.identity.user} may not trade`);
  }

  context() {
    const { instruments, account, identity, book } = this.app;
    return { instruments, account, accounts: identity.accounts ?? [], orders: book.orders };
  }

  sayBack() {
    let said = "";
    let tone = "";
    try {
      const found = parse(this.command.value, this.context());
      if (found?.kind === "order") said = termsWords(found.terms, this.app.instruments.get(found.terms.symbol));
      else if (found) said = `${found.kind === "massCancel" ? "cancel all that match" : found.kind} ${found.orderIds?.join(" ") ?? found.orderId ?? ""}`;
    } catch (error) {
      [said, tone] = [error.message, "bad"];
    }
    setText(this.said, said || "b 100 AAPL @ 189.50 ioc \u00b7 x 17 \u00b7 r 17 200 @ 189.40");
    setClass(this.said, `said ${tone}`);
  }

  async run(event) {
    event.preventDefault();
    const text = this.command.value;
    let found;
    try {
      found = parse(text, this.context());
    } catch {
      this.sayBack();
      return;
    }
    if (!found) return;
    this.history = [text, ...this.history.filter((one) => one !== text)].slice(0, 50);
    this.at = -1;
    this.command.value = ""; // before anything is sent: Enter twice is one order
    this.sayBack();
    await this.carryOut(found);
  }

  carryOut(found) {
    const { actions } = this.app;
    if (found.kind === "order") {
      this.app.show(found.terms.symbol);
      return actions.submit(found.terms);
    }
    if (found.kind === "cancel") return actions.cancelAll(found.orderIds);
    if (found.kind === "massCancel") return actions.massCancel(found);
    return actions.replace(found);
  }

  recall(event) {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step || !this.history.length) return;
    event.preventDefault();
    this.at = Math.max(-1, Math.min(this.history.length - 1, (this.at ?? -1) + step));
    this.command.value = this.history[this.at] ?? "";
    this.sayBack();
  }

  terms(side) {
    const instrument = this.app.instruments.get(this.app.symbol);
    const value = (name) => this.field(name).value.trim();
    const terms = { account: this.app.account, symbol: this.app.symbol, side, timeInForce: value("life"), quantity: quantityUnits(value("quantity"), instrument) };
    if (value("price")) terms.price = priceUnits(value("price"), instrument);
    if (value("stop")) terms.stopPrice = priceUnits(value("stop"), instrument);
    if (value("show")) terms.maxFloor = quantityUnits(value("show"), instrument);
    if (this.field("post").checked) terms.postOnly = true;
    if (this.field("reduce").checked) terms.reduceOnly = true;
    if (value("note")) terms.note = value("note");
    return { ...terms, type: orderType(terms) };
  }

  async send(event, side) {
    event.preventDefault();
    if (this.isBusy || event.detail > 1) return;
    const focused = document.activeElement;
    let terms;
    try {
      // Enter in a field sends the side of the button that was used last; until one was, nobody has said which.
      if (!side && !this.side) throw new Error("buy or sell? Use the button once; Enter then repeats its side");
      this.side = side ?? this.side;
      terms = this.terms(this.side);
    } catch (error) {
      this.tellOutlook(error.message, "bad");
      return;
    }
    this.isBusy = true;
    this.app.mark(this);
    try {
      await this.app.actions.submit(terms);
    } finally {
      this.isBusy = false;
      this.render();
      focused?.focus?.();
    }
  }

  clearPrices() {
    for (const name of ["price", "stop", "show"]) this.field(name).value = "";
  }

  look() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.lookNow(), PREVIEW_AFTER_MS);
  }

  // What the order would be answered now; both sides have the same worth, and mostly the same limits.
  async lookNow() {
    let terms;
    try {
      terms = this.terms(this.side ?? "SIDE_BUY");
    } catch (error) {
      this.tellOutlook(this.field("quantity").value ? error.message : "", "bad");
      return;
    }
    const asked = (this.asked = {});
    const answer = await this.app.actions.preview(terms);
    if (this.asked !== asked) return;
    if (answer.error) this.tellOutlook(answer.error.message, "bad");
    else this.tellPreview(terms, answer);
  }

  tellPreview(terms, answer) {
    const denials = answer.denials ?? [];
    const instrument = this.app.instruments.get(terms.symbol);
    const facts = [`worth ${answer.notional ? money(answer.notional) : "unknown"}`, `position ${quantityWords(answer.position ?? "0", instrument)}`];
    const isSoft = denials.length > 0 && denials.every((one) => one.canBeConfirmed);
    this.tellOutlook(denials.length ? `${isSoft ? "asks first" : "denied"}: ${denials[0].text}` : facts.join(" \u00b7 "), denials.length ? (isSoft ? "pending" : "bad") : "");
  }

  tellOutlook(text, tone) {
    setText(this.outlook, text);
    setClass(this.outlook, `said wide ${tone}`);
  }
}
