// Tables that are sorted by a click on a head, and filtered by a field; lists that begin short.

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const turn = head.getAttribute("aria-sort") === first(head) ? opposite(first(head)) : first(head);
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", turn);
      sorted(table.tBodies[0], column, turn === "ascending" ? 1 : -1, head.classList.contains("number"));
    });
  });
}

// Of numbers the greatest are asked for, of names the first.
function first(head) {
  return head.classList.contains("number") ? "descending" : "ascending";
}

function opposite(turn) {
  return turn === "ascending" ? "descending" : "ascending";
}

const BY_NAME = new Intl.Collator("en", { numeric: true });

function sorted(body, column, sign, numbers) {
  const value = (row) => row.cells[column].dataset.value;
  const order = (a, b) => {
    if (!numbers) return sign * BY_NAME.compare(value(a), value(b));
    const [left, right] = [Number.parseFloat(value(a)), Number.parseFloat(value(b))];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    return sign * (left - right);
  };
  body.append(...[...body.rows].sort(order));
}

function filterable(field) {
  const rows = [...$(field.dataset.filters).tBodies[0].rows];
  const count = $(`${field.dataset.filters}-count`);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.dataset.text.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    count.textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
}

function shortList(list) {
  const narrow = matchMedia("(max-width: 560px)").matches;
  const rest = [...list.children].slice(Number(list.dataset.first) / (narrow ? 2 : 1));
  if (!rest.length) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "plain" });
  button.textContent = `Show ${rest.length} more`;
  for (const item of rest) item.hidden = true;
  button.addEventListener("click", () => {
    for (const item of rest) item.hidden = false;
    rest[0].querySelector("button, a")?.focus();
    button.remove();
  });
  list.after(button);
}
