// Sort a table by the column whose heading is pressed: ascending, descending, and as it was.
"use strict";
const order = { none: "ascending", ascending: "descending", descending: "none" };
const shown = (row, at) => {
  const cell = row.cells[at];
  return (cell.querySelector("b") || cell).textContent.trim().replace("\u2212", "-");
};
// A number, alone or with what follows it in brackets, as a range or as a unit; NaN for any other text.
const number = (text) => {
  const found = /^<?\s*([+-]?\d+(\.\d+)?)(\s.*|%.*)?$/.exec(text);
  return found ? parseFloat(found[1]) : NaN;
};
const sorted = (rows, at, sense) => {
  if (sense === "none") return rows;
  const texts = new Map(rows.map((row) => [row, shown(row, at)]));
  const known = rows.filter((row) => !["", "\u2013"].includes(texts.get(row)));
  const unknown = rows.filter((row) => !known.includes(row));
  const numeric = known.every((row) => !Number.isNaN(number(texts.get(row))));
  const compare = (one, other) => numeric
    ? number(texts.get(one)) - number(texts.get(other))
    : texts.get(one).localeCompare(texts.get(other), undefined, { numeric: true });
  const turn = sense === "ascending" ? 1 : -1;
  return [...known.sort((one, other) => turn * compare(one, other)), ...unknown];
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  for (const [at, head] of heads.entries()) {
    if (rows.length < 2 || !head.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const sense = order[head.getAttribute("aria-sort")];
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sense);
      body.append(...sorted(rows, at, sense));
    });
  }
}
