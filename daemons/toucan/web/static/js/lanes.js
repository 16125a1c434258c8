// Requests that change something: each under a key of its own, in order, executed at most once.
//
// Numbers of a session must arrive in order, so a lane has one request on its way and the others wait. New orders and cancels are different lanes (sessions): no
// cancel waits behind an order. A request whose answer was lost is sent again under its key, for as long as what was meant by it is fresh. After that a person
// decides: to send it again (the same key: at most once in any case), or to leave it; then the next request of the lane makes it void for ever, if it never arrived
// (REQUEST_SUPERSEDED). What waits behind a request with an unknown outcome is not sent late: it is given back as not sent.
//
// Transport, clock and waiting are given, so that tests decide what is lost and when.

export const WAITING_MAX = 16; // More clicks than that in one round trip are no person's.
export const FRESH_MS = 4000;
const RETRY_MS = 250;

export class NotSent extends Error {}

export class Lane {
  constructor({ session, call, now, wait }) {
    Object.assign(this, { session, call, now, wait, number: 0, waiting: [], isBusy: false });
  }

  // Resolves with the answer. Raises CallError (with `again`, a function, where the outcome is unknown) or NotSent.
  send(method, body) {
    if (this.waiting.length >= WAITING_MAX) return Promise.reject(new NotSent(`${WAITING_MAX} requests wait already; this one was not sent`));
    return new Promise((resolve, reject) => {
      this.waiting.push({ method, body, resolve, reject });
      this.run();
    });
  }

  async run() {
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.waiting.length) {
      const { method, body, resolve, reject } = this.waiting.shift();
      this.number += 1;
      await this.carryOut(method, { key: { session: this.session, number: String(this.number) }, ...body }).then(resolve, (error) => {
        if (error.isUnknown) this.giveBack();
        reject(error);
      });
    }
    this.isBusy = false;
  }

  giveBack() {
    const text = "not sent: the outcome of the request before it is unknown";
    for (const one of this.waiting.splice(0)) one.reject(new NotSent(text));
  }

  async carryOut(method, request) {
    const until = this.now() + FRESH_MS;
    for (;;) {
      try {
        return await this.call(method, request);
      } catch (error) {
        // Too many at once: nothing was done, the same key is good.
        const isWorthIt = error.isUnknown || error.code === "resource_exhausted";
        if (!isWorthIt) throw error;
        if (this.now() + RETRY_MS >= until) {
          if (error.isUnknown) error.again = () => this.carryOut(method, request);
          throw error;
        }
        await this.wait(RETRY_MS);
      }
    }
  }
}
