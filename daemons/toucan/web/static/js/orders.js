// Orders, fills and what is worth an alert, from the messages of WatchOrders. Pure: messages in, state out; no clock, no page, no network.
//
// A message is taken once: what is not newer than what is held of an order is left alone, so a stream that begins again, or a second one, changes nothing.
// A snapshot takes the place of everything that is working; what it does not name has ended unseen.

const FINISHED_MAX = 5000; // Finished orders are kept for the eye: the journal has them all.
const FILLS_MAX = 5000;

const OPEN = new Set([
  "ORDER_STATUS_PENDING_NEW", "ORDER_STATUS_NEW", "ORDER_STATUS_PARTIALLY_FILLED", "ORDER_STATUS_PENDING_CANCEL", "ORDER_STATUS_STOPPED",
  "ORDER_STATUS_SUSPENDED", "ORDER_STATUS_PENDING_REPLACE", "ORDER_STATUS_DONE_FOR_DAY",
]);
const FILLS = { EXECUTION_TYPE_TRADE: "fill", EXECUTION_TYPE_TRADE_CANCEL: "bust", EXECUTION_TYPE_TRADE_CORRECT: "correction" };

export function isWorking(order) {
  return OPEN.has(order.status);
}

export class OrderBook {
  // owner: whose working orders are summed up by price, for the ladder.
  constructor(owner = "") {
    this.owner = owner;
    this.resting = new Map(); // symbol -> "side price" -> {side, price, quantity, ids}
    this.working = []; // ids, the newest first
    this.orders = new Map(); // by id, in the order in which they were first told
    this.fills = []; // oldest first
    this.seq = 0n; // everything up to it is told
    this.version = 0; // another one: other orders, or another order of them
    this.finished = []; // ids, in the order in which they ended
    this.snapshot = null; // ids told so far, while one arrives
    this.fillIds = new Set();
  }

  get(id) {
    return this.orders.get(id);
  }

  // Takes a WatchOrdersResponse. Returns what of it is news: updates that were not known.
  apply(message) {
    if (message.isSnapshot && !this.snapshot) this.snapshot = new Set();
    const news = [];
    for (const update of message.updates ?? []) {
      if (!update.order) continue;
      if (message.isSnapshot) this.snapshot.add(update.order.orderId);
      if (this.put(update.order, message.isSnapshot) && !message.isSnapshot) news.push(update);
      if (update.execution && Object.hasOwn(FILLS, update.executionType)) this.addFill(update);
    }
    if (message.isSnapshotEnd) this.endSnapshot();
    if (message.seq !== undefined && BigInt(message.seq) > 0n) this.seq = BigInt(message.seq);
    return news;
  }

  // Whether it was newer than what was held. A snapshot is right in any case: also one of another history, whose numbers are lower.
  put(order, isSnapshot = false) {
    const held = this.orders.get(order.orderId);
    if (held && !isSnapshot && BigInt(held.updatedSeq ?? 0) >= BigInt(order.updatedSeq ?? 0)) return false;
    const was = held ? isWorking(held) : false;
    const is = isWorking(order);
    this.orders.set(order.orderId, order);
    if (was !== is || !held) this.version += 1;
    if (was) this.takeOut(held, !is);
    if (is) this.putIn(order, !was);
    if (!is && (was || !held)) this.finish(order.orderId);
    return true;
  }

  get workingCount() {
    return this.working.length;
  }

  putIn(order, isNew) {
    if (isNew) this.working.splice(placeOf(this.working, order.orderId), 0, order.orderId);
    const { symbol, side, price } = order.terms;
    if (order.owner !== this.owner || price === undefined) return;
    if (!this.resting.has(symbol)) this.resting.set(symbol, new Map());
    const levels = this.resting.get(symbol);
    const key = `${side} ${price}`;
    if (!levels.has(key)) levels.set(key, { side, price: BigInt(price), quantity: 0n, ids: new Set() });
    const level = levels.get(key);
    level.quantity += BigInt(order.leavesQuantity ?? 0);
    level.ids.add(order.orderId);
  }

  takeOut(order, isOver) {
    if (isOver) this.working.splice(placeOf(this.working, order.orderId), 1);
    const { symbol, side, price } = order.terms;
    const levels = this.resting.get(symbol);
    const level = levels?.get(`${side} ${price}`);
    if (!level?.ids.delete(order.orderId)) return;
    level.quantity -= BigInt(order.leavesQuantity ?? 0);
    if (!level.ids.size) levels.delete(`${side} ${price}`);
  }

  finish(id) {
    this.finished.push(id);
    if (this.finished.length <= FINISHED_MAX) return;
    for (const old of this.finished.splice(0, this.finished.length - FINISHED_MAX)) {
      const order = this.orders.get(old);
      if (order && !isWorking(order)) this.orders.delete(old);
    }
    this.version += 1;
  }

  endSnapshot() {
    for (const [id, order] of this.orders) {
      if (!isWorking(order) || this.snapshot?.has(id)) continue;
      this.orders.delete(id);
      this.takeOut(order, true);
    }
    this.snapshot = null;
    this.version += 1;
  }

  addFill(update) {
    const key = `${update.seq}`;
    if (this.fillIds.has(key)) return;
    this.fillIds.add(key);
    this.fills.push({ seq: update.seq, kind: FILLS[update.executionType], atNs: update.atNs, order: update.order, execution: update.execution });
    if (this.fills.length > 1 && BigInt(this.fills.at(-2).seq) > BigInt(update.seq)) this.fills.sort((a, b) => (BigInt(a.seq) < BigInt(b.seq) ? -1 : 1));
    if (this.fills.length > FILLS_MAX) for (const old of this.fills.splice(0, this.fills.length - FILLS_MAX)) this.fillIds.delete(`${old.seq}`);
  }

  // Ids, the newest first.
  ids({ isWorkingOnly, matches }) {
    if (isWorkingOnly) return matches ? this.working.filter((id) => matches(this.orders.get(id))) : this.working.slice();
    const found = [];
    for (const [id, order] of this.orders) if (!matches || matches(order)) found.push(id);
    return found.sort((a, b) => (isNewer(a, b) ? -1 : 1));
  }
}

function isNewer(a, b) {
  return a.length === b.length ? a > b : a.length > b.length;
}

// Where an id is, or belongs, among ids of which the newest is the first.
function placeOf(ids, id) {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isNewer(ids[middle], id)) low = middle + 1;
    else high = middle;
  }
  return low;
}
