// Puts the page together: the chart at once, then what lies further down.

const percent = (value) => `${Number((100 * value).toFixed(1))} %`;
const plainText = (value) => String(Number(value.toPrecision(3)));
// Each unit in seconds, and as many of it as make one of the next.
const UNITS = [[1, "s", 60], [60, "min", 60], [3600, "h", 24], [86400, "d", Infinity]];

function spanText(seconds) {
  if (seconds === 0) return "0";
  if (Math.round(1000 * seconds) < 1000) return `${Math.round(1000 * seconds)} ms`;
  const rounded = (value) => (value < 999.5 ? Number(value.toPrecision(3)) : Math.round(value));
  const [size, unit] = UNITS.find(([each, , most]) => rounded(seconds / each) < most);
  return `${rounded(seconds / size).toLocaleString("en")} ${unit}`;
}

// How the places of an axis are written: as much as tells them apart, and in full. Seconds are told where two places
// are less than a minute apart.
function timed(xs, step = Math.min(...xs.slice(1).map((x, i) => x - xs[i]))) {
  const days = (xs.at(-1) - xs[0]) / 86400e3;
  const end = step < 60e3 ? 19 : 16;
  const text = (x) => new Date(x).toISOString();
  return {
    xs,
    xText: (x) => {
      if (days > 20) return text(x).slice(0, 10);
      return days > 1 ? text(x).slice(5, 16).replace("T", " ") : text(x).slice(11, end);
    },
    xFull: (x) => `${text(x).slice(0, end).replace("T", " ")} UTC`,
  };
}

function startSpace(values) {
  const space = madeSpace(values);
  const scatter = madeScatter($("scatter"), space, madeView(space));
  const card = madeCard(scatter);
  const panel = madePanel(scatter, card);
  listen(scatter, card, panel);
  new ResizeObserver(() => resized(scatter)).observe(scatter.canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recoloured(scatter));
  matchMedia("print").addEventListener("change", () => recoloured(scatter));
  changed(scatter);
  resized(scatter);
  return { scatter, panel };
}

function startCurves({ shares, k, refits, intervals, stretch }) {
  const together = shares.map((_, i) => shares.slice(0, i + 1).reduce((sum, each) => sum + (each ?? 0), 0));
  const xs = shares.map((_, i) => i + 1);
  const chosen = { x: k, text: `k = ${k}`, after: true };
  const exact = (value) => `${(100 * value).toFixed(2)} %`;
  const plain = { xs, xText: String, xFull: (x) => `Component ${x}`, yText: percent, exact };
  curve($("scree"), { ...plain, mark: chosen, series: [{ name: "Share", values: shares, kind: "bars", look: "one" }] });
  curve($("cumulative"), { ...plain, most: 1, mark: { ...chosen, low: true, text: `k = ${k}: ${percent(together[k - 1] ?? 0)}` }, series: [{ name: "Together", values: together, look: "one" }] });
  startDrift(refits);
  startIntervals(intervals, stretch);
}

function startDrift(refits) {
  if (!refits.length) return;
  const published = refits.find((each) => each[4]);
  const mark = published && { x: published[0], text: "published" };
  const plain = { mark, ...timed(refits.map(([at]) => at)) };
  const [shift, old, fresh] = [1, 2, 3].map((at) => refits.map((each) => each[at]));
  curve($("shift"), { ...plain, yText: plainText, exact: measured, series: [{ name: "Standard deviations", values: shift, look: "one" }] });
  const series = [{ name: "known pictures", values: old, look: "one" }, { name: "new pictures", values: fresh, look: "two" }];
  curve($("errors"), { ...plain, yText: percent, exact: (value) => `${(100 * value).toFixed(2)} %`, series });
}

function startIntervals(intervals, stretch) {
  if (!intervals.length) return;
  const plain = timed(intervals.map(([at]) => at), 1000 * stretch);
  const [p50, p95, rate] = [1, 2, 3].map((at) => intervals.map((each) => each[at]));
  const series = [{ name: "median", values: p50, look: "one" }, { name: "95 %", values: p95, look: "two" }];
  curve($("fresh"), { ...plain, yText: spanText, ticks: timeTicks, series });
  curve($("rate"), { ...plain, yText: plainText, exact: measured, series: [{ name: "Pictures per second", values: rate, kind: "bars", look: "one" }] });
}

const THEMES = ["auto", "light", "dark"];

function startTheme(scatter) {
  const button = $("theme");
  let at = 0;
  button.addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    document.documentElement.dataset.theme = THEMES[at];
    button.textContent = THEMES[at][0].toUpperCase() + THEMES[at].slice(1);
    button.setAttribute("aria-label", `Colours: ${button.textContent}${at ? "" : ", as the system has them"}`);
    if (scatter) recoloured(scatter);
  });
}

function startSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen) {
        const link = links.get(target.id);
        if (!isIntersecting) link.removeAttribute("aria-current");
        else {
          link.setAttribute("aria-current", "true");
          link.closest("ul").scrollLeft = link.offsetLeft - 80;
        }
      }
    },
    { rootMargin: "-30% 0px -69% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
}

// Thumbnails and labels further down lead back to the chart.
function startLinks(panel) {
  document.addEventListener("click", ({ target }) => {
    const point = target.closest("[data-point]");
    const label = target.closest("[data-label]");
    if (!point && !label) return;
    $("space").scrollIntoView();
    $("stage").focus({ preventScroll: true });
    if (point) reveal(panel, Number(point.dataset.point));
    else focused(panel, Number(label.dataset.label));
  });
}

function startTables() {
  for (const table of document.querySelectorAll(".sortable")) sortable(table);
  for (const field of document.querySelectorAll("[data-filters]")) filterable(field);
  for (const list of document.querySelectorAll(".more")) shortList(list);
  startSections();
}

async function startCharts() {
  const values = await unpacked($("data"));
  const explorer = $("scatter") ? startSpace(values) : null;
  startTheme(explorer?.scatter);
  startCurves(values);
  if (explorer) startLinks(explorer.panel);
  if (document.readyState === "loading") await new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));
  showThumbsAsSeen(values.sprites);
}

// A browser that lacks what the charts are made of reads a page without them.
function startWithoutCharts() {
  for (const each of document.querySelectorAll(".explorer, figure, #theme")) each.hidden = true;
  $("too-old")?.removeAttribute("hidden");
}

async function start() {
  startTables();
  const able = "DecompressionStream" in globalThis && CSS.supports("color", "light-dark(white, black)");
  if (able) await startCharts();
  else startWithoutCharts();
  document.documentElement.dataset.ready = "true";
}

start();
