// A table of any number of rows, of which only those in sight are in the page (WAI-ARIA grid). Rows are all of one height and are moved, never made anew.
//
// While the pointer is over it, or somebody edits in it, rows keep their places: nobody clicks on what has just slid under his pointer. What was pressed and what
// was released must be the same row, or nothing happens.

import { element, setClass, setText } from "./dom.js";

const ROW_PX = 22;
const SPARE_ROWS = 4;

let tables = 0;

export class Table {
  // columns: [{key, title, width, isNumber, text(item), tone?(item), make?(cell)}]; leastPx: narrower, it scrolls sideways; item(id) -> what a row shows; areItemsReplaced: what changes is another item, never the same one changed; tone(item) -> a class of the row.
  constructor(host, { label, columns, leastPx, areItemsReplaced = false, item, tone = () => "", act = () => {}, mark, isHeldByPointer = true }) {
    Object.assign(this, { host, columns, areItemsReplaced, item, tone, act, mark, ids: [], rows: [], active: null, editing: null, held: null });
    this.name = `table${(tables += 1)}`;
    this.heightPx = 0;
    this.scrollPx = 0;
    this.body = element("div", { role: "rowgroup", class: "rows" });
    const head = element("div", { role: "row", class: "row head", "aria-rowindex": "1" }, ...columns.map((column) =>
      element("div", { role: "columnheader", class: column.isNumber ? "cell number" : "cell" }, column.title)));
    host.append(element("div", { role: "rowgroup", class: "headgroup" }, head), this.body);
    for (const [key, value] of Object.entries({ role: "grid", tabindex: "0", "aria-label": label, "aria-colcount": String(columns.length) })) host.setAttribute(key, value);
    host.style.setProperty("--columns", columns.map((column) => column.width).join(" "));
    host.style.setProperty("--least", `${leastPx}px`);
    host.classList.add("table");
    new ResizeObserver(([entry]) => {
      this.heightPx = entry.contentRect.height;
      this.mark();
    }).observe(host);
    host.addEventListener("scroll", () => {
      this.scrollPx = host.scrollTop;
      this.mark();
    }, { passive: true });
    this.listen(isHeldByPointer);
  }

  listen(isHeldByPointer) {
    const { host } = this;
    if (isHeldByPointer) {
      host.addEventListener("pointerenter", () => { this.isPointed = true; });
      host.addEventListener("pointerleave", () => { this.isPointed = false; this.mark(); });
    }
    host.addEventListener("pointerdown", (event) => { this.pressed = this.idAt(event.target); });
    host.addEventListener("click", (event) => {
      const id = this.idAt(event.target);
      if (id === null || id !== this.pressed) return;
      this.select(id);
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action) this.act(action, id, event);
    });
    host.addEventListener("dblclick", (event) => {
      const id = this.idAt(event.target);
      if (id !== null && id === this.pressed && !event.target.closest("[data-action], input")) this.act("open", id, event);
    });
    host.addEventListener("keydown", (event) => this.key(event));
  }

  get isHeld() {
    return Boolean(this.isPointed || this.editing);
  }

  idAt(target) {
    return target.closest?.(".rows > .row")?.shownId ?? null;
  }

  // The rows from now on, unless they are held; then as soon as they are not.
  setIds(ids) {
    if (!this.isHeld) {
      this.ids = ids;
      this.waitingCount = 0;
      return;
    }
    const shown = new Set(this.ids);
    this.waitingCount = ids.reduce((count, id) => count + Number(!shown.has(id)), 0);
  }

  select(id) {
    this.active = id;
    this.mark();
  }

  key(event) {
    if (event.target !== this.host) return;
    const page = Math.max(1, Math.floor(this.heightPx / ROW_PX) - 2);
    const at = this.ids.indexOf(this.active);
    const moves = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.ids.length - 1 };
    if (Object.hasOwn(moves, event.key)) {
      event.preventDefault();
      this.reveal(Math.min(this.ids.length - 1, Math.max(0, moves[event.key])));
    } else if (at >= 0 && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) {
      this.act(event.key, this.active, event);
    }
  }

  reveal(index) {
    if (index < 0) return;
    this.select(this.ids[index]);
    const top = index * ROW_PX;
    if (top < this.host.scrollTop) this.host.scrollTop = top;
    const bottom = top + 2 * ROW_PX; // the head covers one
    if (bottom > this.host.scrollTop + this.heightPx) this.host.scrollTop = bottom - this.heightPx;
  }

  // Puts inputs into cells of a row: {key: input}.
  edit(id, inputs) {
    this.editing = { id, inputs };
    this.mark();
  }

  endEdit() {
    if (!this.editing) return;
    this.editing = null;
    this.host.focus({ preventScroll: true });
    this.mark();
  }

  render() {
    const count = this.ids.length;
    const size = Math.min(count, Math.ceil(this.heightPx / ROW_PX) + SPARE_ROWS);
    const first = Math.max(0, Math.min(Math.floor(this.scrollPx / ROW_PX) - 1, count - size));
    if (this.shownCount !== count) {
      this.shownCount = count;
      this.body.style.height = `${count * ROW_PX}px`;
      this.host.setAttribute("aria-rowcount", String(count + 1));
    }
    this.renderRows(first, size);
    const activeRow = this.rows.find((row) => row.isUsed && row.shownId === this.active);
    if (activeRow) this.host.setAttribute("aria-activedescendant", activeRow.id);
    else this.host.removeAttribute("aria-activedescendant");
    if (this.editing && !this.rows.some((row) => row.isUsed && row.shownId === this.editing.id)) this.endEdit();
  }

  // A row stays with what it shows: what is new on top moves the others, and writes none of them again.
  renderRows(first, size) {
    while (this.rows.length < size) this.addRow();
    const shown = new Map(this.rows.filter((row) => row.shownId !== null).map((row) => [row.shownId, row]));
    const wanted = this.ids.slice(first, first + size);
    const kept = new Set(wanted);
    const free = this.rows.filter((row) => row.shownId === null || !kept.has(row.shownId));
    for (const row of this.rows) row.isUsed = false;
    wanted.forEach((id, at) => this.renderRow(shown.get(id) ?? free.pop(), first + at));
    for (const row of this.rows) if (!row.isUsed) this.hide(row);
  }

  addRow() {
    const row = element("div", { role: "row", class: "row", id: `${this.name}-${this.rows.length}` });
    row.cells = this.columns.map((column) => {
      const cell = element("div", { role: "gridcell", class: "cell" });
      column.make?.(cell);
      row.append(cell);
      return cell;
    });
    row.shownId = null;
    this.rows.push(row);
    this.body.append(row);
  }

  hide(row) {
    row.hidden = true;
    row.shownId = null;
    row.shownItem = null;
  }

  renderRow(row, index) {
    const id = this.ids[index];
    const item = this.item(id);
    row.isUsed = true;
    if (item === undefined) return this.hide(row);
    row.hidden = false;
    row.shownId = id;
    if (row.shownIndex !== index) {
      row.shownIndex = index;
      row.style.transform = `translateY(${index * ROW_PX}px)`;
      row.setAttribute("aria-rowindex", String(index + 2));
    }
    const isActive = id === this.active;
    const isEdited = this.editing?.id === id;
    if (this.areItemsReplaced && row.shownItem === item && row.isSelected === isActive && row.isEdited === isEdited) return undefined;
    row.shownItem = item;
    row.isEdited = isEdited;
    setClass(row, `row ${this.tone(item)}${isActive ? " active" : ""}`);
    if (row.isSelected !== isActive) {
      row.isSelected = isActive;
      row.setAttribute("aria-selected", String(isActive));
    }
    this.columns.forEach((column, at) => this.renderCell(row.cells[at], column, id, item));
    return undefined;
  }

  renderCell(cell, column, id, item) {
    const input = this.editing?.id === id ? this.editing.inputs[column.key] : undefined;
    if (input) {
      if (cell.firstChild !== input) cell.replaceChildren(input);
      cell.shown = null;
      return;
    }
    if (column.make) column.show?.(cell, item);
    else setText(cell, column.text(item));
    setClass(cell, `cell${column.isNumber ? " number" : ""}${column.tone ? ` ${column.tone(item)}` : ""}`);
    if (column.isLong && cell.title !== cell.shown) cell.title = cell.shown;
  }
}
