// The orders: filter, inline replace, cancel.

import { element, find, setText } from "../dom.js";
import { fromUnits, trimmed } from "../decimal.js";
import { priceUnits, quantityUnits } from "../grammar.js";
import { isWorking } from "../orders.js";
import { Table } from "../table.js";
import { clock, lifeWords, price, quantity, sideWord, statusWords } from "../words.js";

const CHOOSE_EVERY_MS = 250;

export class OrdersView {
  constructor(app) {
    this.app = app;
    this.find = find("#orders-find");
    this.filter = find("#orders-filter");
    this.count = find("#orders-count");
    const instrument = (order) => app.instruments.get(order.terms.symbol);
    const columns = [
      { key: "id", title: "id", width: "minmax(5ch, 0.3fr)", isNumber: true, text: (order) => order.orderId },
      { key: "time", title: "entered", width: "8ch", text: (order) => clock(order.createdNs).slice(0, 8) },
      { key: "account", title: "account", width: "minmax(7ch, 0.6fr)", isLong: true, text: (order) => order.terms.account },
      { key: "symbol", title: "symbol", width: "minmax(8ch, 0.7fr)", isLong: true, tone: () => "strong", text: (order) => order.terms.symbol },
      { key: "side", title: "side", width: "4ch", tone: (order) => sideWord(order.terms.side), text: (order) => sideWord(order.terms.side) },
      { key: "quantity", title: "quantity", width: "minmax(9ch, 1fr)", isNumber: true, text: (order) => quantity(order.terms.quantity, instrument(order)) },
      { key: "price", title: "price", width: "minmax(9ch, 0.9fr)", isNumber: true, text: (order) => price(order.terms.price, instrument(order)) || "market" },
      { key: "filled", title: "filled", width: "minmax(7ch, 0.8fr)", isNumber: true, text: (order) => (order.cumQuantity ? quantity(order.cumQuantity, instrument(order)) : "\u2013") },
      { key: "average", title: "average", width: "minmax(8ch, 0.8fr)", isNumber: true, text: (order) => average(order) },
      { key: "status", title: "status", width: "minmax(13ch, 1fr)", isLong: true, tone: statusTone, text: statusWords },
      { key: "life", title: "life", width: "minmax(6ch, 0.9fr)", isLong: true, text: (order) => lifeWords(order.terms, instrument(order)) },
      { key: "owner", title: "owner", width: "minmax(6ch, 0.9fr)", isLong: true, text: (order) => order.owner },
      { key: "note", title: "note", width: "minmax(6ch, 1.3fr)", isLong: true, tone: () => "quiet", text: (order) => order.text || order.reason || order.terms.note || "" },
      { key: "acts", title: "", width: "48px", make: (cell) => cell.append(button("replace", "\u270e"), button("cancel", "\u2715")), show: showButtons },
    ];
    this.table = new Table(find("#orders"), {
      label: "Orders", columns, leastPx: 790, areItemsReplaced: true, item: (id) => app.book.get(id), tone: (order) => (isWorking(order) ? "" : "over"),
      act: (action, id) => this.act(action, id), mark: () => app.mark(this),
    });
    for (const control of [this.find, this.filter]) control.addEventListener("input", () => { this.shownVersion = null; app.mark(this); });
  }

  act(action, id) {
    const order = this.app.book.get(id);
    if (!order) return;
    if (action === "cancel" || action === "Delete" || action === "x") this.app.actions.cancel(id);
    else if (action === "replace" || action === "F2" || action === "Enter" || action === "r" || action === "open") this.edit(order);
    else if (action === "i") this.app.show(order.terms.symbol);
  }

  edit(order) {
    if (!isWorking(order) || !this.app.may("trade")) return;
    const instrument = this.app.instruments.get(order.terms.symbol);
    const inputs = { quantity: input("New quantity", trimmed(fromUnits(order.terms.quantity, instrument.quantityDecimals ?? 0))) };
    if (order.terms.price !== undefined) inputs.price = input("New price", price(order.terms.price, instrument));
    for (const one of Object.values(inputs)) {
      one.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === "Escape") this.table.endEdit();
        else if (event.key === "Enter" && !event.repeat) this.send(order, instrument, inputs);
      });
    }
    this.table.edit(order.orderId, inputs);
    requestAnimationFrame(() => requestAnimationFrame(() => (inputs.price ?? inputs.quantity).select()));
  }

  async send(order, instrument, inputs) {
    const change = { orderId: order.orderId };
    try {
      const newQuantity = quantityUnits(inputs.quantity.value, instrument);
      if (newQuantity !== order.terms.quantity) change.quantity = newQuantity;
      if (inputs.price) {
        const newPrice = priceUnits(inputs.price.value, instrument);
        if (newPrice !== order.terms.price) change.price = newPrice;
      }
    } catch (error) {
      this.app.alert("warning", `replace ${order.orderId}: ${error.message}`);
      return;
    }
    this.table.endEdit();
    if (change.quantity || change.price) await this.app.actions.replace(change);
  }

  // Which orders: those that work are listed already; who wants others, or looks for something, has them gone through now and then.
  choose(version) {
    const words = this.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const isWorkingOnly = this.filter.value === "working";
    const nowMs = performance.now();
    if ((words.length || !isWorkingOnly) && this.shownVersion && nowMs - this.chosenMs < CHOOSE_EVERY_MS) {
      setTimeout(() => this.app.mark(this), CHOOSE_EVERY_MS);
      return;
    }
    this.shownVersion = version;
    this.chosenMs = nowMs;
    this.table.setIds(this.app.book.ids({ isWorkingOnly, matches: words.length ? (order) => matches(order, words) : null }));
  }

  render() {
    const { book } = this.app;
    const version = `${book.version} ${this.table.isHeld}`;
    if (version !== this.shownVersion) this.choose(version);
    const waiting = this.table.waitingCount ? `, ${this.table.waitingCount} more when the pointer leaves` : "";
    setText(this.count, `${book.workingCount} working, ${this.table.ids.length} shown${waiting}`);
    this.table.render();
  }
}

function matches(order, words) {
  const text = `${order.orderId} ${order.terms.symbol} ${order.terms.account} ${order.owner} ${sideWord(order.terms.side)} ${order.terms.note ?? ""}`.toLowerCase();
  return words.every((one) => text.includes(one));
}

function average(order) {
  if (!order.averagePrice) return "";
  const [whole, fraction = ""] = order.averagePrice.split(".");
  return `${whole}.${fraction.padEnd(2, "0").slice(0, 4)}`;
}

function statusTone(order) {
  if (order.requests?.length) return "pending";
  return { ORDER_STATUS_REJECTED: "bad", ORDER_STATUS_FILLED: "good", ORDER_STATUS_PARTIALLY_FILLED: "good" }[order.status] ?? "";
}

function button(action, sign) {
  return element("button", { type: "button", tabindex: "-1", class: "small", "data-action": action }, sign);
}

function showButtons(cell, order) {
  const isOpen = isWorking(order);
  if (cell.shownId === order.orderId && cell.isOpen === isOpen) return;
  cell.shownId = order.orderId;
  cell.isOpen = isOpen;
  for (const one of cell.children) {
    one.hidden = !isOpen;
    one.setAttribute("aria-label", `${one.dataset.action === "cancel" ? "Cancel" : "Replace"} order ${order.orderId}`);
    one.title = one.dataset.action === "cancel" ? "Cancel (Delete)" : "Replace (F2)";
  }
}

function input(label, value) {
  const made = element("input", { type: "text", class: "inline", "aria-label": label, inputmode: "decimal", autocomplete: "off", maxlength: "24" });
  made.value = value;
  return made;
}
