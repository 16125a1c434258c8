// Whether what the page shows can be believed, from when each stream was last heard. Pure: times are arguments, in milliseconds.
//
// The gateway says something on each stream at least every 5 s. Two and a half seconds more are for a slow network; the worker that holds the streams tells the
// page every second that it lives.

export const SILENCE_MAX_MS = 7500;
export const PULSE_MAX_MS = 4000;

const NAMES = { orders: "orders", positions: "positions", market: "market data" };

// streams: {name: {state: "opening"|"live"|"broken"|"refused", isStale, heardMs, why}}. Returns {level: "live"|"opening"|"stale", canEnter, text}.
export function judge({ streams, pulseMs, nowMs, isOnline }) {
  if (!isOnline) return stale("This machine is offline");
  if (nowMs - pulseMs > PULSE_MAX_MS) return stale("The connection's own process does not answer");
  const all = Object.entries(streams).filter(([, stream]) => stream.state !== "refused");
  for (const [name, stream] of all) {
    const what = NAMES[name] ?? name;
    if (stream.state === "broken") return stale(`No connection for ${what}${since(stream, nowMs)}: ${stream.why || "trying again"}`);
    if (stream.state === "live" && nowMs - stream.heardMs > SILENCE_MAX_MS) return stale(`Nothing heard of ${what}${since(stream, nowMs)}`);
    if (stream.state === "live" && stream.isStale) return stale(`The gateway does not follow the engine: ${what} may be old`);
  }
  const orders = streams.orders;
  if (!orders || all.some(([, stream]) => stream.state === "opening")) return { level: "opening", canEnter: false, text: "Connecting" };
  return { level: "live", canEnter: true, text: "Live" };
}

function stale(text) {
  return { level: "stale", canEnter: false, text };
}

function since(stream, nowMs) {
  return stream.heardMs ? ` for ${Math.max(0, Math.round((nowMs - stream.heardMs) / 1000))} s` : "";
}
