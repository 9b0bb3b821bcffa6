// What the page carries: values as gzip in base64, and sheets of thumbnails that become pictures when one is looked at.

const $ = (id) => document.getElementById(id);

function bytesOf(text) {
  return Uint8Array.from(atob(text.trim()), (char) => char.charCodeAt(0));
}

async function unpacked(element) {
  const stream = new Blob([bytesOf(element.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const values = await new Response(stream).json();
  const list = (Kind, text) => new Kind(bytesOf(text).buffer);
  values.label = list(Int32Array, values.label);
  values.source = list(Int32Array, values.source);
  values.sprite = list(Int32Array, values.sprite);
  values.distance = list(Float32Array, values.distance);
  values.components = columns(list(Int16Array, values.components), values.axes);
  return values;
}

function columns(steps, axes) {
  const n = axes.length ? steps.length / axes.length : 0;
  return axes.map(({ low, step }, axis) => {
    const column = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const at = steps[axis * n + i];
      column[i] = at === -32768 ? NaN : low + (at + 32500) * step;
    }
    return column;
  });
}

const sheets = new Map();

function sheet(place) {
  if (!sheets.has(place)) {
    const packed = document.querySelectorAll(".sheet")[place];
    if (!packed) return null;
    sheets.set(place, URL.createObjectURL(new Blob([bytesOf(packed.textContent)], { type: "image/webp" })));
  }
  return sheets.get(place);
}

// The size of the background is in parts of the element, so that the page's style alone says how large a thumbnail is.
function showThumb(element, sprite, { across, n }) {
  const full = across * across;
  const url = sprite >= 0 ? sheet(Math.floor(sprite / full)) : null;
  element.classList.toggle("none", !url);
  element.style.backgroundImage = url ? `url(${url})` : "";
  if (!url) return;
  const first = Math.floor(sprite / full) * full;
  const held = Math.min(full, n - first);
  const wide = Math.min(across, held);
  const high = Math.ceil(held / wide);
  const [row, column] = [Math.floor((sprite - first) / wide), (sprite - first) % wide];
  const part = (at, of) => (of > 1 ? (100 * at) / (of - 1) : 0);
  element.style.backgroundSize = `${100 * wide}% ${100 * high}%`;
  element.style.backgroundPosition = `${part(column, wide)}% ${part(row, high)}%`;
}

function showThumbsAsSeen(sprites) {
  const watcher = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        showThumb(target, Number(target.dataset.sprite), sprites);
        watcher.unobserve(target);
      }
    },
    { rootMargin: "400px" },
  );
  const all = document.querySelectorAll(".thumb[data-sprite]");
  for (const each of all) watcher.observe(each);
  // Paper is never scrolled.
  addEventListener("beforeprint", () => {
    for (const each of all) showThumb(each, Number(each.dataset.sprite), sprites);
    watcher.disconnect();
  });
  for (const each of document.querySelectorAll(".bare .thumb:not([data-sprite])")) each.classList.add("none");
}
