// What is typed in the command line: "b 100 aapl @ 189.50 ioc". The words are those of the `toucan` command, with one letter for the frequent ones.
//
//   buy|b|sell|s QUANTITY SYMBOL [@] PRICE|market   [day|gtc|ioc|fok] [stop PRICE] [show QUANTITY] [post] [reduce] [for ACCOUNT] [note TEXT…]
//   cancel|x ID… | cancel|x all|buys|sells [SYMBOL]
//   replace|r ID [QUANTITY] [@ PRICE]
//
// Pure: text, instruments and defaults in; an instruction or an Error that says what was wrong and what would be right out.

import { toUnits } from "./decimal.js";

export const EXAMPLE = "b 100 AAPL @ 189.50 ioc";
const SIDES = { b: "SIDE_BUY", buy: "SIDE_BUY", s: "SIDE_SELL", sell: "SIDE_SELL" };
const LIVES = { day: "DAY", gtc: "GTC", ioc: "IOC", fok: "FOK" };
const COMMAND_CHARACTERS_MAX = 400;

export function parse(text, { instruments, account, accounts, orders }) {
  if (text.length > COMMAND_CHARACTERS_MAX) throw new Error(`a command has at most ${COMMAND_CHARACTERS_MAX} characters`);
  const words = text.trim().replace(/@(?=\S)/g, "@ ").split(/\s+/).filter(Boolean);
  const [verb, ...rest] = words;
  if (verb === undefined) return null;
  const name = verb.toLowerCase();
  if (Object.hasOwn(SIDES, name)) return order(SIDES[name], rest, { instruments, account, accounts });
  if (name === "x" || name === "cancel") return cancel(rest, instruments);
  if (name === "r" || name === "replace") return replace(rest, instruments, orders);
  throw new Error(`${JSON.stringify(verb.slice(0, 20))} is no command: ${EXAMPLE}, x ID, r ID QUANTITY @ PRICE`);
}

function order(side, words, context) {
  if (words.length < 3) throw new Error(`an order is a quantity, a symbol and a price: ${EXAMPLE}`);
  const [quantityWord, symbolWord, ...rest] = words;
  const instrument = instrumentOf(symbolWord, context.instruments);
  const terms = {
    account: context.account, symbol: instrument.symbol, side, timeInForce: "TIME_IN_FORCE_DAY",
    quantity: quantityUnits(quantityWord, instrument),
  };
  if (rest[0] === "@" || rest[0]?.toLowerCase() === "at") rest.shift();
  const first = rest.shift();
  if (first === undefined) throw new Error(`a price, or "market", is missing: ${EXAMPLE}`);
  if (!["market", "mkt", "m"].includes(first.toLowerCase())) terms.price = priceUnits(first, instrument);
  while (rest.length) option(terms, rest, instrument, context);
  terms.type = orderType(terms);
  if (!terms.account) throw new Error(`say for which account: ${EXAMPLE} for ${context.accounts[0] ?? "ACCOUNT"}`);
  return { kind: "order", terms };
}

function option(terms, rest, instrument, context) {
  const word = rest.shift();
  const name = word.toLowerCase();
  const value = () => {
    if (!rest.length) throw new Error(`something is missing after ${word}`);
    return rest.shift();
  };
  if (Object.hasOwn(LIVES, name)) terms.timeInForce = `TIME_IN_FORCE_${LIVES[name]}`;
  else if (name === "stop") terms.stopPrice = priceUnits(value(), instrument);
  else if (name === "show") terms.maxFloor = quantityUnits(value(), instrument);
  else if (name === "post") terms.postOnly = true;
  else if (name === "reduce") terms.reduceOnly = true;
  else if (name === "for") terms.account = accountOf(value(), context.accounts);
  else if (name === "note") terms.note = rest.splice(0).join(" ");
  else throw new Error(`what is ${JSON.stringify(word.slice(0, 20))}? After the price: day gtc ioc fok, stop PRICE, show QUANTITY, post, reduce, for ACCOUNT`);
}

function cancel(words, instruments) {
  if (!words.length) throw new Error("cancel what? x ID, x all, x buys AAPL");
  const which = words[0].toLowerCase();
  if (["all", "buys", "sells"].includes(which)) {
    if (words.length > 2) throw new Error(`x ${which} SYMBOL: one symbol, or none for all`);
    const side = { all: "SIDE_UNSPECIFIED", buys: "SIDE_BUY", sells: "SIDE_SELL" }[which];
    return { kind: "massCancel", side, symbol: words[1] ? instrumentOf(words[1], instruments).symbol : "" };
  }
  return { kind: "cancel", orderIds: words.map(orderId) };
}

function replace(words, instruments, orders) {
  const [idWord, ...rest] = words;
  if (idWord === undefined || !rest.length) throw new Error("replace what? r ID QUANTITY @ PRICE, r ID @ PRICE");
  const id = orderId(idWord);
  const found = orders.get(id);
  if (!found) throw new Error(`there is no order ${id} on this page`);
  const instrument = instruments.get(found.terms.symbol);
  const change = { kind: "replace", orderId: id };
  if (rest[0] !== "@") change.quantity = quantityUnits(rest.shift(), instrument);
  if (rest[0] === "@") rest.shift();
  if (rest.length) change.price = priceUnits(rest.shift(), instrument);
  if (rest.length) throw new Error(`what is ${JSON.stringify(rest[0].slice(0, 20))}? r ID QUANTITY @ PRICE`);
  return change;
}

export function instrumentOf(word, instruments) {
  const found = instruments.get(word) ?? instruments.get(word.toUpperCase());
  if (!found) throw new Error(`${JSON.stringify(word.slice(0, 20))} is not in the instrument table: ${[...instruments.keys()].slice(0, 6).join(", ")}`);
  return found;
}

export function orderType({ price, stopPrice }) {
  if (stopPrice !== undefined) return price === undefined ? "ORDER_TYPE_STOP" : "ORDER_TYPE_STOP_LIMIT";
  return price === undefined ? "ORDER_TYPE_MARKET" : "ORDER_TYPE_LIMIT";
}

// "1k" is 1000, "2.5m" 2500000; checked against the lot. In units of quantities, as text.
export function quantityUnits(text, instrument) {
  const found = /^(\d*\.?\d*)([km]?)$/i.exec(text.replaceAll(",", ""));
  if (!found) throw new Error(`the quantity ${JSON.stringify(text.slice(0, 20))} is not a number`);
  const zeros = { k: 3, m: 6 }[found[2].toLowerCase()] ?? 0;
  // Read with so many decimals more, "2.5k" comes out multiplied.
  const value = toUnits(found[1], (instrument.quantityDecimals ?? 0) + zeros, "the quantity");
  return checked(value, instrument.lot, "the quantity", text, "lot").toString();
}

// Checked against the tick. In units of prices, as text.
export function priceUnits(text, instrument) {
  const value = toUnits(text, instrument.priceDecimals ?? 0, "the price");
  return checked(value, instrument.tick, "the price", text, "tick").toString();
}

function checked(value, step, what, text, name) {
  if (value <= 0n) throw new Error(`${what} ${text} must be more than zero`);
  if (value >= 2n ** 63n) throw new Error(`${what} ${text} is too large`);
  if (value % BigInt(step ?? 1)) throw new Error(`${what} ${text} is no multiple of the ${name}`);
  return value;
}

function accountOf(word, accounts) {
  const found = accounts.find((one) => one === word) ?? accounts.find((one) => one.toLowerCase() === word.toLowerCase());
  if (!found) throw new Error(`${JSON.stringify(word.slice(0, 20))} is none of your accounts: ${accounts.slice(0, 6).join(", ")}`);
  return found;
}

function orderId(word) {
  if (!/^#?\d{1,18}$/.test(word)) throw new Error(`${JSON.stringify(word.slice(0, 20))} is no order's id`);
  return word.replace("#", "").replace(/^0+(?=\d)/, "");
}
