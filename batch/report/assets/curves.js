// Small charts as SVG: lines or bars over one axis, with the values of the nearest place beside the pointer.

const AROUND = { left: 48, right: 14, top: 12, bottom: 26 };

function svg(name, attributes, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

// A plot is {xs, xText, yText, series: [{name, values, kind, look}], mark: {x, text, after, low}, most}.
function curve(host, plot) {
  if (!host) return;
  keyed(host, plot);
  let away = () => {};
  const draw = () => {
    const frame = curveFrame(host, plot);
    const picture = svg("svg", { role: "img", "aria-label": described(host, plot) }, ...curveAxes(frame, plot));
    for (const series of plot.series) picture.append(...curveSeries(frame, plot, series));
    if (plot.mark) picture.append(...curveMark(frame, plot));
    host.replaceChildren(picture);
    away = pointed(host, picture, frame, plot);
  };
  new ResizeObserver(draw).observe(host);
  // A finger that taps elsewhere takes away what an earlier tap has shown.
  document.addEventListener("pointerdown", ({ target }) => host.contains(target) || away());
}

function keyed(host, plot) {
  if (plot.series.length < 2) return;
  const keys = document.createElement("span");
  keys.className = "keys";
  for (const { name, look } of plot.series) {
    const key = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = look;
    key.append(swatch, name);
    keys.append(key);
  }
  host.closest("figure").querySelector("figcaption").append(keys);
}

function described(host, plot) {
  const title = host.closest("figure").querySelector("figcaption").firstChild.textContent;
  const said = plot.series.map(({ name, values }) => {
    const known = values.filter((value) => value !== null);
    return known.length ? `${name}: from ${plot.yText(Math.min(...known))} to ${plot.yText(Math.max(...known))}, last ${plot.yText(known.at(-1))}` : `${name}: nothing`;
  });
  return `${title}. ${said.join("; ")}.`;
}

function curveFrame(host, plot) {
  const [width, height] = [host.clientWidth, host.clientHeight];
  const known = plot.series.flatMap(({ values }) => values).filter((value) => value !== null);
  const most = plot.most ?? (Math.max(0, ...known) * 1.08 || 1);
  const slot = (width - AROUND.left - AROUND.right) / plot.xs.length;
  const bottom = height - AROUND.bottom;
  return {
    width,
    height,
    most,
    slot,
    bottom,
    x: (i) => AROUND.left + (i + 0.5) * slot,
    y: (value) => bottom - (value / most) * (bottom - AROUND.top),
  };
}

function curveAxes(frame, plot) {
  const parts = [];
  for (const value of (plot.ticks ?? evenTicks)(frame.most, frame.height / 55)) {
    parts.push(svg("line", { class: value ? "grid" : "base", x1: AROUND.left, x2: frame.width - AROUND.right, y1: frame.y(value), y2: frame.y(value) }));
    parts.push(svg("text", { x: AROUND.left - 7, y: frame.y(value) + 4, "text-anchor": "end" }, plot.yText(value)));
  }
  return [...parts, ...curvePlaces(frame, plot)];
}

// As many places as have room for their text and another one than the last; those at the edges lean inwards.
function curvePlaces(frame, plot) {
  const parts = [];
  let [taken, last] = [-Infinity, null];
  plot.xs.forEach((x, i) => {
    const text = plot.xText(x);
    const half = (text.length * 6.6) / 2;
    const middle = Math.max(AROUND.left + half - 8, Math.min(frame.width - half, frame.x(i)));
    if (middle - half < taken + 12 || text === last) return;
    taken = middle + half;
    last = text;
    parts.push(svg("text", { x: middle, y: frame.height - 8, "text-anchor": "middle" }, text));
  });
  return parts;
}

function evenTicks(most, many) {
  return ticks(0, most, many).map(([value]) => value);
}

// Seconds are told in minutes and hours, so the steps are theirs.
function timeTicks(most, many) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400];
  const step = steps.find((each) => most / each <= many);
  if (!step || most < 0.2) return evenTicks(most, many);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

function curveSeries(frame, { xs }, { values, kind, look }) {
  if (kind === "bars") return [svg("g", { class: look }, ...bars(frame, values))];
  const known = values.map((value, i) => [i, value]).filter(([, value]) => value !== null);
  const runs = known.reduce((all, [i, value], at) => all + `${at && known[at - 1][0] === i - 1 ? "L" : "M"}${frame.x(i).toFixed(1)} ${frame.y(value).toFixed(1)}`, "");
  const parts = [svg("path", { d: runs })];
  const alone = ([i]) => values[i - 1] == null && values[i + 1] == null;
  const dotted = xs.length <= 40 ? known : known.filter(alone);
  parts.push(...dotted.map(([i, value]) => svg("circle", { cx: frame.x(i), cy: frame.y(value), r: xs.length > 40 ? 2 : 3 })));
  return [svg("g", { class: look }, ...parts)];
}

function bars(frame, values) {
  const wide = Math.max(1, Math.min(28, frame.slot * 0.72));
  return values.flatMap((value, i) =>
    value ? [svg("rect", { x: frame.x(i) - wide / 2, width: wide, y: frame.y(value), height: Math.max(1, frame.bottom - frame.y(value)), rx: wide > 6 ? 2 : 0 })] : [],
  );
}

function curveMark(frame, { xs, mark }) {
  const at = xs.indexOf(mark.x);
  if (at < 0) return [];
  const left = frame.x(at) + (mark.after ? frame.slot / 2 : 0);
  const anchor = left > frame.width / 2 ? "end" : "start";
  return [
    svg("line", { class: "chosen", x1: left, x2: left, y1: AROUND.top, y2: frame.bottom }),
    svg("text", { class: "chosen-text", x: left + (anchor === "end" ? -6 : 6), y: AROUND.top + (mark.low ? frame.bottom - 24 : 8), "text-anchor": anchor }, mark.text),
  ];
}

// Returns what hides the values again.
function pointed(host, picture, frame, plot) {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const cursor = svg("line", { class: "cursor", y1: AROUND.top, y2: frame.bottom, visibility: "hidden" });
  picture.append(cursor);
  host.append(tip);
  const point = (event) => {
    const left = event.clientX - picture.getBoundingClientRect().left;
    const i = Math.max(0, Math.min(plot.xs.length - 1, Math.round((left - AROUND.left) / frame.slot - 0.5)));
    tip.hidden = false;
    const lines = plot.series.map(({ name, values }) => `${name} ${values[i] === null ? "–" : (plot.exact ?? plot.yText)(values[i])}`);
    tip.textContent = [(plot.xFull ?? plot.xText)(plot.xs[i]), ...lines].join("\n");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, frame.x(i));
    cursor.setAttribute("visibility", "visible");
    const room = frame.x(i) + 12 + tip.offsetWidth < frame.width;
    tip.style.left = `${Math.max(0, room ? frame.x(i) + 12 : frame.x(i) - 12 - tip.offsetWidth)}px`;
    tip.style.top = `${AROUND.top}px`;
  };
  for (const name of ["pointerdown", "pointermove"]) picture.addEventListener(name, point);
  const hide = () => {
    tip.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  };
  // A finger leaves as soon as it is lifted.
  picture.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && hide());
  return hide;
}
