// The ladder: every price a row, bids left, offers right. One click on a bid's side buys at that price, on the offers' side sells.
//
// Prices stand still under the pointer: the ladder is centred when the market has left its middle half and nobody points at it, or when asked to (C). A second click that
// comes as part of a double click is no second order.

import { element, find, isTyping, options, setClass, setText } from "../dom.js";
import { quantityUnits } from "../grammar.js";
import { fittingStep, ladderRows, levelsOf, middle } from "../market.js";
import { price, quantity } from "../words.js";

const ROW_PX = 21;
const ROWS_MIN = 7;
const STEP_CHOICES = [1n, 2n, 5n, 10n, 50n, 100n, 500n, 1000n, 10000n, 100000n];
const SIDES = [["ownBid", "SIDE_BUY"], ["bid", "SIDE_BUY"], ["price", null], ["ask", "SIDE_SELL"], ["ownAsk", "SIDE_SELL"]];

export class LadderView {
  constructor(app) {
    this.app = app;
    this.host = find("#ladder");
    this.body = find("#ladder-rows");
    this.size = find("#ladder-quantity");
    this.step = find("#ladder-step");
    this.rows = [];
    this.shown = [];
    this.centre = null;
    this.chosen = null;
    options(this.step, ["auto", ...STEP_CHOICES.map((one) => `${one}`)], "auto");
    new ResizeObserver(([entry]) => {
      this.count = Math.max(ROWS_MIN, Math.floor(entry.contentRect.height / ROW_PX));
      app.mark(this);
    }).observe(this.body);
    this.body.addEventListener("pointerenter", () => { this.isPointed = true; });
    this.body.addEventListener("pointerleave", () => { this.isPointed = false; });
    this.body.addEventListener("pointerdown", (event) => { this.pressed = this.placeOf(event.target); });
    this.body.addEventListener("click", (event) => this.click(event));
    this.host.addEventListener("keydown", (event) => this.key(event));
    this.step.addEventListener("input", () => this.recentre());
    find("#ladder-centre").addEventListener("click", () => this.recentre());
    for (const one of this.host.querySelectorAll("[data-size]")) one.addEventListener("click", () => { this.size.value = one.dataset.size; });
  }

  recentre() {
    this.centre = null;
    this.app.mark(this);
  }

  placeOf(target) {
    const cell = target.closest(".cell");
    const row = target.closest(".row");
    return cell && row?.shownPrice !== undefined ? { price: row.shownPrice, key: cell.dataset.key } : null;
  }

  click(event) {
    const place = this.placeOf(event.target);
    if (!place || event.detail > 1 || place.price !== this.pressed?.price || place.key !== this.pressed.key) return;
    this.chosen = place.price;
    this.host.focus({ preventScroll: true });
    if (place.key === "bid") this.trade("SIDE_BUY", place.price);
    else if (place.key === "ask") this.trade("SIDE_SELL", place.price);
    else if (place.key === "ownBid" || place.key === "ownAsk") this.cancelAt(place.price, place.key === "ownBid" ? "SIDE_BUY" : "SIDE_SELL");
    this.app.mark(this);
  }

  key(event) {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = this.shownStep ?? 1n;
    const moves = { ArrowUp: step, ArrowDown: -step };
    const key = event.key.toLowerCase();
    if (Object.hasOwn(moves, event.key)) this.move((this.chosen ?? this.centre ?? 0n) + moves[event.key]);
    else if (event.repeat) return;
    else if (key === "c") this.recentre();
    else if (key === "b" && this.chosen) this.trade("SIDE_BUY", this.chosen);
    else if (key === "s" && this.chosen) this.trade("SIDE_SELL", this.chosen);
    else if (event.key === "Delete" && this.chosen) this.cancelAt(this.chosen, null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  move(to) {
    const found = this.shown.find((row) => row.price === to);
    if (found) this.chosen = to;
    else if (to > 0n) [this.centre, this.chosen] = [to, to];
    this.app.mark(this);
  }

  trade(side, at) {
    const { app } = this;
    const instrument = app.instruments.get(app.symbol);
    if (app.market.stale.has(app.symbol)) return app.alert("danger", `${app.symbol}: not sent, its venue tells nothing at the moment`);
    try {
      const terms = {
        account: app.account, symbol: app.symbol, side, type: "ORDER_TYPE_LIMIT", timeInForce: "TIME_IN_FORCE_DAY",
        quantity: quantityUnits(this.size.value, instrument), price: at.toString(),
      };
      return app.actions.submit(terms);
    } catch (error) {
      return app.alert("warning", `ladder: ${error.message}`);
    }
  }

  // Cancels the own orders in a row.
  cancelAt(at, side) {
    const ids = this.own().filter((one) => (!side || one.side === side) && this.rowOf(one) === at).flatMap((one) => [...one.ids]);
    this.app.actions.cancelAll(ids);
  }

  rowOf(one) {
    const rest = one.price % this.shownStep;
    return one.side === "SIDE_BUY" || !rest ? one.price - rest : one.price - rest + this.shownStep;
  }

  own() {
    return [...(this.app.book.resting.get(this.app.symbol)?.values() ?? [])];
  }

  render() {
    const { app } = this;
    const instrument = app.instruments.get(app.symbol);
    if (!instrument || !this.count) return;
    if (this.symbol !== app.symbol) [this.symbol, this.centre, this.chosen] = [app.symbol, null, null];
    const data = app.market.get(app.symbol);
    const tick = BigInt(instrument.tick ?? 1);
    const mid = middle(data);
    const wanted = this.step.value === "auto" ? fittingStep(data, tick, this.count) : tick * BigInt(this.step.value);
    if (mid !== null && isLost(data, mid, this.centre, this.shownStep ?? wanted, this.count) && !(this.isPointed && this.centre !== null)) [this.centre, this.shownStep] = [mid, wanted];
    this.shownStep ??= wanted;
    const centre = this.centre ?? 0n;
    this.shown = centre ? ladderRows({ data, own: this.own(), centre, step: this.shownStep, rows: this.count }) : [];
    const most = this.shown.reduce((all, row) => [row.bid, row.ask].reduce((a, b) => (a > b ? a : b), all), 1n);
    while (this.rows.length < this.shown.length) this.addRow();
    this.rows.forEach((row, index) => this.renderRow(row, this.shown[index], instrument, most));
    setText(find("#ladder-symbol"), app.symbol);
    setText(find("#ladder-state"), app.market.stale.has(app.symbol) ? "stale: the venue tells nothing" : data?.isHalted ? "halted" : instrument.isOpen ? "" : "closed");
  }

  addRow() {
    const cells = SIDES.map(([key]) => {
      const cell = element("div", { role: "cell", class: `cell number ${key}`, "data-key": key });
      cell.append(element("span", { class: "bar" }), element("span", { class: "text" }));
      return cell;
    });
    const row = element("div", { role: "row", class: "row" }, ...cells);
    row.cells = cells;
    this.rows.push(row);
    this.body.append(row);
  }

  renderRow(row, at, instrument, most) {
    row.hidden = !at;
    row.shownPrice = at?.price;
    if (!at) return;
    setClass(row, `row${at.isLast ? " last" : ""}${at.isBestBid ? " best-bid" : ""}${at.isBestAsk ? " best-ask" : ""}${at.price === this.chosen ? " active" : ""}`);
    SIDES.forEach(([key], index) => {
      const cell = row.cells[index];
      setText(cell.lastChild, key === "price" ? price(at.price, instrument) : at[key] ? quantity(at[key], instrument) : "");
      if (key !== "bid" && key !== "ask") return;
      const orders = at[`${key}Orders`];
      if (cell.shownOrders !== orders) [cell.shownOrders, cell.title] = [orders, orders ? `${orders} ${orders === 1n ? "order" : "orders"}` : ""];
      const width = Number((at[key] * 100n) / most);
      if (cell.shownWidth !== width) [cell.shownWidth, cell.firstChild.style.width] = [width, `${width}%`];
    });
  }
}

// Whether the market has left the middle half, or a best price is out of sight that would be in sight again.
function isLost(data, mid, centre, step, count) {
  if (centre === null) return true;
  const off = mid > centre ? mid - centre : centre - mid;
  if (off > step * BigInt(Math.floor(count / 4))) return true;
  const reach = step * BigInt(Math.floor(count / 2) - 1);
  const best = [...levelsOf(data, "SIDE_BUY").slice(0, 1), ...levelsOf(data, "SIDE_SELL").slice(0, 1)];
  return off >= step && best.some(([price]) => price > centre + reach || price < centre - reach);
}
