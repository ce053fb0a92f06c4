// The frame: which view an address names, and what lives as long as it is shown.
import {setToken} from "./api.js";
import {byId, h, say, trouble} from "./dom.js";
import {showCluster} from "./cluster.js";
import {showDataset, showDatasets} from "./datasets.js";
import {showDeployments} from "./deployments.js";
import {showComparison} from "./comparison.js";
import {showExperiment, showExperiments} from "./experiments.js";
import {showJob, showJobs} from "./jobs.js";
import {showNewExperiment} from "./submission.js";
import {showSettings} from "./settings.js";

const VIEWS = [
  [/^\/?$/, "Experiments", showExperiments],
  [/^\/experiments$/, "Experiments", showExperiments],
  [/^\/experiments\/new$/, "New experiment", showNewExperiment],
  [/^\/experiments\/compare$/, "Comparison", showComparison],
  [/^\/experiments\/([0-9a-f-]+)$/, "Experiment", showExperiment],
  [/^\/datasets$/, "Datasets", showDatasets],
  [/^\/datasets\/([0-9a-f-]+)$/, "Dataset", showDataset],
  [/^\/jobs$/, "Jobs", showJobs],
  [/^\/jobs\/([0-9a-f-]+)$/, "Job", showJob],
  [/^\/deployments$/, "Deployments", showDeployments],
  [/^\/cluster$/, "Cluster", showCluster],
  [/^\/settings$/, "Settings", showSettings],
];

let leaving = new AbortController();

/** What a view gets: its place in the page, the address's parts, and a signal for when it is left. */
function open(view, title, match, query, keepFocus) {
  leaving.abort();
  leaving = new AbortController();
  const root = byId("view"), signal = leaving.signal;
  const heading = h("h1", {}, title), body = h("div");
  root.replaceChildren(heading, body);
  document.title = `${title} · Lumigrid`;
  if (!keepFocus) root.focus({preventScroll: true});
  const context = {
    root: body, signal, query, id: match[1],
    title(text) { heading.textContent = text; document.title = `${text} · Lumigrid`; },
    /** Changes the address's query without a step in the history; the view redraws itself. */
    remember(changes) {
      for (const [name, value] of Object.entries(changes))
        if (value === null || value === "") query.delete(name); else query.set(name, value);
      const [path] = location.hash.slice(1).split("?");
      history.replaceState(null, "", `#${path}${query.size ? "?" + query : ""}`);
    },
    /** Runs `work` now and every `ms` while the view and the page are seen. */
    async every(ms, work) {
      while (!signal.aborted) {
        try { if (!document.hidden) { await work(); trouble(null); } } catch (error) { if (!signal.aborted) trouble(error); }
        await new Promise((resolve) => setTimeout(resolve, ms));
      }
    },
  };
  Promise.resolve(view(context)).catch((error) => { if (!signal.aborted) trouble(error); });
}

function route(keepFocus = false) {
  const hash = location.hash.slice(1) || "/";
  if (!hash.startsWith("/")) return; // "#view", the skip link
  const [path, search] = hash.split("?");
  trouble(null);
  say("");
  for (const link of document.querySelectorAll("#navigation a")) {
    const here = path !== "/" ? path.startsWith(link.hash.slice(1)) && link.hash !== "" : link.hash === "#/experiments";
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  for (const [pattern, title, view] of VIEWS) {
    const match = pattern.exec(path);
    if (match) return open(view, title, match, new URLSearchParams(search ?? ""), keepFocus);
  }
  open(({root}) => root.append(h("p", {}, "There is no such page. ", h("a", {href: "#/"}, "To the experiments"))), "Not found", [], new URLSearchParams(), keepFocus);
}

byId("login").addEventListener("close", () => {
  const value = byId("token").value.trim();
  if (value) { setToken(value); route(); }
});
addEventListener("hashchange", () => route());
route(true);
