// Mouse, fingers and keys on the chart.

const REACH = { mouse: 10, pen: 14, touch: 26 };

function listen(scatter, card, panel) {
  const { canvas, space } = scatter;
  const stage = $("stage");
  const down = new Map();
  const drag = { far: 0, moved: false };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    down.set(event.pointerId, at(canvas, event));
    canvas.setPointerCapture(event.pointerId);
    Object.assign(drag, { far: 0, moved: down.size > 1 });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (down.has(event.pointerId)) dragged(scatter, card, down, drag, event);
    else hovered(scatter, card, event);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (down.delete(event.pointerId) && name === "pointerup" && !drag.moved) clicked(scatter, card, event);
      stage.classList.remove("moving");
    });
  }
  canvas.addEventListener("pointerleave", () => down.size || show(card, -1));
  canvas.addEventListener("dblclick", () => shifted(scatter, card, () => whole(scatter.view)));
  canvas.addEventListener("wheel", (event) => wheeled(scatter, card, event), { passive: false });
  stage.addEventListener("blur", () => space.pinned < 0 && show(card, -1));
  stage.addEventListener("keydown", (event) => event.target === stage && pressed(scatter, card, panel, event));
  $("nearer").addEventListener("click", () => shifted(scatter, card, () => zoomed(scatter.space, scatter.view, 1.5)));
  $("farther").addEventListener("click", () => shifted(scatter, card, () => zoomed(scatter.space, scatter.view, 1 / 1.5)));
  $("whole").addEventListener("click", () => shifted(scatter, card, () => whole(scatter.view)));
}

function at(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function shifted(scatter, card, change) {
  change();
  placed(scatter.space, scatter.view);
  if (scatter.space.pinned >= 0) stood(card);
  viewed(scatter);
}

function hovered(scatter, card, event) {
  const [left, top] = at(scatter.canvas, event);
  show(card, pick(scatter.space, scatter.view, left, top, REACH[event.pointerType] ?? 12));
}

function dragged(scatter, card, down, drag, event) {
  const { space, view, canvas } = scatter;
  const [before, now] = [down.get(event.pointerId), at(canvas, event)];
  const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
  drag.far += Math.hypot(dx, dy);
  if (drag.far < 5 && !drag.moved) return;
  drag.moved = true;
  down.set(event.pointerId, now);
  $("stage").classList.add("moving");
  shifted(scatter, card, () => {
    if (down.size === 2) pinched(space, view, [...down].find(([id]) => id !== event.pointerId)[1], before, now);
    else if (space.deep && !event.shiftKey) spun(view, dx, dy);
    else moved(space, view, dx, dy);
  });
}

function pinched(space, view, other, before, now) {
  const away = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
  zoomed(space, view, away(now) / away(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}

function clicked(scatter, card, event) {
  const { space, view, canvas } = scatter;
  const i = pick(space, view, ...at(canvas, event), REACH[event.pointerType] ?? 12);
  if (i < 0) return release(card);
  return hold(card, i);
}

function wheeled(scatter, card, event) {
  if (!event.ctrlKey && !event.metaKey && !$("stage").contains(document.activeElement)) return;
  event.preventDefault();
  const by = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016));
  shifted(scatter, card, () => zoomed(scatter.space, scatter.view, by, ...at(scatter.canvas, event)));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressed(scatter, card, panel, event) {
  const { space, view } = scatter;
  const arrow = ARROWS[event.key];
  const acts = {
    "+": () => shifted(scatter, card, () => zoomed(space, view, 1.3)),
    "=": () => shifted(scatter, card, () => zoomed(space, view, 1.3)),
    "-": () => shifted(scatter, card, () => zoomed(space, view, 1 / 1.3)),
    0: () => shifted(scatter, card, () => whole(view)),
    Enter: () => (space.hover >= 0 ? hold(card, space.hover) : undefined),
    Escape: () => escaped(card, panel),
  };
  const act = arrow ? () => (event.shiftKey ? nudged(scatter, card, arrow) : stepped(scatter, card, arrow)) : acts[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}

// One thing at a time: the picture that is held or shown, then the label that is brought out.
function escaped(card, panel) {
  const { space } = card.scatter;
  if (space.pinned >= 0) release(card);
  else if (space.hover >= 0) show(card, -1);
  else focused(panel, null);
}

function nudged(scatter, card, [x, y]) {
  const { space, view } = scatter;
  shifted(scatter, card, () => (space.deep ? spun(view, 24 * x, 24 * y) : moved(space, view, -40 * x, -40 * y)));
}

function stepped(scatter, card, [x, y]) {
  const { space, view } = scatter;
  const from = [space.pinned, space.hover, space.last].find((i) => i >= 0 && isShown(space, i)) ?? -1;
  const next = from < 0 ? pick(space, view, view.width / 2, view.height / 2, 1e6) : beside(space, view, from, x, y);
  if (next < 0) return;
  space.last = next;
  if (space.pinned >= 0) hold(card, next);
  else show(card, next);
  tell(card, next);
}
