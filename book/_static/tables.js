// Sorting of tables by a click on a column's head. Without this script they are plain tables in their given order.
//
// A table is sortable when it, or something around it, has the class `sortable` (in Markdown) or `tag_sortable`
// (a notebook cell with the tag `sortable`); likewise `stacked`, whose rows a phone shows one under the other. First click: largest first for numbers, A to Z for words; second click:
// reversed; third: the given order. A cell sorts by its data-sort attribute where it has one.
"use strict";
(() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // "71.6 %", "−3.2 [−4, −1]" and "1,000" are numbers; "D8" and "256+512" are words; "" and dashes come last.
  const numberIn = (text) => {
    const match = text.replace(/\u2212/g, "-").match(/^[<>≈~]?\s*([+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)(?=$|[\s%×±[(])/i);
    return match ? parseFloat(match[1].replace(/,/g, "")) : null;
  };
  const textOf = (row, column) => {
    const cell = row.cells[column];
    return cell ? (cell.dataset.sort ?? cell.textContent).trim() : "";
  };
  const isEmpty = (text) => /^(|[-–—]|nan|not run.*)$/i.test(text);

  const order = (rows, column, descending) => {
    const texts = new Map(rows.map((row) => [row, textOf(row, column)]));
    const filled = rows.filter((row) => !isEmpty(texts.get(row)));
    const numeric = filled.every((row) => numberIn(texts.get(row)) !== null);
    const sign = descending ? -1 : 1;
    filled.sort((a, b) => sign * (numeric
      ? numberIn(texts.get(a)) - numberIn(texts.get(b))
      : collator.compare(texts.get(a), texts.get(b))));
    return filled.concat(rows.filter((row) => isEmpty(texts.get(row))));
  };

  // pandas sets every head to the right and every cell to the left: numbers to the right, words to the left.
  const alignNumbers = (table) => {
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    if (!rows.length || table.querySelector("[rowspan], [colspan]")) return;
    for (let column = 0; column < rows[0].cells.length; column++) {
      const texts = rows.map((row) => textOf(row, column)).filter((text) => !isEmpty(text));
      if (!texts.length || !texts.every((text) => /^[<>≈~]?\s*[+\-\u2212]?[\d.,]+(e[+-]?\d+)?\s*%?$/i.test(text))) continue;
      [...table.rows].forEach((row) => row.cells[column] && row.cells[column].classList.add("number"));
    }
  };

  // A number stays on one line with its interval: "71.6 [69.9, 73.2]".
  const keepTogether = (cell) => {
    if (/^[+\-\u2212\d][\d.,]*\s*%?\s*\[[^\]]{1,24}\]$|^\[[^\]a-z]{1,24}\]$/i.test(cell.textContent.trim())) cell.classList.add("together");
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const head = table.tHead && table.tHead.rows[table.tHead.rows.length - 1];
    if (!body || !head || body.rows.length < 2) return;
    if (table.querySelector("tbody [rowspan], tbody [colspan]")) return;
    const given = [...body.rows];
    [...head.cells].forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.title = "Sort by this column";
      button.append(...cell.childNodes);
      cell.append(button);
      const texts = given.map((row) => textOf(row, column)).filter((text) => !isEmpty(text));
      const first = texts.length && texts.every((text) => numberIn(text) !== null) ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      button.addEventListener("click", () => {
        const now = cell.getAttribute("aria-sort");
        const next = now === first ? second : now === second ? null : first;
        for (const other of head.cells) other.removeAttribute("aria-sort");
        if (next) cell.setAttribute("aria-sort", next);
        body.append(...(next ? order(given, column, next === "descending") : given));
      });
    });
    table.classList.add("is-sortable");
  };

  // What the cells of a stacked table are called when each stands on a line of its own.
  const label = (table) => {
    const heads = table.tHead ? [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim()) : [];
    [...table.tBodies].flatMap((body) => [...body.rows]).forEach((row) => [...row.cells].forEach((cell, column) => {
      if (heads[column]) cell.dataset.label = heads[column];
      cell.classList.toggle("nothing", !cell.textContent.trim());
    }));
  };

  document.querySelectorAll(".stacked table, .tag_stacked table").forEach(label);
  document.querySelectorAll("article td").forEach(keepTogether);
  document.querySelectorAll("table.dataframe").forEach(alignNumbers);
  document.querySelectorAll("table.sortable, .sortable table, .tag_sortable table").forEach(makeSortable);

  // A box that scrolls sideways must be reachable with the keyboard.
  const markScrollable = () => {
    document.querySelectorAll(".cell_output .output, .pst-scrollable-table-container, div.math").forEach((box) => {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
        if (!box.hasAttribute("role")) { box.setAttribute("role", "region"); box.setAttribute("aria-label", "scrolls sideways"); }
      }
    });
  };
  window.addEventListener("load", markScrollable);
})();
