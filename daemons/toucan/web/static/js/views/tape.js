// What was traded of the chosen instrument, the newest first.

import { find, setText } from "../dom.js";
import { Table } from "../table.js";
import { clock, price, quantity, sideWord } from "../words.js";

export class TapeView {
  constructor(app) {
    this.app = app;
    const instrument = () => app.instruments.get(app.symbol);
    const side = (line) => (!line.aggressor || line.aggressor === "SIDE_UNSPECIFIED" ? "" : sideWord(line.aggressor));
    const columns = [
      { key: "time", title: "time", width: "8ch", tone: () => "quiet", text: (line) => (line.kind === "gap" ? "\u2026" : clock(line.atNs).slice(0, 8)) },
      { key: "price", title: "price", width: "minmax(8ch, 1fr)", isNumber: true, tone: side, text: (line) => (line.kind === "gap" ? "" : price(line.price, instrument())) },
      { key: "quantity", title: "size", width: "minmax(6ch, 0.8fr)", isNumber: true, text: (line) => quantity(line.quantity, instrument()) },
      { key: "kind", title: "", width: "minmax(0, 9ch)", tone: (line) => (line.kind === "trade" ? "quiet" : "bad"), text: words },
    ];
    this.byId = new Map();
    this.table = new Table(find("#tape"), {
      label: "Trades", columns, leastPx: 200, areItemsReplaced: true, item: (id) => this.byId.get(id), tone: (line) => (line.kind === "bust" ? "over" : ""), mark: () => app.mark(this),
    });
  }

  render() {
    const { symbol, tape } = this.app;
    this.byId = new Map(tape.lines(symbol).map((line) => [`${symbol} ${line.kind === "gap" ? "gap after " : ""}${line.number}`, line]));
    this.table.setIds([...this.byId.keys()]);
    setText(find("#tape-symbol"), symbol);
    const traded = tape.traded(symbol);
    setText(find("#tape-count"), traded ? `${quantity(String(traded), this.app.instruments.get(symbol))} traded` : "");
    this.table.render();
  }
}

// Beside colours, which not everybody sees.
function words(line) {
  if (line.kind === "gap") return `${line.count} not told`;
  if (line.kind !== "trade") return line.kind;
  return { SIDE_BUY: "bought", SIDE_SELL: "sold" }[line.aggressor] ?? "";
}
