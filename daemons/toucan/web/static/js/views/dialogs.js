// Questions to the person. The answer that does nothing has the focus: Enter pressed once too often sends nothing.

import { element, find } from "../dom.js";

// Resolves true if it is confirmed.
export function confirm({ title, words, lines = [], yes, no }) {
  return shown(title, words, lines, yes, no, null).then((answer) => answer === "yes");
}

// Resolves with what was typed; empty: nothing.
export async function ask({ title, words, label, yes, no }) {
  const input = element("input", { type: "text", maxlength: "200", required: true, id: "asked" });
  const answer = await shown(title, words, [], yes, no, element("label", {}, label, input), input);
  return answer === "yes" ? input.value.trim() : "";
}

function shown(title, words, lines, yes, no, extra, focused) {
  const dialog = find("#question");
  if (dialog.open) return Promise.resolve("no"); // One question at a time; the second is answered by nothing happening.
  const stay = element("button", { type: "button", class: "button" }, no);
  const go = element("button", { type: "submit", class: "button danger" }, yes);
  const form = element("form", { method: "dialog" }, element("h2", { id: "question-title" }, title), element("p", { class: "words" }, words),
    element("ul", {}, ...lines.map((line) => element("li", {}, line))), ...(extra ? [extra] : []), element("div", { class: "buttons" }, stay, go));
  dialog.replaceChildren(form);
  return new Promise((resolve) => {
    let answer = "no";
    const before = document.activeElement;
    stay.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", () => { answer = "yes"; });
    dialog.addEventListener("close", () => {
      resolve(answer);
      before?.focus?.({ preventScroll: true });
    }, { once: true });
    dialog.showModal();
    (focused ?? stay).focus();
  });
}
