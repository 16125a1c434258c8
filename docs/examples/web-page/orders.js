// A page of one's own: lists the working orders live, and sends one. Served by the gateway: toucan web with `static = "docs/examples/web-page"` in [web].
const api = "/aviary.toucan.v1.OrderEntryService/";
const login = await fetch("/session", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }).then((answer) => answer.json());
const headers = { "x-toucan-csrf": login.csrf, "connect-protocol-version": "1" };
const orders = new Map();
let number = 0; // of this page's requests; with the session's name it makes each safe to send again
const session = crypto.randomUUID();

document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { quantity, price } = event.target.elements;
  const terms = { account: "ACC1", symbol: "AAPL", side: "SIDE_BUY", type: "ORDER_TYPE_LIMIT", timeInForce: "TIME_IN_FORCE_DAY",
    quantity: quantity.value, price: String(Math.round(price.value * 100)) }; // prices are whole ticks of 0.01
  const body = JSON.stringify({ key: { session, number: (number += 1) }, terms });
  const answer = await fetch(`${api}SubmitOrder`, { method: "POST", headers: { ...headers, "content-type": "application/json" }, body });
  const told = await answer.json();
  document.querySelector("output").textContent = answer.ok ? `order ${told.orderId}` : told.message;
});

for (let afterSeq; ; await new Promise((resolve) => setTimeout(resolve, 1000))) {
  const request = new TextEncoder().encode(JSON.stringify({ filter: { isOpen: true }, ...(afterSeq && { afterSeq }) }));
  const envelope = new Uint8Array([0, 0, 0, request.length >> 8, request.length & 255, ...request]);
  const stream = await fetch(`${api}WatchOrders`, { method: "POST", headers: { ...headers, "content-type": "application/connect+json" }, body: envelope });
  let bytes = new Uint8Array();
  for await (const chunk of stream.body) {
    bytes = new Uint8Array([...bytes, ...chunk]);
    for (let end; bytes.length >= 5 && bytes.length >= (end = 5 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)); bytes = bytes.slice(end)) {
      const { updates = [], seq } = JSON.parse(new TextDecoder().decode(bytes.subarray(5, end)));
      for (const { order } of updates) order.leavesQuantity ? orders.set(order.orderId, order) : orders.delete(order.orderId);
      if (seq > 0) afterSeq = seq; // a stream that breaks goes on from here
    }
    const lines = [...orders.values()].map(({ orderId, terms, leavesQuantity }) => `${orderId}: ${terms.side} ${leavesQuantity} ${terms.symbol} @ ${terms.price / 100}`);
    document.querySelector("ul").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  }
}
