// What is known of one picture: beside the pointer while it hovers, and held with its neighbours once it is picked.

function madeCard(scatter) {
  const { space } = scatter;
  const card = { element: $("point"), scatter, i: -1 };
  $("point-close").addEventListener("click", () => {
    release(card);
    $("stage").focus({ preventScroll: true });
  });
  $("point-focus").addEventListener("click", () => card.onFocus(space.values.label[card.i]));
  return card;
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
  filledDistance(values.distance[i], label.spread);
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

function filledDistance(distance, spread) {
  const known = Number.isFinite(distance);
  const usual = known && spread ? distance / spread : null;
  const more = usual === null ? "" : `, ${usual.toFixed(1)} × its spread of ${measured(spread)}`;
  $("point-distance").textContent = known ? `${measured(distance)} from the centre of its label${more}` : "No distance: nothing is known of its label.";
  $("point-gauge").hidden = usual === null;
  $("point-gauge").classList.toggle("far", usual > 2);
  $("point-gauge").firstElementChild.style.width = `${Math.min(100, (usual ?? 0) * 33.3)}%`;
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
  scatter.space.pinned = i;
  scatter.space.hover = -1;
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
    button.addEventListener("click", () => hold(card, near));
    button.append(thumb);
    showThumb(thumb, space.values.sprite[near], space.values.sprites);
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  $("near").replaceChildren(...items);
}
