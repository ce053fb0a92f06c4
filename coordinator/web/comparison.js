// Which model is best, and is the difference real: means with intervals, paired tests, distributions, samples side by side.
import {ask} from "./api.js";
import {count, csv, field, h, number, plural, select, status, table, trouble} from "./dom.js";
import {bars, distribution, exports, scatter} from "./charts.js";
import {made, part} from "./samples.js";

const PAGES = 5, PAGE = 1000;
const label = (e) => e.name || e.model;
const interval = (ci) => ci ? `${number(ci[0])} to ${number(ci[1])}` : "–";

/** Scores of the first samples, enough to draw: [{index, scores}] for each experiment. */
async function scoresOf(id, signal) {
  const items = [];
  for (let page = 0; page < PAGES; page++) {
    const listing = await ask(`/jobs/${id}/samples?texts=false&skip=${page * PAGE}&limit=${PAGE}`, {signal});
    items.push(...listing.items);
    if (items.length >= listing.total || !listing.items.length) break;
  }
  return items;
}

function verdict(pairs, names, metric) {
  const real = pairs.filter((p) => p.metric === metric && p.p_holm !== null && p.p_holm < 0.05);
  if (!pairs.some((p) => p.metric === metric)) return "";
  if (!real.length) return `By ${metric}, no difference between these models is real at the 5% level.`;
  return `By ${metric}: ` + real.map((p) => {
    const [better, worse] = p.mean_difference > 0 ? [p.a, p.b] : [p.b, p.a];
    return `${names[better]} is better than ${names[worse]} (p ${number(p.p_holm, 4)})`;
  }).join("; ") + ".";
}

const PAIR_COLUMNS = (names) => [
  {title: "A", cell: (p) => names[p.a]}, {title: "B", cell: (p) => names[p.b]},
  {title: "A − B", number: true, cell: (p) => number(p.mean_difference, 4)},
  {title: "95% interval", number: true, cell: (p) => p.ci95 ? `${number(p.ci95[0], 4)} to ${number(p.ci95[1], 4)}` : "–"},
  {title: "p (Holm)", number: true, cell: (p) => number(p.p_holm, 4)},
  {title: "Real?", cell: (p) => p.p_holm === null ? "–" : p.p_holm < 0.05 ? "yes" : "no"},
  {title: "Won / tied / lost", number: true, cell: (p) => `${count(p.wins)} / ${count(p.ties)} / ${count(p.losses)}`},
];

function figures(experiments, metrics) {
  return table({caption: "Means with 95% bootstrap intervals", rows: experiments, columns: [
    {title: "Experiment", cell: (e) => h("a", {href: `#/experiments/${e.id}`}, label(e))}, {title: "Status", cell: (e) => status(e.status)},
    {title: "Samples", number: true, cell: (e) => `${count(e.samples)}${e.failed ? ` (${count(e.failed)} failed)` : ""}`},
    ...metrics.map((m) => ({title: m, number: true, cell: (e) => h("span", {}, number(e.metrics[m]?.mean), h("div", {class: "quiet"}, interval(e.metrics[m]?.ci95)))})),
    {title: "s/sample", number: true, cell: (e) => number(e.seconds_per_sample, 2)}, {title: "tokens/s", number: true, cell: (e) => number(e.new_tokens_per_s, 0)},
    {title: "Price", number: true, cell: (e) => e.price === undefined || e.price === null ? "–" : number(e.price, 4)}]});
}

/** One sample, every model's prediction beside the ground truth. */
async function sideBySide(root, experiments, index, metric, signal) {
  const samples = await Promise.all(experiments.map((e) => ask(`/jobs/${e.id}/samples?skip=${index}&limit=1`, {signal}).then((l) => l.items[0])));
  const first = samples.find(Boolean);
  if (!first) return root.replaceChildren(h("p", {class: "quiet"}, "There is no such sample."));
  root.replaceChildren(h("div", {class: "sample"}, part("Input", first.examples ?? "deleted"), part("Ground truth", first.ground_truth ?? "none"),
    samples.map((s, i) => s && part(label(experiments[i]), made(s), s.scores[metric] !== undefined && `${metric} ${number(s.scores[metric])}`))));
}

export async function showComparison({root, query, remember, signal}) {
  const ids = (query.get("ids") ?? "").split(",").filter(Boolean);
  if (!ids.length) return root.append(h("p", {}, "Choose experiments in ", h("a", {href: "#/experiments"}, "the list"), " to compare them."));
  root.append(h("p", {class: "quiet", role: "status"}, "resampling …"));
  const [comparison, ...all] = await Promise.all([ask(`/experiments/compare?ids=${ids.join(",")}`, {signal}), ...ids.map((id) => scoresOf(id, signal))]);
  const experiments = comparison.experiments, names = Object.fromEntries(experiments.map((e) => [e.id, label(e)]));
  const values = Object.fromEntries(ids.map((id, i) => [id, all[i]]));
  const metrics = [...new Set(experiments.flatMap((e) => Object.keys(e.metrics)))];
  if (!metrics.length) return root.replaceChildren(h("p", {}, "None of these has a score yet."));
  const chosen = h("div");

  function draw() {
    const metric = metrics.includes(query.get("metric")) ? query.get("metric") : metrics[0];
    const other = metrics.includes(query.get("other")) ? query.get("other") : metrics.find((m) => m !== metric) ?? metric;
    const index = Number(query.get("sample") ?? -1);
    const pairs = comparison.pairs.filter((p) => p.metric === metric), sample = h("div");
    const pick = (at) => { remember({sample: at}); sideBySide(sample, experiments, at, metric, signal).then(() => sample.scrollIntoView(), trouble); };
    const of = (id, key) => values[id].filter((s) => s.scores[key] !== null && s.scores[key] !== undefined);
    const best = experiments.flatMap((e) => Object.entries(comparison.best_worst[e.id]?.[metric] ?? {}).flatMap(([kind, list]) => list.map((x) => ({...x, kind, experiment: label(e)}))));
    const charts = [distribution(`Distribution of ${metric}`, experiments.map((e) => ({label: label(e), values: of(e.id, metric).map((s) => s.scores[metric])})).filter((g) => g.values.length), metric)];
    const first = experiments[0], second = experiments[1];
    if (other !== metric) charts.push(scatter(`${label(first)}: ${metric} and ${other}`, of(first.id, metric).filter((s) => s.scores[other] !== null).map((s) => ({x: s.scores[metric], y: s.scores[other], index: s.index})), metric, other, pick));
    if (second) {
      const by = new Map(of(second.id, metric).map((s) => [s.index, s.scores[metric]]));
      charts.push(scatter(`${metric}: ${label(first)} and ${label(second)}`, of(first.id, metric).filter((s) => by.has(s.index)).map((s) => ({x: s.scores[metric], y: by.get(s.index), index: s.index})), label(first), label(second), pick));
    }
    chosen.replaceChildren(
      h("form", {class: "controls"}, field("Metric", select(metrics.map((m) => [m, m]), metric, (value) => { remember({metric: value}); draw(); })),
        field("Against", select(metrics.map((m) => [m, m]), other, (value) => { remember({other: value}); draw(); }))),
      h("p", {class: "verdict"}, verdict(comparison.pairs, names, metric)),
      pairs.length ? table({caption: `${metric}: paired bootstrap over the samples that both scored`, columns: PAIR_COLUMNS(names), rows: pairs}) : "",
      h("div", {class: "charts"}, charts),
      h("h2", {}, "Best and worst samples"), table({caption: `By ${metric}`, rows: best, empty: "There is none.", columns: [
        {title: "Experiment", cell: (b) => b.experiment}, {title: "Kind", cell: (b) => b.kind},
        {title: metric, number: true, cell: (b) => number(b.value)},
        {title: "Sample", cell: (b) => h("button", {type: "button", class: "small", click: () => pick(b.index)}, `Show sample ${b.index}`)}]}),
      h("h2", {}, "A sample, side by side"), sample);
    sample.append(h("p", {class: "quiet"}, "Choose one above, or a point of a scatter plot."));
    if (index >= 0) sideBySide(sample, experiments, index, metric, signal).catch(trouble);
  }

  const drawn = Math.max(...all.map((items) => items.length)), total = Math.max(...experiments.map((e) => e.samples));
  root.replaceChildren(figures(experiments, metrics),
    bars("Means with 95% intervals", metrics, experiments.map((e) => ({label: label(e), values: metrics.map((m) => e.metrics[m]?.mean ?? null), intervals: metrics.map((m) => e.metrics[m]?.ci95)}))),
    exports("comparison", comparison, [["metric", "experiment", "model", "n", "mean", "low", "high"], ...experiments.flatMap((e) => metrics.filter((m) => e.metrics[m]).map((m) => [m, e.name, e.model, e.metrics[m].n, e.metrics[m].mean, ...(e.metrics[m].ci95 ?? [])]))], csv),
    h("h2", {}, "One metric"), drawn < total ? h("p", {class: "quiet"}, `Charts show the first ${plural(drawn, "sample")}; means and tests use all.`) : "", chosen);
  draw();
}
