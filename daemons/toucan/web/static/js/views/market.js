// Top of book of every instrument.

import { find } from "../dom.js";
import { Table } from "../table.js";
import { price, quantity } from "../words.js";

export class MarketView {
  constructor(app) {
    this.app = app;
    const data = (symbol) => app.market.get(symbol) ?? {};
    const instrument = (symbol) => app.instruments.get(symbol);
    const columns = [
      { key: "symbol", title: "symbol", width: "minmax(8ch, 1fr)", tone: (one) => (one === app.symbol ? "strong chosen" : "strong"), text: (one) => one },
      { key: "bidQuantity", title: "size", width: "minmax(5ch, 0.8fr)", isNumber: true, tone: () => "quiet", text: (one) => (data(one).bidPrice === undefined ? "" : quantity(data(one).bidQuantity, instrument(one))) },
      { key: "bid", title: "bid", width: "minmax(8ch, 1fr)", isNumber: true, tone: () => "buy", text: (one) => price(data(one).bidPrice, instrument(one)) || "\u2013" },
      { key: "ask", title: "offer", width: "minmax(8ch, 1fr)", isNumber: true, tone: () => "sell", text: (one) => price(data(one).askPrice, instrument(one)) || "\u2013" },
      { key: "askQuantity", title: "size", width: "minmax(5ch, 0.8fr)", isNumber: true, tone: () => "quiet", text: (one) => (data(one).askPrice === undefined ? "" : quantity(data(one).askQuantity, instrument(one))) },
      { key: "last", title: "last", width: "minmax(8ch, 1fr)", isNumber: true, text: (one) => state(app, one) || price(data(one).lastPrice, instrument(one)) || "\u2013" },
    ];
    this.table = new Table(find("#market"), {
      label: "Market", columns, leastPx: 320, item: (symbol) => symbol, tone: (symbol) => (state(app, symbol) ? "over" : ""), mark: () => app.mark(this),
      act: (action, symbol) => (action === "open" || action === "Enter") && app.show(symbol),
    });
    find("#market").addEventListener("click", () => this.table.active && app.show(this.table.active));
  }

  render() {
    this.table.setIds(this.app.symbols);
    this.table.render();
  }
}

function state(app, symbol) {
  if (app.market.stale.has(symbol)) return "stale";
  return app.market.get(symbol)?.isHalted ? "halted" : "";
}
