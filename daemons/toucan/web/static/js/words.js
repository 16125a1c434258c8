// Values of the protocol as people say them.

import { fromUnits, grouped, trimmed } from "./decimal.js";

// "ORDER_STATUS_PARTIALLY_FILLED", "ORDER_STATUS" -> "partially filled".
export function word(value, prefix) {
  return value ? value.slice(prefix.length + 1).toLowerCase().replaceAll("_", " ") : "";
}

export function price(units, instrument) {
  return fromUnits(units, instrument?.priceDecimals ?? 0);
}

export function quantity(units, instrument) {
  return grouped(trimmed(fromUnits(units ?? "0", instrument?.quantityDecimals ?? 0)));
}

export function sideWord(side) {
  return side === "SIDE_BUY" ? "buy" : "sell";
}

// How long it lives and what else is said of it: "day", "ioc", "gtc · stop 190.00 · post".
export function lifeWords(terms, instrument) {
  const said = [word(terms.timeInForce, "TIME_IN_FORCE")];
  if (terms.stopPrice !== undefined) said.push(`stop ${price(terms.stopPrice, instrument)}`);
  if (terms.maxFloor !== undefined) said.push(`shows ${quantity(terms.maxFloor, instrument)}`);
  if (terms.postOnly) said.push("post");
  if (terms.reduceOnly) said.push("reduce");
  return said.join(" \u00b7 ");
}

// "buy 100 AAPL @ 189.50 ioc for ACC1".
export function termsWords(terms, instrument) {
  const said = [sideWord(terms.side), quantity(terms.quantity, instrument), terms.symbol];
  said.push(terms.price === undefined ? "market" : `@ ${price(terms.price, instrument)}`);
  if (terms.stopPrice !== undefined) said.push(`stop ${price(terms.stopPrice, instrument)}`);
  const life = word(terms.timeInForce, "TIME_IN_FORCE");
  if (life !== "day") said.push(life);
  if (terms.maxFloor !== undefined) said.push(`showing ${quantity(terms.maxFloor, instrument)}`);
  if (terms.postOnly) said.push("post-only");
  if (terms.reduceOnly) said.push("reduce-only");
  return [...said, "for", terms.account].join(" ");
}

// How an order stands: its status, and what was sent and not answered.
export function statusWords(order) {
  const status = word(order.status, "ORDER_STATUS");
  const waiting = (order.requests ?? []).map((one) => word(one.kind, "REQUEST_KIND")).filter((kind) => kind !== "new");
  return waiting.length ? `${status}, ${waiting.join(" + ")} sent` : status;
}

// Nanoseconds in text -> local "14:05:01.123".
export function clock(ns) {
  if (!ns) return "";
  const ms = Number(BigInt(ns) / 1_000_000n);
  const at = new Date(ms);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(ms % 1000).padStart(3, "0")}`;
}
