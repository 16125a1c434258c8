// Staged orders: what strategies propose, to be released or rejected by a person. Shown to whoever may do that.

import { element, find, setText } from "../dom.js";
import { Table } from "../table.js";
import { clock, termsWords } from "../words.js";

export class StagedView {
  constructor(app) {
    this.app = app;
    this.items = new Map();
    const instrument = (one) => app.instruments.get(one.terms.symbol);
    const columns = [
      { key: "id", title: "id", width: "4ch", isNumber: true, text: (one) => one.stagedId },
      { key: "terms", title: "proposal", width: "minmax(20ch, 1.6fr)", isLong: true, tone: (one) => (one.terms.side === "SIDE_BUY" ? "buy" : "sell"), text: (one) => termsWords(one.terms, instrument(one)) },
      { key: "proposer", title: "by", width: "minmax(6ch, 0.5fr)", isLong: true, text: (one) => one.proposer },
      { key: "why", title: "why", width: "minmax(8ch, 1.6fr)", isLong: true, tone: (one) => (one.denials?.length ? "bad" : "quiet"), text: (one) => one.denials?.[0]?.text ?? one.why },
      { key: "until", title: "until", width: "9ch", text: (one) => clock(one.expiresNs).slice(0, 8) },
      { key: "acts", title: "", width: "120px", make: (cell) => cell.append(button("release", "release"), button("reject", "reject")), show: label },
    ];
    this.table = new Table(find("#staged"), {
      label: "Staged orders", columns, leastPx: 620, item: (id) => this.items.get(id), mark: () => app.mark(this), act: (action, id) => this.act(action, id),
    });
  }

  take(staged) {
    for (const one of staged) if (!this.items.has(one.stagedId) && this.isKnown) this.app.alert("info", `staged ${one.stagedId} by ${one.proposer}: ${one.why}`);
    this.isKnown = true;
    this.items = new Map(staged.map((one) => [one.stagedId, one]));
    this.app.mark(this);
  }

  async act(action, id) {
    const one = this.items.get(id);
    if (!one) return;
    const words = termsWords(one.terms, this.app.instruments.get(one.terms.symbol));
    if (action === "release" || action === "Enter") await this.release(one, words);
    else if (action === "reject" || action === "Delete") await this.reject(one, words);
  }

  async release(one, words) {
    const lines = [`proposed by ${one.proposer}: ${one.why}`, ...(one.denials ?? []).map((denial) => denial.text)];
    if (!(await this.app.confirm({ title: `Release staged order ${one.stagedId}`, words, lines, yes: "Release", no: "Not now" }))) return;
    const { actions, orderLane } = this.app;
    const request = { stagedId: one.stagedId, revision: one.revision };
    if (!actions.mayEnter(words)) return;
    await actions.withConfirmation(`release ${one.stagedId}: ${words}`, (isConfirmed) =>
      orderLane.send("StagedOrderService/ReleaseStagedOrder", { ...request, ...(isConfirmed && { isConfirmed }) }), null);
  }

  async reject(one, words) {
    const why = await this.app.ask({ title: `Reject staged order ${one.stagedId}`, words, label: "Why", yes: "Reject", no: "Not now" });
    if (why) await this.app.actions.told(`reject ${one.stagedId}`, () => this.app.cancelLane.send("StagedOrderService/RejectStagedOrder", { stagedId: one.stagedId, why }));
  }

  render() {
    this.table.setIds([...this.items.keys()].reverse());
    this.table.render();
    setText(find("#staged-count"), `${this.items.size || ""}`);
  }
}

function button(action, text) {
  return element("button", { type: "button", tabindex: "-1", class: "small wide", "data-action": action }, text);
}

function label(cell, one) {
  for (const button of cell.children) {
    const text = `${button.dataset.action} staged order ${one.stagedId}`;
    if (button.getAttribute("aria-label") !== text) button.setAttribute("aria-label", text);
  }
}
