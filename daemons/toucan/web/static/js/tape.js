// What was traded, as WatchMarketData tells it: the newest lines of each symbol, with what was cancelled or corrected since. Pure.

// Lines that are kept of a symbol: as many as the gateway keeps for a stream that comes again.
export const LINES_MAX = 100;

class Lines {
  constructor(life) {
    Object.assign(this, { life, lines: [], number: 0n, traded: 0n });
  }

  // Returns whether anything is new.
  apply(told) {
    const before = this.number;
    if (BigInt(told.leftOut ?? 0)) this.add({ kind: "gap", count: BigInt(told.leftOut), quantity: BigInt(told.leftOutQuantity ?? 0), number: this.number });
    for (const trade of told.trades ?? []) {
      if (BigInt(trade.number) <= this.number) continue; // told already, to a stream that broke off
      this.number = BigInt(trade.number);
      this.take(trade);
    }
    this.traded = BigInt(told.traded ?? this.traded);
    return this.number !== before;
  }

  take(trade) {
    if (trade.kind === "TRADE_KIND_TRADE") return this.add({ ...trade, kind: "trade", number: this.number });
    const kind = trade.kind === "TRADE_KIND_BUST" ? "bust" : "corrected";
    const at = this.lines.findIndex((line) => line.kind !== "gap" && String(line.number) === trade.tradeNumber);
    // A line is another object when it has changed. One that is older than the tape is told as a line of its own.
    if (at < 0) return this.add({ ...trade, kind, number: this.number });
    const right = kind === "corrected" ? { price: trade.price, quantity: trade.quantity } : {};
    this.lines[at] = { ...this.lines[at], ...right, kind };
    return undefined;
  }

  add(line) {
    this.lines.push(line);
    if (this.lines.length > LINES_MAX) this.lines.shift();
  }
}

export class Tape {
  constructor() {
    this.symbols = new Map();
  }

  apply(trades) {
    let isNews = false;
    for (const told of trades ?? []) {
      // Another life: the venue has begun to count anew.
      if (this.symbols.get(told.symbol)?.life !== told.life) this.symbols.set(told.symbol, new Lines(told.life));
      isNews = this.symbols.get(told.symbol).apply(told) || isNews;
    }
    return isNews;
  }

  // Newest first.
  lines(symbol) {
    return (this.symbols.get(symbol)?.lines ?? []).toReversed();
  }

  traded(symbol) {
    return this.symbols.get(symbol)?.traded ?? 0n;
  }

  // Where a stream that is opened anew goes on.
  places(symbols) {
    const known = symbols.filter((symbol) => this.symbols.get(symbol)?.number);
    return known.map((symbol) => {
      const { life, number, traded } = this.symbols.get(symbol);
      return { symbol, life, number: String(number), traded: String(traded) };
    });
  }

  // All of it, for a window that comes later.
  get snapshot() {
    return [...this.symbols].map(([symbol, one]) => [symbol, { ...one, lines: [...one.lines] }]);
  }

  // In place of what was there.
  restore(snapshot) {
    this.symbols = new Map(snapshot.map(([symbol, one]) => [symbol, Object.assign(new Lines(one.life), one)]));
  }
}
