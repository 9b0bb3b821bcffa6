// What is looked at: the pictures drawn, which of them are shown or brought out, and which one is picked.

function madeSpace(values) {
  const n = values.uris.length;
  const shares = values.axes.map((axis) => axis.share);
  return {
    values,
    n,
    shares,
    columns: values.axes.length > 1 ? values.components : [...values.components, strips(values)],
    axes: [0, 1, Math.min(2, values.axes.length - 1)],
    deep: false,
    even: values.axes.length > 1,
    named: true,
    hidden: new Set(),
    focus: null,
    hits: null,
    hover: -1,
    pinned: -1,
    last: -1,
    counts: counted(values),
    searchable: values.uris.map((uri, i) => `${uri}\n${values.labels[values.label[i]].name ?? ""}`.toLowerCase()),
  };
}

// With one component only, labels lie one above the other, and the pictures of each within a band of its own.
function strips(values) {
  return Float32Array.from(values.label, (label, i) => label + 0.6 * (((i * 0.618034) % 1) - 0.5));
}

function counted(values) {
  const counts = new Int32Array(values.labels.length);
  for (const label of values.label) counts[label]++;
  return counts;
}

function isShown(space, i) {
  return !space.hidden.has(space.values.label[i]);
}

function isOut(space, i) {
  if (space.hits && !space.hits.has(i)) return false;
  return space.focus === null || space.values.label[i] === space.focus;
}

function labelOf(space, i) {
  return space.values.labels[space.values.label[i]];
}

function nameOf(label) {
  return label.name === null ? "no label" : label.name || "(empty name)";
}

function axisName(space, axis, before = "Component ") {
  if (axis >= space.values.axes.length) return "Label";
  const share = space.shares[axis];
  return `${before}${axis + 1}${share === null ? "" : ` · ${(100 * share).toFixed(1)} %`}`;
}

function found(space, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const hits = [];
  space.searchable.forEach((each, i) => each.includes(wanted) && hits.push(i));
  return hits;
}

// The nearest by all components that the page carries.
function nearest(space, i, many) {
  const away = new Float32Array(space.n);
  for (const column of space.values.components) {
    for (let j = 0; j < space.n; j++) away[j] += (column[j] - column[i]) ** 2;
  }
  const best = [];
  for (let j = 0; j < space.n; j++) {
    if (j === i || Number.isNaN(away[j])) continue;
    if (best.length === many && away[j] >= away[best[many - 1]]) continue;
    let at = best.length;
    while (at && away[best[at - 1]] > away[j]) at--;
    best.splice(at, 0, j);
    if (best.length > many) best.pop();
  }
  return best;
}

function measured(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  return size < -3 || size > 5 ? value.toExponential(1) : value.toFixed(Math.max(0, 2 - size));
}
