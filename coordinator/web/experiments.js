// The list of experiments, and one experiment: progress as it goes, scores, samples.
import {ask, download, listen} from "./api.js";
import {button, duration, h, lastPart, number, pager, progress, scores, status, sure, table, trouble, when} from "./dom.js";
import {sampleViewer} from "./samples.js";

const PAGE = 50;

const seconds = (e) => e.started_at ? ((e.finished_at ? new Date(e.finished_at) : new Date()) - new Date(e.started_at)) / 1000 : NaN;
const running = (e) => !["succeeded", "failed", "stopped"].includes(e.status);
const meansOf = (means) => h("span", {}, scores(means).map(([name, value]) => h("span", {class: "score"}, `${name} ${number(value)}`)));

function statusCell(e) {
  return h("span", {}, status(e.status), e.message && h("div", {class: e.status === "failed" ? "bad" : "quiet"}, e.message));
}

/** Experiments of the second API hold workflows, one for each model: a row for each. */
function flatten(items) {
  return items.flatMap((e) => e.workflows?.length ? e.workflows.map((w) => ({...w, name: `${e.name}: ${w.name}`, workflow: true})) : [e]);
}

export async function showExperiments({root, query, remember, every}) {
  const chosen = new Set(), list = h("div");
  const compare = h("button", {type: "button", disabled: true, click: () => { location.hash = `#/experiments/compare?ids=${[...chosen].join(",")}`; }}, "Compare the chosen");
  root.append(h("p", {class: "actions"}, h("a", {href: "#/experiments/new", class: "button"}, "New experiment"), compare), list);
  const update = () => { compare.disabled = chosen.size < 1; };
  const columns = [
    {title: "Choose", hidden: true, cell: (e) => e.progress && h("input", {type: "checkbox", id: `choose-${e.id}`, checked: chosen.has(e.id), "aria-label": `choose ${e.name} for a comparison`,
      change: (event) => { if (event.target.checked) chosen.add(e.id); else chosen.delete(e.id); update(); }})},
    {title: "Name", cell: (e) => e.progress ? h("a", {href: `#/experiments/${e.id}`}, e.name) : e.name},
    {title: "Model", cell: (e) => h("span", {title: e.model}, lastPart(e.model))},
    {title: "Status", cell: statusCell},
    {title: "Progress", cell: (e) => e.progress && progress(e.progress)},
    {title: "Scores", cell: (e) => meansOf(e.means)},
    {title: "Time", number: true, cell: (e) => duration(seconds(e))},
    {title: "Submitted", cell: (e) => when(e.created_at)},
  ];
  await every(2000, async () => {
    const skip = Number(query.get("skip") ?? 0);
    const listing = await ask(`/experiments?skip=${skip}&limit=${PAGE}`);
    const focused = list.contains(document.activeElement) ? document.activeElement.id : null;
    list.replaceChildren(table({caption: "The newest first; scores are means over the samples", columns, rows: flatten(listing.items),
      empty: "There is none yet. Upload a dataset, then try models on it."}),
    pager(listing.total, skip, PAGE, (to) => { remember({skip: to || null}); location.reload(); }));
    if (focused) document.getElementById(focused)?.focus();
  });
}

function facts(e) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return [fact("Model", e.model ?? "–"), fact("Dataset", h("a", {href: `#/datasets/${e.dataset}`}, e.dataset)), fact("Status", statusCell(e)),
    fact("Progress", progress(e.progress)), fact("Time", duration(seconds(e))), fact("Submitted", when(e.created_at))];
}

export async function showExperiment({root, id, title, query, remember, signal}) {
  let experiment = await ask(`/experiments/${id}`, {signal});
  title(experiment.name);
  const about = h("dl", {class: "facts", "aria-live": "polite"}), means = h("div"), actions = h("p", {class: "actions"}), samples = h("div");
  function draw() {
    about.replaceChildren(...facts(experiment));
    const rows = scores(experiment.means);
    means.replaceChildren(table({caption: running(experiment) ? "Means so far" : "Means", rows, empty: "There is no score yet.",
      columns: [{title: "Metric", cell: ([name]) => name}, {title: "Mean", number: true, cell: ([, value]) => number(value, 4)}]}));
    actions.replaceChildren(h("a", {href: `#/experiments/compare?ids=${id}`}, "Intervals and distributions"), h("a", {href: `#/jobs/${id}`}, "Log"),
      experiment.status === "succeeded" ? button("Result document", () => download(`/experiments/${id}/result/download`)) : "",
      running(experiment) ? sure("Cancel", () => ask(`/experiments/${id}/cancel`, {method: "POST"}), "Stop this experiment?") : "",
      sure("Delete", async () => { await ask(`/experiments/${id}`, {method: "DELETE"}); location.hash = "#/experiments"; }, "Delete it with its results?"));
  }
  root.append(about, actions, h("h2", {}, "Scores"), means, h("h2", {}, "Samples"), samples);
  draw();
  const viewer = sampleViewer({root: samples, job: id, keys: scores(experiment.means).map(([name]) => name), query, remember, signal});
  if (!running(experiment)) return;
  await listen(`/experiments/${id}/events`, signal, (name, data) => { experiment = {...experiment, ...data}; draw(); });
  experiment = await ask(`/experiments/${id}`, {signal});
  draw();
  await viewer.reload(scores(experiment.means).map(([name]) => name)).catch(trouble);
}
