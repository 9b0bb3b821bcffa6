// What is known of one picture: beside the pointer while it hovers, and held with its neighbours once it is picked.

function madeCard(scatter) {
  const { space } = scatter;
  const card = { element: $("point"), scatter, i: -1 };
  $("point-close").addEventListener("click", () => leave(card));
  card.element.addEventListener("keydown", (event) => event.key === "Escape" && leave(card));
  $("point-focus").addEventListener("click", () => card.onFocus(space.values.label[card.i]));
  return card;
}

// The card is let go from within: focus goes back to the chart.
function leave(card) {
  release(card);
  $("stage").focus({ preventScroll: true });
}

function show(card, i) {
  const { scatter, element } = card;
  const { space } = scatter;
  if (space.hover !== i) {
    space.hover = i;
    scatter.picked();
  }
  if (space.pinned >= 0) return;
  element.hidden = i < 0;
  if (i >= 0 && card.i !== i) filled(card, i);
  card.i = i;
  if (i >= 0) stood(card);
}

function filled({ scatter }, i) {
  const { space } = scatter;
  const { values } = space;
  const label = labelOf(space, i);
  showThumb($("point-thumb"), values.sprite[i], values.sprites);
  $("point-label").textContent = nameOf(label);
  $("point-mark").setAttribute("class", `mark c${label.colour}`);
  $("point-mark").firstElementChild.setAttribute("href", `#${label.shape}`);
  $("point-uri").replaceChildren(...segments(values.uris[i]));
  $("point-source").textContent = `From ${values.sources[values.source[i]]}`;
  $("point-distance").textContent = distanceText(values.distance[i], label);
  filledGauge(values.distance[i] / label.spread);
  const link = values.links[i];
  $("point-link").hidden = !link;
  if (link) $("point-link").href = link;
  else $("point-link").removeAttribute("href");
}

// Each segment has a direction of its own: else those after an Arabic one would stand before it.
function segments(uri) {
  return uri.split("/").flatMap((part, at) => {
    const segment = document.createElement("bdi");
    segment.textContent = part;
    return at ? ["/", segment] : [segment];
  });
}

function distanceText(distance, { name, spread }) {
  if (name === null) return "No distance: it has no label.";
  if (!Number.isFinite(distance)) return "No distance: its label is one of the smallest, of which nothing is told.";
  const times = spread ? `, ${(distance / spread).toFixed(1)} × its spread of ${measured(spread)}` : "";
  return `${measured(distance)} from the centre of its label${times}`;
}

function filledGauge(times) {
  const known = Number.isFinite(times);
  $("point-gauge").hidden = !known;
  $("point-gauge").classList.toggle("far", times > 2);
  $("point-gauge").firstElementChild.style.width = known ? `${Math.min(100, times * 33.3)}%` : 0;
}

// What a screen reader hears of a picture that a key has led to.
function tell({ scatter }, i) {
  const { space } = scatter;
  const label = labelOf(space, i);
  $("told").textContent = `${nameOf(label)}; ${space.values.uris[i]}; ${distanceText(space.values.distance[i], label)}`;
}

// Beside the picture, on the side that has room; a narrow page has the card below its chart.
function stood({ element, scatter, i }) {
  const { view } = scatter;
  const [wide, high] = [element.offsetWidth, element.offsetHeight];
  const [x, y] = [view.left[i], view.top[i]];
  const left = x + 18 + wide < view.width ? x + 18 : x - 18 - wide;
  element.style.left = `${Math.max(8, Math.min(view.width - wide - 8, left))}px`;
  element.style.top = `${Math.max(8, Math.min(view.height - high - 8, y - high / 2))}px`;
}

function hold(card, i) {
  const { scatter, element } = card;
  Object.assign(scatter.space, { pinned: i, hover: -1, last: i });
  card.i = i;
  element.hidden = false;
  element.classList.add("held");
  filled(card, i);
  filledNear(card, i);
  stood(card);
  scatter.picked();
}

function release(card) {
  const { scatter, element } = card;
  scatter.space.pinned = -1;
  element.classList.remove("held");
  element.hidden = true;
  card.i = -1;
  scatter.picked();
}

function filledNear(card, i) {
  const { space } = card.scatter;
  const items = nearest(space, i, 6).map((near) => {
    const button = document.createElement("button");
    const thumb = document.createElement("span");
    button.type = "button";
    button.className = "bare";
    thumb.className = "thumb";
    button.title = `${nameOf(labelOf(space, near))}\n${space.values.uris[near]}`;
    button.setAttribute("aria-label", `${nameOf(labelOf(space, near))}, ${space.values.uris[near]}`);
    button.addEventListener("click", ({ detail }) => {
      hold(card, near);
      // The button itself is gone. A click of no mouse came from a key.
      $("near").querySelector("button").focus({ preventScroll: true });
      if (!detail) tell(card, near);
    });
    button.append(thumb);
    showThumb(thumb, space.values.sprite[near], space.values.sprites);
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  $("near").replaceChildren(...items);
}
