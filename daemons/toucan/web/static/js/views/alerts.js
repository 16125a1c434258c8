// What a person must hear: denials, refusals, rejects, trading states, lost connections. The newest first; read out as it comes.

import { element, find, setText } from "../dom.js";

const ALERTS_MAX = 200;
const SAME_WITHIN_MS = 1500; // Ten orders that are denied for the same reason at once are one alert with a count.

export class AlertsView {
  constructor(app) {
    this.app = app;
    this.list = find("#alerts");
    this.count = find("#alerts-count");
    this.lastMs = 0;
    find("#alerts-clear").addEventListener("click", () => this.list.replaceChildren());
  }

  add(level, text, act) {
    const nowMs = Date.now();
    const first = this.list.firstElementChild;
    if (first && !act && first.said === text && nowMs - this.lastMs < SAME_WITHIN_MS) {
      first.times += 1;
      setText(first.querySelector(".times"), `\u00d7${first.times}`);
    } else this.list.prepend(this.line(level, text, act, nowMs));
    this.lastMs = nowMs;
    while (this.list.childElementCount > ALERTS_MAX) this.list.lastElementChild.remove();
    // Read out at once what cannot wait, the rest when there is a pause.
    setText(find(level === "danger" ? "#loud" : "#quiet"), text);
    this.app.mark(this);
  }

  line(level, text, act, nowMs) {
    const time = new Date(nowMs).toTimeString().slice(0, 8);
    const line = element("li", { class: `alert ${level}` }, element("time", {}, time), element("span", { class: "what" }, text), element("span", { class: "times" }));
    line.said = text;
    line.times = 1;
    if (act) {
      line.append(element("button", { type: "button", class: "small wide", onclick: (event) => {
        if (event.detail > 1) return;
        event.target.disabled = true;
        act.act();
      } }, act.title));
    }
    return line;
  }

  render() {
    setText(this.count, `${this.list.childElementCount || ""}`);
  }
}

// What in an order's update a person must hear; null: nothing. Rejects and busts of orders that somebody else entered are told too: they are his accounts.
export function alertOf(update, words) {
  const { order } = update;
  const because = order.text || order.reason ? `: ${order.text || order.reason}` : "";
  const what = {
    EXECUTION_TYPE_REJECTED: ["danger", `order ${order.orderId} rejected by ${order.venue}${because} (${words})`],
    EXECUTION_TYPE_CANCEL_REJECT: ["warning", `order ${order.orderId}: ${order.venue} refused a cancel or a replacement${because}`],
    EXECUTION_TYPE_TRADE_CANCEL: ["danger", `order ${order.orderId}: an execution was busted by ${order.venue} (${words})`],
    EXECUTION_TYPE_TRADE_CORRECT: ["danger", `order ${order.orderId}: an execution was corrected by ${order.venue} (${words})`],
    EXECUTION_TYPE_SUSPENDED: ["warning", `order ${order.orderId} suspended by ${order.venue}${because}`],
    EXECUTION_TYPE_EXPIRED: ["info", `order ${order.orderId} expired (${words})`],
  }[update.executionType];
  if (what) return what;
  return update.event === "RequestNotReceived" ? ["danger", `order ${order.orderId}: ${order.venue} never received what was sent${because}`] : null;
}
