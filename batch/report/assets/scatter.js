// Draws the space on a canvas. Each look is painted once and stamped for every picture of the labels that have it.

const OUTLINES = {
  circle: (path) => path.arc(0, 0, 4.6, 0, 7),
  square: (path) => path.rect(-4.2, -4.2, 8.4, 8.4),
  triangle: (path) => corners(path, [0, -5.4, 5.2, 4, -5.2, 4]),
  diamond: (path) => corners(path, [0, -5.8, 5.2, 0, 0, 5.8, -5.2, 0]),
  wedge: (path) => corners(path, [0, 5.4, 5.2, -4, -5.2, -4]),
  cross: (path) =>
    corners(
      path,
      [-1.9, -5.2, 1.9, -5.2, 1.9, -1.9, 5.2, -1.9, 5.2, 1.9, 1.9, 1.9, 1.9, 5.2, -1.9, 5.2, -1.9, 1.9, -5.2, 1.9, -5.2, -1.9, -1.9, -1.9],
    ),
};

function corners(path, at) {
  for (let i = 0; i < at.length; i += 2) path.lineTo(at[i], at[i + 1]);
  path.closePath();
}

function inks() {
  const probe = document.createElement("i");
  document.body.append(probe);
  const ink = (css) => {
    probe.style.color = css;
    return getComputedStyle(probe).color;
  };
  const found = Object.fromEntries(["ink", "quiet", "grid", "line", "sheet", "accent"].map((each) => [each, ink(`var(--${each})`)]));
  probe.style.color = "";
  found.colour = (place) => {
    probe.className = `c${place}`;
    return getComputedStyle(probe).color;
  };
  found.colours = new Map();
  for (let place = -1; place < 8; place++) found.colours.set(place, found.colour(place));
  probe.remove();
  return found;
}

function madeScatter(canvas, space, view) {
  // Thousands of small stamps are quicker without a graphics card's help, and as quick where there is none.
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const scatter = { canvas, space, view, pen, ground: document.createElement("canvas"), ink: inks(), looks: looksOf(space.values), stamps: new Map() };
  let [waiting, stale] = [false, false];
  const next = (all) => {
    stale ||= all;
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      if (stale) drawn(scatter);
      else drawnPicked(scatter);
      waiting = stale = false;
    });
  };
  scatter.again = () => next(true);
  scatter.picked = () => next(false);
  return scatter;
}

function resized(scatter) {
  const { canvas, view } = scatter;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  scatter.ratio = window.devicePixelRatio || 1;
  Object.assign(view, { width, height });
  canvas.width = Math.round(width * scatter.ratio);
  canvas.height = Math.round(height * scatter.ratio);
  drawn(scatter);
}

// At once, as a page that is printed waits for no frame.
function recoloured(scatter) {
  scatter.ink = inks();
  scatter.stamps.clear();
  drawn(scatter);
}

function drawn(scatter) {
  const { pen, space, view, ratio } = scatter;
  if (!view.width) return;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, view.width, view.height);
  scatter.frame = placed(space, view);
  if (space.deep) drawnCube(scatter);
  else drawnGrid(scatter);
  drawnPoints(scatter);
  if (space.named) drawnNames(scatter);
  if (space.deep) drawnEnds(scatter);
  drawnGround(scatter);
  drawnPicked(scatter);
}

// What is drawn so far is kept, so that a picture that is only pointed at asks for nothing to be drawn again.
function drawnGround({ canvas, ground }) {
  Object.assign(ground, { width: canvas.width, height: canvas.height });
  ground.getContext("2d", { willReadFrequently: true }).drawImage(canvas, 0, 0);
}

function drawnPicked(scatter) {
  const { pen, ground, space, ratio } = scatter;
  if (!ground.width) return;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, ground.width, ground.height);
  pen.drawImage(ground, 0, 0);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  drawnRing(scatter, space.hover);
  drawnRing(scatter, space.pinned);
}

function size({ space, view }) {
  const plain = space.n < 400 ? 5 : space.n < 2500 ? 4 : space.n < 8000 ? 3.2 : 2.6;
  return plain * Math.min(1.8, Math.max(1, view.zoom) ** 0.25);
}

// Nearer pictures are larger, in steps, as a stamp that is not scaled is the quickest.
const STEPS = 6;

function stamp(scatter, label, radius, faint, step) {
  const key = (faint ? 0 : scatter.looks[label]) * STEPS + step;
  if (!scatter.stamps.has(key)) scatter.stamps.set(key, painted(scatter, label, radius * (0.5 + (step + 0.5) / STEPS), faint));
  return scatter.stamps.get(key);
}

function painted({ space, ink, ratio }, label, radius, faint) {
  const { colour, shape } = space.values.labels[label];
  const side = Math.ceil((2 * radius * 1.35 + 2) * ratio);
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const scale = (radius / 5) * ratio;
  pen.setTransform(scale, 0, 0, scale, side / 2, side / 2);
  pen.beginPath();
  OUTLINES[faint ? "circle" : shape](pen);
  pen.fillStyle = faint ? ink.quiet : ink.colours.get(colour);
  pen.globalAlpha = faint ? 0.22 : space.n > 3000 ? 0.8 : 0.9;
  pen.fill();
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.lineWidth = 0.7 * ratio;
  pen.strokeStyle = ink.sheet;
  if (!faint) pen.stroke();
  return canvas;
}

// A number for each colour in each shape, from 1.
function looksOf({ labels }) {
  const shapes = Object.keys(OUTLINES);
  return labels.map(({ colour, shape }) => 1 + (colour + 1) * shapes.length + shapes.indexOf(shape));
}

function drawnPoints(scatter) {
  const { space, view, pen, ratio } = scatter;
  const made = `${size(scatter)} ${ratio}`;
  if (scatter.made !== made) scatter.stamps.clear();
  scatter.made = made;
  const order = ordered(space, view);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  if (space.hits || space.focus !== null) stamped(scatter, order, false);
  stamped(scatter, order, true);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
}

// From far to near; on the plane in an order that lets no label lie on top of all others.
function ordered(space, view) {
  if (!space.deep) return (space.mixed ??= mixed(space.n));
  return (space.far ??= mixed(space.n)).sort((a, b) => view.depth[a] - view.depth[b]);
}

function mixed(n) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let seed = 1;
  for (let i = n - 1; i > 0; i--) {
    seed = (seed * 48271) % 2147483647;
    const j = seed % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function stamped(scatter, order, out) {
  const { space, view, pen, canvas, ratio } = scatter;
  const radius = out ? size(scatter) : 0.6 * size(scatter);
  for (const i of order) {
    if (isOut(space, i) !== out || !isShown(space, i) || Number.isNaN(view.left[i])) continue;
    const step = space.deep ? Math.max(0, Math.min(STEPS - 1, Math.round(STEPS * (view.depth[i] ** 1.6 - 0.5)))) : STEPS / 2;
    const picture = stamp(scatter, space.values.label[i], radius, !out, step);
    const left = Math.round(view.left[i] * ratio - picture.width / 2);
    const top = Math.round(view.top[i] * ratio - picture.width / 2);
    if (left > -picture.width && top > -picture.width && left < canvas.width && top < canvas.height) pen.drawImage(picture, left, top);
  }
}

function drawnRing({ pen, space, view, ink }, i) {
  if (i < 0 || Number.isNaN(view.left[i])) return;
  const label = labelOf(space, i);
  pen.beginPath();
  pen.arc(view.left[i], view.top[i], 9, 0, 7);
  pen.lineWidth = 4;
  pen.strokeStyle = ink.sheet;
  pen.stroke();
  pen.lineWidth = 2;
  pen.strokeStyle = ink.ink;
  pen.stroke();
  pen.save();
  pen.translate(view.left[i], view.top[i]);
  pen.beginPath();
  OUTLINES[label.shape](pen);
  pen.fillStyle = ink.colours.get(label.colour);
  pen.fill();
  pen.restore();
}

function drawnGrid(scatter) {
  const { pen, space, view, ink, frame } = scatter;
  const { kx, ky, x0, y0 } = flatFrame(view, frame);
  const [right, bottom] = [view.width - MARGIN.right, view.height - MARGIN.bottom];
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.textAlign = "center";
  for (const [value, text] of ticks((MARGIN.left - x0) / kx, (right - x0) / kx, view.width / 110)) {
    line(pen, ink.grid, x0 + value * kx, MARGIN.top, x0 + value * kx, bottom);
    written(pen, ink.quiet, text, x0 + value * kx, bottom + 16);
  }
  pen.textAlign = "right";
  const strip = space.axes[1] >= space.values.axes.length;
  for (const [value, text] of strip ? [] : ticks((y0 - bottom) / ky, (y0 - MARGIN.top) / ky, view.height / 80)) {
    line(pen, ink.grid, MARGIN.left, y0 - value * ky, right, y0 - value * ky);
    written(pen, ink.quiet, text, MARGIN.left - 6, y0 - value * ky + 4);
  }
  drawnTitles(scatter, right, bottom);
}

function drawnTitles({ pen, space, view, ink }, right, bottom) {
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "right";
  written(pen, ink.ink, axisName(space, space.axes[0]), right, view.height - 8);
  pen.save();
  pen.translate(14, MARGIN.top);
  pen.rotate(-Math.PI / 2);
  written(pen, ink.ink, axisName(space, space.axes[1]), 0, 0);
  pen.restore();
  line(pen, ink.line, MARGIN.left, bottom, right, bottom);
  line(pen, ink.line, MARGIN.left, MARGIN.top, MARGIN.left, bottom);
}

function line(pen, ink, fromX, fromY, toX, toY) {
  pen.strokeStyle = ink;
  pen.beginPath();
  pen.moveTo(fromX, fromY);
  pen.lineTo(toX, toY);
  pen.stroke();
}

function written(pen, ink, text, x, y) {
  pen.fillStyle = ink;
  pen.fillText(text, x, y);
}

function ticks(low, high, many) {
  const rough = (high - low) / Math.max(2, many);
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * ([1, 2, 5].find((each) => each * ten >= rough) ?? 10);
  const digits = Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) {
    found.push([value, (Math.abs(value) < step / 2 ? 0 : value).toFixed(digits)]);
  }
  return found;
}

const ENDS = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]];

// A corner of the cube in pixels of the canvas; `far` puts it that much further out.
function corner({ view, frame }, at, far = 1) {
  const half = frame.ranges.map(([low, high], axis) => ((high - low) / 2) * frame.scales[axis]);
  return turned(view, ...at.map((each, axis) => each * half[axis] * (each > 0 ? far : 1)), [0, 0, 0]).slice(0, 2);
}

function drawnCube(scatter) {
  const { pen, ink } = scatter;
  const corners = Array.from({ length: 8 }, (_, i) => [i & 1 ? 1 : -1, i & 2 ? 1 : -1, i & 4 ? 1 : -1]);
  pen.lineWidth = 1;
  corners.forEach((from, i) => {
    for (const bit of [1, 2, 4]) if (!(i & bit)) line(pen, ink.line, ...corner(scatter, from), ...corner(scatter, corners[i | bit]));
  });
  pen.lineWidth = 1.5;
  for (const end of ENDS) line(pen, ink.quiet, ...corner(scatter, [-1, -1, -1]), ...corner(scatter, end));
}

function drawnEnds(scatter) {
  const { pen, space, view, ink } = scatter;
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.lineJoin = "round";
  ENDS.forEach((end, axis) => {
    const [left, top] = corner(scatter, end, 1.12);
    const x = Math.min(view.width - 70, Math.max(70, left));
    pen.lineWidth = 4;
    pen.strokeStyle = ink.sheet;
    pen.strokeText(axisName(space, space.axes[axis]), x, top);
    written(pen, ink.ink, axisName(space, space.axes[axis]), x, top);
  });
}

// Names stand in the middle of their pictures, or above them where they are few; one that would cover another is left
// out, the fewest pictures first.
function drawnNames({ pen, space, view, ink }) {
  const sums = space.values.labels.map(() => ({ left: 0, top: 0, many: 0, highest: Infinity }));
  for (let i = 0; i < space.n; i++) {
    if (!isShown(space, i) || !isOut(space, i) || Number.isNaN(view.left[i])) continue;
    const sum = sums[space.values.label[i]];
    sum.left += view.left[i];
    sum.top += view.top[i];
    sum.many++;
    sum.highest = Math.min(sum.highest, view.top[i]);
  }
  const taken = [];
  pen.font = "600 13px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.lineJoin = "round";
  pen.lineWidth = 4;
  for (const place of sums.map((_, at) => at).sort((a, b) => sums[b].many - sums[a].many)) {
    const { left, top, many, highest } = sums[place];
    const label = space.values.labels[place];
    if (many && label.name !== null) named(pen, ink, shortened(nameOf(label)), left / many, many < 8 ? highest - 14 : top / many, taken);
  }
}

function named(pen, ink, name, left, top, taken) {
  const half = pen.measureText(name).width / 2 + 4;
  const box = [left - half, top - 9, left + half, top + 9];
  if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return;
  taken.push(box);
  pen.strokeStyle = ink.sheet;
  pen.strokeText(name, left, top + 4);
  written(pen, ink.ink, name, left, top + 4);
}

function shortened(name) {
  const chars = [...name];
  return chars.length > 28 ? `${chars.slice(0, 27).join("")}…` : name;
}
