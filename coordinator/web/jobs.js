// Jobs of every kind, and one job's log as it grows.
import {ask, download} from "./api.js";
import {button, h, lastPart, pager, save, select, status, sure, table, trouble, when} from "./dom.js";

const PAGE = 50, KINDS = ["", "experiment", "inference", "annotate", "evaluator"];

export async function showJobs({root, query, remember, every}) {
  const list = h("div"), kind = select(KINDS.map((k) => [k, k || "every kind"]), query.get("kind") ?? "", (value) => { remember({kind: value || null, skip: null}); load().catch(trouble); });
  kind.setAttribute("aria-label", "kind of job");
  root.append(h("p", {class: "actions"}, kind), list);
  async function load() {
    const skip = Number(query.get("skip") ?? 0), type = query.get("kind");
    const listing = await ask(`/jobs?skip=${skip}&limit=${PAGE}${type ? `&job_types=${type}` : ""}`);
    if (list.contains(document.activeElement)) return;
    list.replaceChildren(table({caption: "The newest first", rows: listing.items, columns: [
      {title: "Name", cell: (j) => h("a", {href: `#/jobs/${j.id}`}, j.name || j.id)}, {title: "Kind", cell: (j) => j.job_type},
      {title: "Status", cell: (j) => status(j.status)}, {title: "Submitted", cell: (j) => when(j.created_at)}]}),
    pager(listing.total, skip, PAGE, (to) => { remember({skip: to || null}); load().catch(trouble); }));
  }
  await every(3000, load);
}

export async function showJob({root, id, title, every}) {
  const about = h("dl", {class: "facts"}), actions = h("p", {class: "actions"}), log = h("pre", {tabindex: "0", "aria-label": "log"});
  root.append(about, actions, h("h2", {}, "Log"), h("p", {}, h("button", {type: "button", class: "small", click: () => save(`${id}.log`, "text/plain", log.textContent)}, "Save the log")), log);
  await every(2000, async () => {
    const [job, {logs}] = await Promise.all([ask(`/jobs/${id}`), ask(`/jobs/${id}/logs`)]);
    title(job.name || "Job");
    const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    about.replaceChildren(fact("Kind", job.job_type ?? job.type), fact("Status", status(job.status)), fact("Model", lastPart(job.metadata?.model ?? job.model)), fact("Submitted", when(job.created_at)),
      fact("Message", job.message || "–"));
    const done = ["succeeded", "failed", "stopped"].includes(job.status);
    if (!actions.contains(document.activeElement))
      actions.replaceChildren(job.status === "succeeded" ? button("Result document", () => download(`/jobs/${id}/result/download`)) : "",
        done ? "" : sure("Cancel", () => ask(`/jobs/${id}/cancel`, {method: "POST"}), "Stop this job?"));
    const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    if (log.textContent !== logs) log.textContent = logs || "Nothing has been logged.";
    if (end) log.scrollTop = log.scrollHeight;
  });
}
