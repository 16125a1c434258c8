// What a person does: sends, replaces, cancels, stops; and what is told when it does not go as meant.

import { CallError, call } from "./connect.js";
import { NotSent } from "./lanes.js";
import { termsWords, word } from "./words.js";

export class Actions {
  constructor(app) {
    this.app = app;
  }

  // True: it was accepted. Whoever sends sees the soft limits first, and goes on or not.
  async submit(terms) {
    const words = termsWords(terms, this.app.instruments.get(terms.symbol));
    if (!this.mayEnter(words)) return false;
    return this.withConfirmation(words, (isConfirmed) => this.app.orderLane.send("OrderEntryService/SubmitOrder", { terms, ...(isConfirmed && { isConfirmed }) }), terms);
  }

  async replace(change) {
    const order = this.app.book.get(change.orderId);
    const terms = { ...order.terms, ...(change.quantity && { quantity: change.quantity }), ...(change.price && { price: change.price }) };
    const words = `replace ${change.orderId}: ${termsWords(terms, this.app.instruments.get(terms.symbol))}`;
    if (!this.mayEnter(words)) return false;
    const { orderId, quantity, price } = change;
    const body = { orderId, ...(quantity && { quantity }), ...(price && { price }) };
    return this.withConfirmation(words, (isConfirmed) => this.app.orderLane.send("OrderEntryService/ReplaceOrder", { ...body, ...(isConfirmed && { isConfirmed }) }), null);
  }

  async cancel(orderId) {
    return this.told(`cancel ${orderId}`, () => this.app.cancelLane.send("OrderEntryService/CancelOrder", { orderId }));
  }

  async cancelAll(orderIds) {
    return Promise.all(orderIds.map((id) => this.cancel(id)));
  }

  async massCancel({ side = "SIDE_UNSPECIFIED", symbol = "" }) {
    const which = [word(side, "SIDE").replace("unspecified", "all"), symbol].filter(Boolean).join(" ");
    const answer = await this.told(`cancel ${which}`, () => this.app.cancelLane.send("OrderEntryService/MassCancel", { side, symbol }));
    if (answer) this.app.alert("info", `cancel ${which}: ${answer.orderIds?.length ?? 0} cancels on their way`);
    return answer;
  }

  async setLevel(node, level, reason) {
    const words = `${word(level, "TRADING_LEVEL")} for ${node}`;
    const answer = await this.told(words, () => this.app.cancelLane.send("RiskService/SetTradingState", { node, level, reason }));
    if (answer) this.app.alert("warning", `${words}: in force${answer.orderIds?.length ? `, ${answer.orderIds.length} cancels on their way` : ""}`);
    this.app.feed({ kind: "limits" });
    return Boolean(answer);
  }

  // What an order would be answered; null: nobody knows.
  async preview(terms) {
    return call("OrderEntryService/PreviewOrder", { terms }, { csrf: this.app.login.csrf, timeoutMs: 2000 }).catch((error) => ({ error }));
  }

  mayEnter(words) {
    if (this.app.verdict.canEnter) return true;
    this.app.alert("danger", `${words}: not sent, since what this page shows may be old`);
    return false;
  }

  async withConfirmation(words, send, terms) {
    try {
      return await send(false);
    } catch (error) {
      if (!error.denial?.canBeConfirmed) return this.fail(words, error);
      const told = terms ? await this.preview(terms) : {};
      const denials = told.denials?.length ? told.denials : [error.denial];
      const isWanted = await this.app.confirm({ title: "Above a soft limit", words, lines: denials.map((one) => one.text), yes: "Send it", no: "Do not send" });
      if (!isWanted) {
        this.app.alert("info", `${words}: not sent`);
        return false;
      }
      return this.mayEnter(words) && this.told(words, () => send(true));
    }
  }

  async told(words, send) {
    try {
      return await send();
    } catch (error) {
      return this.fail(words, error);
    }
  }

  fail(words, error) {
    if (error instanceof NotSent) this.app.alert("danger", `${words}: ${error.message}`);
    else if (!(error instanceof CallError)) throw error;
    else if (error.again) this.askAgain(words, error);
    else if (error.denial) this.app.alert("warning", `${words}: denied, ${error.message}`);
    else this.app.alert(error.refusal ? "warning" : "danger", `${words}: ${error.refusal ? "refused, " : ""}${error.message}`);
    if (error.isLoggedOut) this.app.loggedOut();
    return false;
  }

  askAgain(words, error) {
    const again = () => this.told(words, error.again).then((answer) => answer && this.app.alert("info", `${words}: carried out`));
    this.app.alert("danger", `${words}: no answer (${error.message}). It may have been carried out; sent again it is carried out once at most`, { title: "Send again", act: again });
  }
}
