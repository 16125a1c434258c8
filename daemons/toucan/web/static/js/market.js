// Top of book and depth as told by WatchMarketData, and the rows of a ladder over it. Pure.

// Steps from row to row, in ticks, where the market is too wide for one tick a row.
const STEPS = [1, 2, 5];

export class Market {
  constructor() {
    this.symbols = new Map();
    this.stale = new Set(); // symbols whose venue tells nothing
  }

  apply(message) {
    for (const one of message.marketData ?? []) this.symbols.set(one.symbol, one);
    this.stale = new Set(message.staleSymbols ?? []);
  }

  get(symbol) {
    return this.symbols.get(symbol);
  }
}

// Whatever levels there are, best first: [[price, quantity], …] in units; the top of the book alone is one level.
export function levelsOf(data, side) {
  if (!data) return [];
  const levels = (side === "SIDE_BUY" ? data.bids : data.asks) ?? [];
  if (levels.length) return levels.map((level) => [BigInt(level.price), BigInt(level.quantity ?? 0)]);
  const price = side === "SIDE_BUY" ? data.bidPrice : data.askPrice;
  if (price === undefined) return [];
  return [[BigInt(price), BigInt((side === "SIDE_BUY" ? data.bidQuantity : data.askQuantity) ?? 0)]];
}

// How many orders stand at each level, as far as the venue says: [[price, count], …].
function ordersOf(data, side) {
  const levels = (side === "SIDE_BUY" ? data?.bids : data?.asks) ?? [];
  return levels.map((level) => [BigInt(level.price), BigInt(level.orders ?? 0)]);
}

// Where a ladder is centred: between the best prices, else the only one, else the last trade; null: nothing is known.
export function middle(data) {
  const bid = levelsOf(data, "SIDE_BUY")[0]?.[0];
  const ask = levelsOf(data, "SIDE_SELL")[0]?.[0];
  if (bid !== undefined && ask !== undefined) return (bid + ask) / 2n;
  return bid ?? ask ?? (data?.lastPrice === undefined ? null : BigInt(data.lastPrice));
}

// The step in units of prices at which most of the levels are on a ladder of so many rows.
export function fittingStep(data, tick, rows) {
  const all = [...levelsOf(data, "SIDE_BUY"), ...levelsOf(data, "SIDE_SELL")].map(([price]) => price);
  if (all.length < 2) return tick;
  const span = all.reduce((a, b) => (a > b ? a : b)) - all.reduce((a, b) => (a < b ? a : b));
  for (let scale = 1n; ; scale *= 10n) {
    for (const step of STEPS) {
      const size = tick * BigInt(step) * scale;
      if (span / size < BigInt(rows) - 2n) return size;
    }
  }
}

function floorTo(value, step) {
  const rest = value % step;
  return value - (rest < 0n ? rest + step : rest);
}

function ceilTo(value, step) {
  const floor = floorTo(value, step);
  return floor === value ? value : floor + step;
}

// Rows from the highest price down: {price, bid, ask, ownBid, ownAsk, bidOrders, askOrders, isLast, isBestBid, isBestAsk}, quantities in units, orders counted (0n: none,
// or not said). A bid between two rows counts at the lower, an offer at the higher one: nobody is shown a better price than there is.
export function ladderRows({ data, own, centre, step, rows }) {
  const bids = collected(levelsOf(data, "SIDE_BUY"), (price) => floorTo(price, step));
  const asks = collected(levelsOf(data, "SIDE_SELL"), (price) => ceilTo(price, step));
  const bidOrders = collected(ordersOf(data, "SIDE_BUY"), (price) => floorTo(price, step));
  const askOrders = collected(ordersOf(data, "SIDE_SELL"), (price) => ceilTo(price, step));
  const ownBids = collected(own.filter((one) => one.side === "SIDE_BUY").map(pair), (price) => floorTo(price, step));
  const ownAsks = collected(own.filter((one) => one.side === "SIDE_SELL").map(pair), (price) => ceilTo(price, step));
  const last = data?.lastPrice === undefined ? null : floorTo(BigInt(data.lastPrice), step);
  const bestBid = first(bids);
  const bestAsk = first(asks);
  const top = floorTo(centre, step) + step * BigInt(Math.floor(rows / 2));
  return Array.from({ length: rows }, (_, index) => {
    const price = top - step * BigInt(index);
    return {
      price, bid: bids.get(price) ?? 0n, ask: asks.get(price) ?? 0n, ownBid: ownBids.get(price) ?? 0n, ownAsk: ownAsks.get(price) ?? 0n,
      bidOrders: bidOrders.get(price) ?? 0n, askOrders: askOrders.get(price) ?? 0n,
      isLast: price === last, isBestBid: price === bestBid, isBestAsk: price === bestAsk,
    };
  }).filter((row) => row.price > 0n);
}

function pair(one) {
  return [one.price, one.quantity];
}

function collected(levels, place) {
  const found = new Map();
  for (const [price, quantity] of levels) found.set(place(price), (found.get(place(price)) ?? 0n) + quantity);
  return found;
}

function first(levels) {
  return levels.size ? levels.keys().next().value : null;
}
