// Puts the page together: the chart at once, then what lies further down.

const percent = (value) => `${Number((100 * value).toFixed(1))} %`;
const plainText = (value) => String(Number(value.toPrecision(3)));
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function spanText(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  const [size, unit] = UNITS.find(([each]) => seconds >= each);
  return `${Number((seconds / size).toPrecision(3))} ${unit}`;
}

// As much of a moment as tells the places of an axis apart that runs over so many days.
function shortTime(millis, days) {
  const text = new Date(millis).toISOString();
  if (days > 20) return text.slice(0, 10);
  return days > 1 ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, 16);
}

function fullTime(millis) {
  return `${new Date(millis).toISOString().slice(0, 16).replace("T", " ")} UTC`;
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

function startCurves({ shares, k, refits, intervals }) {
  const together = shares.map((_, i) => shares.slice(0, i + 1).reduce((sum, each) => sum + (each ?? 0), 0));
  const many = Math.min(shares.length, Math.max(20, Math.ceil(1.5 * k)));
  const xs = Array.from({ length: many }, (_, i) => i + 1);
  const chosen = { x: k, text: `k = ${k}`, after: true };
  const exact = (value) => `${(100 * value).toFixed(2)} %`;
  const plain = { xs, xText: String, xFull: (x) => `Component ${x}`, yText: percent, exact };
  curve($("scree"), { ...plain, mark: chosen, series: [{ name: "Share", values: shares.slice(0, many), kind: "bars", look: "one" }] });
  curve($("cumulative"), { ...plain, most: 1, mark: { ...chosen, low: true, text: `k = ${k}: ${percent(together[k - 1] ?? 0)}` }, series: [{ name: "Together", values: together.slice(0, many), look: "one" }] });
  startDrift(refits);
  startIntervals(intervals);
}

function startDrift(refits) {
  if (!refits.length) return;
  const days = (refits.at(-1)[0] - refits[0][0]) / 86400e3;
  const published = refits.find((each) => each[4]);
  const mark = published && { x: published[0], text: "published" };
  const plain = { mark, xs: refits.map(([at]) => at), xText: (at) => shortTime(at, days), xFull: fullTime };
  const [shift, old, fresh] = [1, 2, 3].map((at) => refits.map((each) => each[at]));
  curve($("shift"), { ...plain, yText: plainText, exact: measured, series: [{ name: "Standard deviations", values: shift, look: "one" }] });
  const series = [{ name: "known pictures", values: old, look: "one" }, { name: "new pictures", values: fresh, look: "two" }];
  curve($("errors"), { ...plain, yText: percent, exact: (value) => `${(100 * value).toFixed(2)} %`, series });
}

function startIntervals(intervals) {
  if (!intervals.length) return;
  const days = (intervals.at(-1)[0] - intervals[0][0]) / 86400e3;
  const plain = { xs: intervals.map(([at]) => at), xText: (at) => shortTime(at, days), xFull: fullTime };
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
    button.setAttribute("aria-label", `Colours: ${at ? THEMES[at] : "as the system has them"}`);
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

async function start() {
  const values = await unpacked($("data"));
  const explorer = $("scatter") ? startSpace(values) : null;
  startTheme(explorer?.scatter);
  startCurves(values);
  for (const table of document.querySelectorAll(".sortable")) sortable(table);
  for (const field of document.querySelectorAll("[data-filters]")) filterable(field);
  for (const list of document.querySelectorAll(".more")) shortList(list);
  startSections();
  if (explorer) startLinks(explorer.panel);
  if (document.readyState === "loading") await new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));
  showThumbsAsSeen(values.sprites);
  document.documentElement.dataset.ready = "true";
}

start();
