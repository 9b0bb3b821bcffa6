// From components to places on the screen: a plane that is moved and zoomed, or a cube that is turned.

const MARGIN = { left: 52, right: 16, top: 14, bottom: 40 };

function madeView(space) {
  return { width: 0, height: 0, zoom: 1, x: 0.5, y: 0.5, yaw: -0.6, pitch: 0.42, ...buffers(space.n) };
}

function buffers(n) {
  return { left: new Float32Array(n), top: new Float32Array(n), depth: new Float32Array(n) };
}

function whole(view) {
  Object.assign(view, { zoom: 1, x: 0.5, y: 0.5, yaw: -0.6, pitch: 0.42 });
}

function range(column) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of column) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [-1, 1];
  return low === high ? [low - 1, high + 1] : [low, high];
}

// The frame says, for each axis on the screen, which value lies in its middle and how many pixels one unit takes.
function framed(space, view) {
  const ranges = space.axes.map((axis) => range(space.columns[axis] ?? [0]));
  const lengths = ranges.map(([low, high]) => 1.08 * (high - low));
  const [wide, high] = [view.width - MARGIN.left - MARGIN.right, view.height - MARGIN.top - MARGIN.bottom];
  let scales = space.deep ? deepScales(space, view, lengths) : [wide / lengths[0], high / lengths[1]];
  if (space.even && !space.deep) scales = scales.map(() => Math.min(...scales));
  const middles = ranges.map(([from, to]) => (from + to) / 2);
  return { ranges, lengths, scales, middles, wide, high };
}

// As large as a cube, or a box, can be turned without leaving the canvas.
function deepScales(space, view, lengths) {
  const room = 0.98 * Math.min(view.width, view.height);
  return lengths.map((length) => room / (space.even ? Math.hypot(...lengths) : Math.sqrt(3) * length));
}

function placed(space, view) {
  const frame = framed(space, view);
  if (space.deep) placedDeep(space, view, frame);
  else placedFlat(space, view, frame);
  return frame;
}

function flatFrame(view, frame) {
  const [kx, ky] = [frame.scales[0] * view.zoom, frame.scales[1] * view.zoom];
  const [cx, cy] = [frame.middles[0] + (view.x - 0.5) * frame.lengths[0], frame.middles[1] + (view.y - 0.5) * frame.lengths[1]];
  return {
    kx,
    ky,
    x0: MARGIN.left + frame.wide / 2 - cx * kx,
    y0: MARGIN.top + frame.high / 2 + cy * ky,
  };
}

function placedFlat(space, view, frame) {
  const { kx, ky, x0, y0 } = flatFrame(view, frame);
  const [x, y] = [space.columns[space.axes[0]], space.columns[space.axes[1]]];
  for (let i = 0; i < space.n; i++) {
    view.left[i] = x0 + x[i] * kx;
    view.top[i] = y0 - y[i] * ky;
  }
}

// Writes into `out`, as a frame turns thousands of points: across, down, and how near.
function turned(view, x, y, z, out) {
  const [cosYaw, sinYaw, cosPitch, sinPitch] = view.turn;
  const across = cosYaw * x + sinYaw * z;
  const away = cosYaw * z - sinYaw * x;
  const up = cosPitch * y + sinPitch * away;
  const near = 1 / (1 + (cosPitch * away - sinPitch * y) / view.eye);
  out[0] = view.width * view.x + view.zoom * near * across;
  out[1] = view.height * (1 - view.y) - view.zoom * near * up;
  out[2] = near;
  return out;
}

function placedDeep(space, view, { middles, scales }) {
  view.turn = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  view.eye = 2.6 * Math.min(view.width, view.height);
  const [x, y, z] = space.axes.map((axis) => space.columns[axis]);
  const out = [0, 0, 0];
  for (let i = 0; i < space.n; i++) {
    turned(view, (x[i] - middles[0]) * scales[0], (y[i] - middles[1]) * scales[1], (z[i] - middles[2]) * scales[2], out);
    view.left[i] = out[0];
    view.top[i] = out[1];
    view.depth[i] = out[2];
  }
}

function zoomed(space, view, by, left = view.width / 2, top = view.height / 2) {
  const zoom = Math.min(200, Math.max(0.5, view.zoom * by));
  const change = 1 / view.zoom - 1 / zoom;
  if (!space.deep) {
    const { lengths, scales, wide, high } = framed(space, view);
    view.x += ((left - MARGIN.left - wide / 2) * change) / (scales[0] * lengths[0]);
    view.y -= ((top - MARGIN.top - high / 2) * change) / (scales[1] * lengths[1]);
  }
  view.zoom = zoom;
}

function moved(space, view, dx, dy) {
  if (space.deep) {
    view.x += dx / view.width;
    view.y -= dy / view.height;
    return;
  }
  const { lengths, scales } = framed(space, view);
  view.x -= dx / (view.zoom * scales[0] * lengths[0]);
  view.y += dy / (view.zoom * scales[1] * lengths[1]);
}

function spun(view, dx, dy) {
  view.yaw += dx * 0.008;
  view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + dy * 0.008));
}

function isWhole(view) {
  return view.zoom === 1 && view.x === 0.5 && view.y === 0.5;
}

function pick(space, view, left, top, reach) {
  let [best, least] = [-1, reach * reach];
  for (let i = 0; i < space.n; i++) {
    const away = (view.left[i] - left) ** 2 + (view.top[i] - top) ** 2;
    if (away <= least && isShown(space, i) && (isOut(space, i) || best < 0)) [best, least] = [i, away];
  }
  return best;
}

// The nearest picture on the screen within the quarter that an arrow key points to.
function beside(space, view, from, dx, dy) {
  let [best, least] = [-1, Infinity];
  for (let i = 0; i < space.n; i++) {
    if (i === from || !isShown(space, i) || !isOut(space, i)) continue;
    const [x, y] = [view.left[i] - view.left[from], view.top[i] - view.top[from]];
    const [along, across] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
    const away = along + 2 * across;
    if (along > 0.5 && across <= along && away < least) [best, least] = [i, away];
  }
  return best;
}
