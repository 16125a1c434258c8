// Executions since the first window of this login was opened, the newest first; busts and corrections beside them.

import { find, setText } from "../dom.js";
import { Table } from "../table.js";
import { clock, price, quantity, sideWord } from "../words.js";

export class FillsView {
  constructor(app) {
    this.app = app;
    this.count = find("#fills-count");
    const instrument = (fill) => app.instruments.get(fill.order.terms.symbol);
    const columns = [
      { key: "time", title: "time", width: "8ch", text: (fill) => clock(fill.atNs).slice(0, 8) },
      { key: "symbol", title: "symbol", width: "minmax(8ch, 1fr)", tone: () => "strong", text: (fill) => fill.order.terms.symbol },
      { key: "side", title: "side", width: "4ch", tone: (fill) => sideWord(fill.order.terms.side), text: (fill) => sideWord(fill.order.terms.side) },
      { key: "quantity", title: "quantity", width: "minmax(6ch, 1fr)", isNumber: true, text: (fill) => quantity(fill.execution.quantity, instrument(fill)) },
      { key: "price", title: "price", width: "minmax(8ch, 1fr)", isNumber: true, text: (fill) => price(fill.execution.price, instrument(fill)) },
      { key: "account", title: "account", width: "minmax(7ch, 1fr)", text: (fill) => fill.order.terms.account },
      { key: "order", title: "order", width: "5ch", isNumber: true, text: (fill) => fill.order.orderId },
      { key: "kind", title: "", width: "minmax(0, 0.7fr)", tone: (fill) => (fill.kind === "fill" ? "quiet" : "bad"), text: (fill) => (fill.kind === "fill" ? "" : fill.kind) },
    ];
    this.bySeq = new Map();
    this.table = new Table(find("#fills"), { label: "Fills", columns, leastPx: 340, areItemsReplaced: true, item: (seq) => this.bySeq.get(seq), mark: () => app.mark(this) });
  }

  render() {
    const { fills } = this.app.book;
    const version = `${fills.length} ${fills.at(-1)?.seq} ${this.table.isHeld}`;
    if (version !== this.shownVersion) {
      this.shownVersion = version;
      this.bySeq = new Map(fills.map((fill) => [fill.seq, fill]));
      this.table.setIds([...this.bySeq.keys()].reverse());
      setText(this.count, fills.length ? `${fills.length}` : "none since this page was opened");
    }
    this.table.render();
  }
}
