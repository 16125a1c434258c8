// The SharedWorker around a hub. It ends with the last window of the user.

import { Hub } from "./hub.js";

const hub = new Hub();

self.onconnect = ({ ports: [port] }) => {
  const post = (message) => port.postMessage(message);
  port.onmessage = ({ data }) => {
    hub.take(post, data);
    // A window holds a lock of this name as long as it lives: whoever gets it knows that the window is gone, whatever ended it.
    if (data.kind === "hello" && data.lock) navigator.locks?.request(data.lock, () => hub.leave(post));
  };
};
