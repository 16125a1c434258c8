// The kill switch: three levels for each node of the tree, and back. What stops is one step; what lets trading go on asks for a reason like all of it.

import { element, find, options, setClass, setText } from "../dom.js";
import { money } from "../decimal.js";
import { word } from "../words.js";

const LEVELS = {
  TRADING_LEVEL_BLOCK_NEW: "no new orders; cancels pass",
  TRADING_LEVEL_CANCEL_ALL: "no new orders, and every open order is cancelled now",
  TRADING_LEVEL_FREEZE: "nothing passes, cancels neither",
  TRADING_LEVEL_NORMAL: "everything within the limits passes",
};

export class RiskView {
  constructor(app) {
    this.app = app;
    this.dialog = find("#kill");
    this.node = find("#kill-node");
    this.reason = find("#kill-reason");
    this.tree = find("#kill-tree");
    this.state = find("#trading");
    this.rows = new Map();
    find("#kill-open").addEventListener("click", () => this.open());
    find("#kill-close").addEventListener("click", () => this.dialog.close());
    for (const one of this.dialog.querySelectorAll("[data-level]")) one.addEventListener("click", (event) => this.set(one.dataset.level, event));
  }

  open() {
    if (this.dialog.open || !this.app.may("kill")) return;
    this.dialog.showModal();
    find("[data-level=TRADING_LEVEL_BLOCK_NEW]", this.dialog).focus();
  }

  async set(level, event) {
    if (event.detail > 1 || this.isBusy) return;
    this.isBusy = true;
    try {
      const reason = this.reason.value.trim() || `${word(level, "TRADING_LEVEL")} from the blotter`;
      if (await this.app.actions.setLevel(this.node.value, level, reason)) this.dialog.close();
    } finally {
      this.isBusy = false;
    }
  }

  // Takes a ListLimitsResponse.
  take(answer) {
    const nodes = answer.nodes ?? [];
    for (const node of nodes) this.tellChange(node);
    this.levels = new Map(nodes.map((one) => [one.node, one.effectiveLevel]));
    this.nodes = nodes;
    this.currency = answer.baseCurrency;
    this.app.mark(this);
  }

  tellChange(node) {
    const before = this.levels?.get(node.node);
    if (!before || before === node.effectiveLevel) return;
    const isStop = node.effectiveLevel !== "TRADING_LEVEL_NORMAL";
    const why = node.blockedUntilNs ? " by itself, after too many denials" : "";
    this.app.alert(isStop ? "danger" : "warning", `trading state of ${node.node}: ${word(node.effectiveLevel, "TRADING_LEVEL")}${why}`);
  }

  render() {
    const { nodes } = this;
    if (!nodes) return;
    options(this.node, nodes.map((one) => one.node));
    const stopped = nodes.filter((one) => one.effectiveLevel !== "TRADING_LEVEL_NORMAL");
    const worst = stopped.length === nodes.length && nodes.length ? word(stopped[0].effectiveLevel, "TRADING_LEVEL") : `${stopped.length} of ${nodes.length} nodes stopped`;
    setText(this.state, stopped.length ? worst : "normal");
    setClass(this.state, `value ${stopped.length ? "stop" : ""}`);
    setText(find("#trading-note"), stopped.length ? stopped.slice(0, 3).map((one) => `${one.node}: ${word(one.effectiveLevel, "TRADING_LEVEL")}`).join(" \u00b7 ") : "");
    for (const one of nodes) this.renderNode(one);
  }

  renderNode(one) {
    if (!this.rows.has(one.node)) {
      const cells = Array.from({ length: 4 }, (_, index) => element("td", { class: index > 1 ? "number" : "" }));
      this.tree.append(element("tr", {}, ...cells));
      this.rows.set(one.node, cells);
    }
    const cells = this.rows.get(one.node);
    const texts = [one.node, word(one.effectiveLevel, "TRADING_LEVEL"), `${one.openOrders ?? 0}`, `${money(one.openNotional ?? "0")} ${this.currency ?? ""}`];
    texts.forEach((text, index) => setText(cells[index], text));
    setClass(cells[1], one.effectiveLevel === "TRADING_LEVEL_NORMAL" ? "" : "bad");
  }
}

export { LEVELS };
