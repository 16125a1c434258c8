// The page's end of the hub.

import { Hub } from "./hub.js";

// Calls `take` with each message of the hub; returns how to send it one. One hub for each login, however many windows.
export function openFeed(login, take) {
  if (typeof SharedWorker === "undefined") {
    const hub = new Hub();
    const post = (message) => queueMicrotask(() => take(message));
    return (message) => hub.take(post, message);
  }
  const policy = globalThis.trustedTypes?.createPolicy("toucan", { createScriptURL: () => "/js/worker.js" });
  const worker = new SharedWorker(policy ? policy.createScriptURL("") : "/js/worker.js", { type: "module", name: `${login.user} ${login.expires_at_s}` });
  worker.port.onmessage = ({ data }) => take(data);
  worker.onerror = () => take({ kind: "failed", text: "the worker that holds the streams did not start" });
  const lock = `toucan ${crypto.randomUUID()}`;
  const isHeld = new Promise((resolve) => {
    if (!navigator.locks) return resolve();
    return navigator.locks.request(lock, () => {
      resolve();
      return new Promise(() => {}); // for as long as the page lives
    });
  });
  addEventListener("pagehide", () => worker.port.postMessage({ kind: "bye" }));
  return (message) => isHeld.then(() => worker.port.postMessage({ lock, ...message }));
}
