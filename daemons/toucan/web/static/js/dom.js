// Elements. Whatever is shown goes in as text, never as markup: no order's note, no venue's words can become more than letters.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (key === "onclick" || key === "oninput" || key === "onkeydown") made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function find(selector, within = document) {
  return within.querySelector(selector);
}

// Writes only what has changed: a frame touches no more of the page than it must.
export function setText(target, text) {
  if (target.shown === text) return;
  target.shown = text;
  target.textContent = text;
}

export function setClass(target, name) {
  if (target.className !== name) target.className = name;
}

export function options(select, values, chosen) {
  const now = [...select.options].map((one) => one.value).join("\n");
  if (now !== values.join("\n")) select.replaceChildren(...values.map((value) => element("option", { value }, value)));
  if (chosen !== undefined && select.value !== chosen) select.value = chosen;
}

export function isTyping(target) {
  return target instanceof HTMLElement && (target.matches("input, select, textarea") || target.isContentEditable);
}
