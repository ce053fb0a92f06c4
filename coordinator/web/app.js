"use strict";
// The dashboard: asks the API every two seconds while the page is visible. Everything is set as text, never as HTML.

const REFRESH_MS = 2000;
const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token");

async function ask(path, options = {}) {
  const headers = token ? {Authorization: "Bearer " + token} : {};
  const answer = await fetch("/api/v1" + path, {...options, headers});
  if (answer.status === 401) throw Object.assign(new Error("a token is needed"), {login: true});
  if (answer.status === 204) return null;
  const body = await answer.json();
  if (!answer.ok) throw new Error(typeof body.detail === "string" ? body.detail : answer.statusText);
  return body;
}

function cell(content, className) {
  const td = document.createElement("td");
  if (className) td.className = className;
  td.append(content ?? "");
  return td;
}

function row(cells) {
  const tr = document.createElement("tr");
  tr.append(...cells);
  return tr;
}

function button(text, label, act) {
  const element = document.createElement("button");
  element.textContent = text;
  element.setAttribute("aria-label", label);
  element.addEventListener("click", async () => {
    element.disabled = true;
    try { await act(); } catch (error) { show(error); }
    element.disabled = false;
  });
  return element;
}

function progressCell(experiment) {
  const {total, done, failed, samples_per_s, waiting} = experiment.progress;
  const box = document.createElement("span");
  const bar = document.createElement("progress");
  bar.max = Math.max(total, 1);
  bar.value = done;
  bar.setAttribute("aria-label", `${done} of ${total} samples`);
  let text = ` ${done}/${total}`;
  if (failed) text += `, ${failed} failed`;
  if (samples_per_s) text += `, ${samples_per_s.toFixed(1)}/s`;
  box.append(bar, text);
  if (waiting && experiment.status !== "succeeded") {
    const why = document.createElement("div");
    why.className = "quiet";
    why.textContent = waiting;
    box.append(why);
  }
  return cell(box);
}

function statusCell(experiment) {
  const box = document.createElement("span");
  box.className = experiment.status === "failed" ? "bad" : experiment.status === "succeeded" ? "good" : "";
  box.textContent = experiment.status;
  if (experiment.message) {
    const why = document.createElement("div");
    why.textContent = experiment.message;
    box.append(why);
  }
  return cell(box);
}

function scores(means) {
  return Object.entries(means).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ");
}

function seconds(experiment) {
  if (!experiment.started_at) return "";
  const end = experiment.finished_at ? new Date(experiment.finished_at) : new Date();
  return ((end - new Date(experiment.started_at)) / 1000).toFixed(1);
}

function actionCell(experiment) {
  if (experiment.status === "succeeded")
    return cell(button("Open", `Open the result of ${experiment.name}`, async () => {
      const {download_url} = await ask(`/experiments/${experiment.id}/result/download`);
      location.assign(new URL(download_url).pathname + new URL(download_url).search);
    }));
  if (experiment.status === "failed") return cell("");
  return cell(button("Cancel", `Cancel ${experiment.name}`, () => ask(`/experiments/${experiment.id}/cancel`, {method: "POST"}).then(refresh)));
}

function showExperiments(listing) {
  const rows = byId("experiment-rows");
  // A control that has the focus gets it back: replacing its row must not throw a keyboard user out.
  const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  rows.replaceChildren(...listing.items.map((experiment) => row([
    cell(experiment.name), cell(experiment.model), statusCell(experiment), progressCell(experiment),
    cell(scores(experiment.means)), cell(seconds(experiment), "number"), actionCell(experiment)])));
  if (focused) [...rows.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focused)?.focus();
  byId("no-experiments").hidden = listing.total > 0;
}

function showWorkers(listing) {
  byId("worker-rows").replaceChildren(...listing.items.map((worker) => row([
    cell(`${worker.host} (${worker.pid})`), cell(worker.reason ? `${worker.state}: ${worker.reason}` : worker.state),
    cell(worker.devices.map((d) => `${d.name}: ${d.description}`).join("; ")), cell(`${worker.tasks}/${worker.slots}`, "number"),
    cell(worker.samples_per_s.toFixed(1), "number"), cell(worker.resident_models.join(", "))])));
  byId("no-workers").hidden = listing.total > 0;
}

const plural = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;

function showStatus(status) {
  byId("cluster").textContent = `${plural(status.workers, "worker")}, ${plural(status.slots, "slot")}, ${plural(status.jobs, "job")}, ` +
    `${plural(status.samples_remaining, "sample")} waiting, database ${status.database}, version ${status.version}`;
}

function show(error) {
  byId("trouble").textContent = error.login ? "" : `The coordinator says: ${error.message}`;
  byId("trouble").hidden = Boolean(error.login);
  byId("login").hidden = !error.login;
}

async function refresh() {
  try {
    const [status, experiments, workers] = await Promise.all([ask("/cluster/status"), ask("/experiments?limit=50"), ask("/cluster/workers")]);
    showStatus(status);
    showExperiments(experiments);
    showWorkers(workers);
    byId("trouble").hidden = byId("login").hidden = true;
  } catch (error) {
    show(error);
  }
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  sessionStorage.setItem("token", token);
  refresh();
});

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, REFRESH_MS);
}
loop();
