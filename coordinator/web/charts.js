// Charts: Chart.js with this page's colours, a text alternative for each, and a PNG of it.
import {h, save} from "./dom.js";

const COLOURS = ["#0b6bcb", "#c2410c", "#15803d", "#9333ea", "#b91c1c", "#0e7490", "#a16207", "#be185d"];
export const colour = (index) => COLOURS[index % COLOURS.length];
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Draws dataset.intervals ([low, high] a value) over bars. */
const intervals = {
  id: "intervals",
  afterDatasetsDraw(chart) {
    const {ctx} = chart;
    ctx.save();
    ctx.strokeStyle = variable("--text");
    ctx.lineWidth = 1.5;
    chart.data.datasets.forEach((dataset, d) => chart.getDatasetMeta(d).data.forEach((bar, i) => {
      const interval = dataset.intervals?.[i];
      if (!interval) return;
      const [low, high] = interval.map((value) => chart.scales.y.getPixelForValue(value));
      ctx.beginPath();
      ctx.moveTo(bar.x, low); ctx.lineTo(bar.x, high);
      for (const y of [low, high]) { ctx.moveTo(bar.x - 5, y); ctx.lineTo(bar.x + 5, y); }
      ctx.stroke();
    }));
    ctx.restore();
  },
};

function draw(title, description, config) {
  const canvas = h("canvas", {role: "img", "aria-label": `${title}. ${description}`});
  const figure = h("figure", {class: "chart"}, h("figcaption", {}, title), h("div", {class: "canvas"}, canvas));
  figure.append(h("button", {type: "button", class: "small", click: () => {
    h("a", {href: canvas.toDataURL("image/png"), download: `${title}.png`}).click();
  }}, "PNG", h("span", {class: "hidden"}, ` of ${title}`)));
  const axis = (text, more) => ({title: {display: Boolean(text), text, color: variable("--quiet")}, grid: {color: variable("--line")},
    ticks: {color: variable("--quiet")}, ...more});
  const chart = new Chart(canvas, {
    type: config.type, data: config.data, plugins: [intervals],
    options: {responsive: true, maintainAspectRatio: false, animation: false, parsing: config.parsing ?? true,
      plugins: {legend: {display: config.data.datasets.length > 1, labels: {color: variable("--text")}}, tooltip: {callbacks: config.tooltip ?? {}}},
      scales: {x: axis(config.x, config.xMore), y: axis(config.y, {beginAtZero: true, ...config.yMore})}, onClick: config.click},
  });
  figure.chart = chart;
  return figure;
}

/** groups: [{label, values, intervals}], one bar a label and group. */
export function bars(title, labels, groups, y) {
  const words = groups.map((g) => `${g.label}: ${labels.map((l, i) => `${l} ${g.values[i]?.toFixed(3) ?? "none"}`).join(", ")}`).join("; ");
  return draw(title, words, {type: "bar", y, data: {labels, datasets: groups.map((g, i) => (
    {label: g.label, data: g.values, intervals: g.intervals, backgroundColor: colour(i), maxBarThickness: 48}))},
  tooltip: {footer: (items) => items.map((item) => {
    const interval = item.dataset.intervals?.[item.dataIndex];
    return interval ? `95%: ${interval[0].toFixed(3)} to ${interval[1].toFixed(3)}` : "";
  }).join("")}});
}

/** Bars over equal bins from min to max. */
export function histogram(title, {min, max, histogram: bins}, x, y = "samples") {
  const width = (max - min) / bins.length;
  return draw(title, `from ${min} to ${max}`, {type: "bar", x, y, xMore: {ticks: {color: variable("--quiet"), maxTicksLimit: 8}},
    data: {labels: bins.map((_, i) => Math.round(min + i * width)), datasets: [{label: y, data: bins, backgroundColor: colour(0), categoryPercentage: 1, barPercentage: 0.95}]}});
}

/** Several sets of values over the same bins, as shares. groups: [{label, values}] */
export function distribution(title, groups, x) {
  const all = groups.flatMap((g) => g.values);
  const low = Math.min(...all), high = Math.max(...all), bins = 20, width = (high - low) / bins || 1;
  const share = (values) => {
    const counts = new Array(bins).fill(0);
    for (const value of values) counts[Math.min(bins - 1, Math.floor((value - low) / width))]++;
    return counts.map((n) => n / values.length);
  };
  return draw(title, `${groups.map((g) => g.label).join(", ")}, from ${low.toFixed(3)} to ${high.toFixed(3)}`, {type: "line", x, y: "share of samples",
    data: {labels: Array.from({length: bins}, (_, i) => (low + (i + 0.5) * width).toFixed(2)),
      datasets: groups.map((g, i) => ({label: g.label, data: share(g.values), borderColor: colour(i), backgroundColor: colour(i) + "33", fill: true, stepped: "middle", pointRadius: 0}))}});
}

/** points: [{x, y, index}]; `pick(index)` when one is clicked. */
export function scatter(title, points, x, y, pick) {
  return draw(title, `${points.length} samples, ${x} across, ${y} up`, {type: "scatter", x, y, yMore: {beginAtZero: false},
    data: {datasets: [{label: "samples", data: points, backgroundColor: colour(0) + "99", pointRadius: 3}]},
    tooltip: {label: (item) => `sample ${item.raw.index}: ${item.raw.x.toFixed(3)}, ${item.raw.y.toFixed(3)}`},
    click: (_, hits) => hits[0] && pick?.(points[hits[0].index].index)});
}

/** A line that grows: series: [{label, values}] over labels. */
export function lines(title, labels, series, y, yMore = {}) {
  return draw(title, series.map((s) => s.label).join(", "), {type: "line", y, yMore, xMore: {ticks: {color: variable("--quiet"), maxTicksLimit: 6}},
    data: {labels, datasets: series.map((s, i) => ({label: s.label, data: s.values, borderColor: colour(i), backgroundColor: colour(i), pointRadius: 0, borderWidth: 2}))}});
}

export function exports(name, json, rows, toCsv) {
  return h("p", {class: "exports"}, "Export: ",
    h("button", {type: "button", class: "small", click: () => save(`${name}.json`, "application/json", JSON.stringify(json, null, 2))}, "JSON"),
    rows && h("button", {type: "button", class: "small", click: () => save(`${name}.csv`, "text/csv", toCsv(rows))}, "CSV"));
}
