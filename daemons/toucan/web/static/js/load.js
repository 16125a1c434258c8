// Says that a part of the page did not arrive, and loads it again. No module: it must be there when modules are not.

"use strict";

addEventListener("error", ({ target }) => {
  const { dataset } = document.documentElement;
  if (!(target instanceof HTMLScriptElement) || dataset.load) return;
  dataset.load = "failed";
  setTimeout(() => location.reload(), 2000 + 2000 * Math.random());
}, true); // what elements could not load does not bubble
