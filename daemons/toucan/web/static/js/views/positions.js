// Positions of the accounts, with profit and loss.

import { grouped, money, signOf, sum } from "../decimal.js";
import { find, setClass, setText } from "../dom.js";
import { Table } from "../table.js";
import { price, quantity } from "../words.js";

export class PositionsView {
  constructor(app) {
    this.app = app;
    this.total = find("#profit");
    const instrument = (position) => app.instruments.get(position.symbol);
    const columns = [
      { key: "account", title: "account", width: "minmax(7ch, 1fr)", text: (one) => one.account },
      { key: "symbol", title: "symbol", width: "minmax(8ch, 1fr)", tone: () => "strong", text: (one) => one.symbol },
      { key: "quantity", title: "position", width: "minmax(8ch, 1fr)", isNumber: true, text: (one) => quantity(one.quantity, instrument(one)) },
      { key: "average", title: "average", width: "minmax(8ch, 1fr)", isNumber: true, text: (one) => (one.averagePrice ? money(one.averagePrice) : "") },
      { key: "mark", title: "mark", width: "minmax(8ch, 1fr)", isNumber: true, text: (one) => grouped(price(one.markPrice, instrument(one))) },
      { key: "unrealised", title: "unrealised", width: "minmax(9ch, 1.1fr)", isNumber: true, tone: (one) => tone(one.unrealisedProfit), text: (one) => money(one.unrealisedProfit) },
      { key: "realised", title: "realised", width: "minmax(9ch, 1.1fr)", isNumber: true, tone: (one) => tone(one.realisedProfit), text: (one) => money(one.realisedProfit) },
      { key: "currency", title: "", width: "minmax(4ch, 0.2fr)", tone: () => "quiet", text: (one) => one.currency + (one.isApproximate ? "~" : "") },
    ];
    this.table = new Table(find("#positions"), {
      label: "Positions", columns, leastPx: 440, areItemsReplaced: true, item: (key) => app.positions.get(key), mark: () => app.mark(this),
      act: (action, key) => (action === "open" || action === "Enter") && app.show(app.positions.get(key).symbol),
    });
  }

  render() {
    const { positions } = this.app;
    this.table.setIds([...positions.keys()].sort());
    this.table.render();
    const byCurrency = Map.groupBy?.(positions.values(), (one) => one.currency) ?? grouping([...positions.values()]);
    const totals = [...byCurrency].map(([currency, all]) => [currency, sum(all.flatMap((one) => [one.realisedProfit, one.unrealisedProfit]))]);
    setText(this.total, totals.map(([currency, total]) => `${money(total)} ${currency}`).join(" \u00b7 ") || "\u2013");
    setClass(this.total, `value ${totals.length === 1 ? tone(totals[0][1]) : ""}`);
  }
}

function grouping(all) {
  const found = new Map();
  for (const one of all) found.set(one.currency, [...(found.get(one.currency) ?? []), one]);
  return found;
}

function tone(text) {
  return { "-1": "loss", 0: "", 1: "gain" }[signOf(text)];
}
