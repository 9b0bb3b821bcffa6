// The controls beside the chart: axes and dimensions, the search, and which labels are shown or brought out.

function madePanel(scatter, card) {
  const panel = { scatter, card, rows: [] };
  card.onFocus = (label) => focused(panel, scatter.space.focus === label ? null : label);
  madeAxes(scatter);
  madeLegend(panel);
  madeSearch(panel);
  return panel;
}

function madeAxes(scatter) {
  const { space, view } = scatter;
  [0, 1, 2].forEach((at) => {
    const select = $(`axis-${at}`);
    space.columns.forEach((_, axis) => select.add(new Option(axisName(space, axis, ""), axis, false, axis === space.axes[at])));
    select.addEventListener("change", () => {
      space.axes[at] = Number(select.value);
      whole(view);
      changed(scatter);
    });
  });
  $("deep").disabled = space.values.axes.length < 3;
  $("even").checked = space.even;
  $("names").checked = space.named = space.values.labels.length <= 24;
  for (const id of ["flat", "deep"]) $(id).addEventListener("change", () => turnedTo(scatter, $("deep").checked));
  for (const id of ["even", "names"]) $(id).addEventListener("change", () => ticked(scatter));
}

function turnedTo(scatter, deep) {
  scatter.space.deep = deep;
  $("axis-2-row").hidden = !deep;
  whole(scatter.view);
  changed(scatter);
}

function ticked(scatter) {
  scatter.space.even = $("even").checked;
  scatter.space.named = $("names").checked;
  changed(scatter);
}

function changed(scatter) {
  const { space, canvas } = scatter;
  const axes = space.axes.slice(0, space.deep ? 3 : 2).map((axis) => axisName(space, axis));
  const shown = space.counts.reduce((sum, count, label) => sum + (space.hidden.has(label) ? 0 : count), 0);
  const many = (number) => number.toLocaleString("en");
  const sample = space.n < space.values.of ? `, a sample of ${many(space.values.of)},` : "";
  canvas.setAttribute("aria-label", `${many(shown)} of ${many(space.n)} pictures${sample} by ${axes.join(", ")}. The table of labels says how they lie.`);
  const touch = matchMedia("(pointer: coarse)").matches;
  const drag = space.deep ? "Drag to turn, with Shift to move" : "Drag to move";
  $("hint").textContent = touch
    ? `${drag}, pinch to zoom, tap a picture to hold it.`
    : `${drag}. Ctrl and the wheel, or + and −, zoom; once the chart is clicked, the wheel alone. Click a picture to hold it. Arrow keys step from picture to picture, Enter holds one, Escape lets it go; Shift with an arrow key ${space.deep ? "turns" : "moves"}, 0 shows all.`;
  viewed(scatter);
}

// All that a change of the view alone asks for, as it comes with each move of a pointer.
function viewed(scatter) {
  $("stage").classList.toggle("close", scatter.space.deep || !isWhole(scatter.view));
  scatter.again();
}

function madeLegend(panel) {
  const { space } = panel.scatter;
  panel.rows = space.values.labels.map((label, place) => legendRow(panel, label, place));
  $("legend").append(...panel.rows.filter((_, place) => space.counts[place]));
  $("all").addEventListener("click", () => hide(panel, () => false));
  $("none").addEventListener("click", () => hide(panel, () => true));
  $("invert").addEventListener("click", () => hide(panel, (label) => !space.hidden.has(label)));
  $("legend-filter").hidden = panel.rows.length < 12;
  $("legend-filter").addEventListener("input", ({ target }) => {
    const wanted = target.value.trim().toLowerCase();
    panel.rows.forEach((row, place) => (row.hidden = !nameOf(space.values.labels[place]).toLowerCase().includes(wanted)));
  });
}

function legendRow(panel, label, place) {
  const row = document.createElement("li");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
  box.setAttribute("aria-label", `Show ${nameOf(label)}`);
  box.addEventListener("change", () => {
    panel.scatter.space.hidden[box.checked ? "delete" : "add"](place);
    legendChanged(panel);
  });
  const button = Object.assign(document.createElement("button"), { type: "button", title: nameOf(label) });
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => panel.card.onFocus(place));
  const name = document.createElement("bdi");
  name.textContent = nameOf(label);
  button.append(mark(label), name);
  const count = document.createElement("small");
  count.textContent = panel.scatter.space.counts[place].toLocaleString("en");
  row.append(box, button, count);
  return row;
}

function mark(label) {
  const made = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
  const [svg, use] = [made("svg"), made("use")];
  svg.setAttribute("class", `mark c${label.colour}`);
  svg.setAttribute("viewBox", "-6 -6 12 12");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${label.shape}`);
  svg.append(use);
  return svg;
}

// Only labels that the filter shows, so that a filter and "None" hide what it names.
function hide(panel, wanted) {
  const { space } = panel.scatter;
  panel.rows.forEach((row, label) => {
    if (!row.hidden) space.hidden[wanted(label) ? "add" : "delete"](label);
  });
  legendChanged(panel);
}

function focused(panel, label) {
  panel.scatter.space.focus = label;
  if (label !== null) panel.scatter.space.hidden.delete(label);
  legendChanged(panel);
}

function legendChanged({ scatter, card, rows }) {
  const { space } = scatter;
  rows.forEach((row, label) => {
    row.querySelector("input").checked = !space.hidden.has(label);
    row.classList.toggle("off", space.hidden.has(label));
    row.classList.toggle("focus", space.focus === label);
    row.querySelector("button").setAttribute("aria-pressed", String(space.focus === label));
  });
  $("point-focus").textContent = space.focus === null ? "Only its label" : "All labels";
  if (space.pinned >= 0 && !isShown(space, space.pinned)) release(card);
  changed(scatter);
}

function madeSearch(panel) {
  const { scatter, card } = panel;
  const search = $("search");
  let [hits, at] = [[], -1];
  search.addEventListener("input", () => {
    const all = found(scatter.space, search.value);
    [hits, at] = [all ?? [], -1];
    scatter.space.hits = all && new Set(all);
    $("hits").textContent = all ? `${all.length.toLocaleString("en")} hit${all.length === 1 ? "" : "s"}${all.length ? "; Enter steps through them" : ""}` : "";
    scatter.again();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && scatter.space.pinned >= 0) release(card);
    if (event.key !== "Enter" || !hits.length) return;
    event.preventDefault();
    if (event.shiftKey) at = at > 0 ? at - 1 : hits.length - 1;
    else at = (at + 1) % hits.length;
    reveal(panel, hits[at]);
    tell(card, hits[at]);
    $("hits").textContent = `${at + 1} of ${hits.length.toLocaleString("en")}`;
  });
}

function reveal(panel, i) {
  const { scatter, card } = panel;
  const { space, view } = scatter;
  space.hidden.delete(space.values.label[i]);
  if (space.focus !== null && space.focus !== space.values.label[i]) space.focus = null;
  legendChanged(panel);
  placed(space, view);
  if (view.left[i] < 0 || view.left[i] > view.width || view.top[i] < 0 || view.top[i] > view.height) whole(view);
  placed(space, view);
  hold(card, i);
}
