// Whether what is shown can be believed: over the whole width where it cannot.

import { find, setClass, setText } from "../dom.js";
import { judge } from "../freshness.js";

export class BannerView {
  constructor(app) {
    this.app = app;
    this.banner = find("#banner");
    this.state = find("#connection");
    this.pulseMs = Date.now();
    this.streams = {};
    setInterval(() => this.look(), 250);
    addEventListener("offline", () => this.look());
    addEventListener("online", () => this.look());
  }

  take(status) {
    this.pulseMs = Date.now();
    this.streams = status.streams;
    this.look();
  }

  look() {
    const before = this.app.verdict;
    const verdict = judge({ streams: this.streams, pulseMs: this.pulseMs, nowMs: Date.now(), isOnline: navigator.onLine });
    this.app.verdict = verdict;
    if (before.level !== verdict.level) this.tell(before, verdict);
    if (before.level !== verdict.level || before.text !== verdict.text) this.app.markAll();
  }

  tell(before, verdict) {
    if (verdict.level === "stale") this.app.alert("danger", `STALE: ${verdict.text}`);
    else if (verdict.level === "live" && this.wasLive) this.app.alert("info", "live again: everything that happened meanwhile is told");
    if (verdict.level === "live") this.wasLive = true;
  }

  render() {
    const { level, text } = this.app.verdict;
    setClass(this.state, `value ${level}`);
    setText(this.state, { live: "live", opening: "connecting", stale: "STALE" }[level]);
    setText(find("#banner-text"), level === "stale" ? text : level === "opening" ? "Connecting: nothing can be entered yet" : "");
    setClass(this.banner, `banner ${level}`);
    if (document.body.dataset.level !== level) document.body.dataset.level = level;
  }
}
