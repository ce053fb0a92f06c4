// Datasets: upload, a look inside, how long the texts are.
import {ask, download, upload} from "./api.js";
import {button, bytes, count, h, pager, plural, say, sure, table, trouble, when} from "./dom.js";
import {histogram} from "./charts.js";

const PAGE = 50, SAMPLES = 10;

const COLUMNS = (reload) => [
  {title: "Name", cell: (d) => h("a", {href: `#/datasets/${d.id}`}, d.filename)},
  {title: "Size", number: true, cell: (d) => bytes(d.size)},
  {title: "Ground truth", cell: (d) => d.ground_truth ? "yes" : "no"},
  {title: "Made by", cell: (d) => d.generated_by ?? (d.generated ? "a model" : "upload")},
  {title: "Uploaded", cell: (d) => when(d.created_at)},
  {title: "Actions", hidden: true, cell: (d) => h("span", {class: "actions"},
    h("a", {href: `#/experiments/new?dataset=${d.id}`}, "Try models"),
    button("Download", () => download(`/datasets/${d.id}/download`), {"aria-label": `Download ${d.filename}`}),
    sure("Delete", async () => { await ask(`/datasets/${d.id}`, {method: "DELETE"}); await reload(); }, `Delete ${d.filename}?`))},
];

function dropZone(done) {
  const bar = h("progress", {max: 1, value: 0, hidden: true, "aria-label": "upload"});
  const input = h("input", {type: "file", id: "dataset-file", accept: ".csv,.jsonl,text/csv", class: "hidden", change: () => take(input.files)});
  const zone = h("div", {class: "drop"}, h("label", {for: "dataset-file", class: "button"}, "Choose a file"), input,
    " or drop one here: CSV or JSON lines with a column ", h("code", {}, "examples"), " and, to be scored, ", h("code", {}, "ground_truth"), ". ", bar);
  async function take(files) {
    for (const file of files) {
      bar.hidden = false;
      try {
        const made = await upload(file, (share) => { bar.value = share; });
        say(`${file.name} is stored.`);
        await done(made);
      } catch (error) { trouble(new Error(`${file.name}: ${error.message}`)); }
      bar.hidden = true;
    }
    input.value = "";
  }
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); take(event.dataTransfer.files); });
  return zone;
}

export async function showDatasets({root, query, remember, signal}) {
  const list = h("div");
  async function load() {
    const skip = Number(query.get("skip") ?? 0);
    const listing = await ask(`/datasets?skip=${skip}&limit=${PAGE}`, {signal});
    list.replaceChildren(table({caption: "The newest first", columns: COLUMNS(load), rows: listing.items, empty: "There is none yet: drop a file above."}),
      pager(listing.total, skip, PAGE, (to) => { remember({skip: to || null}); load().catch(trouble); }));
  }
  root.append(dropZone(load), list);
  await load();
}

function summary(name, s) {
  return h("p", {}, h("strong", {}, name), `: ${plural(s.count, "text")}, ${count(s.min)} to ${count(s.max)} bytes, median ${count(s.median)}, 95% up to ${count(s.p95)}`);
}

export async function showDataset({root, id, query, remember, signal, title}) {
  const dataset = await ask(`/datasets/${id}`, {signal});
  title(dataset.filename);
  const lengths = h("div", {}, h("p", {class: "quiet"}, "measuring …")), preview = h("div");
  root.append(h("p", {class: "actions"}, `${bytes(dataset.size)}, uploaded ${when(dataset.created_at)} `,
    button("Download", () => download(`/datasets/${id}/download`)), h("a", {href: `#/experiments/new?dataset=${id}`}, "Try models on it"),
    sure("Delete", async () => { await ask(`/datasets/${id}`, {method: "DELETE"}); location.hash = "#/datasets"; }, `Delete ${dataset.filename}?`)),
  h("h2", {}, "Lengths"), lengths, h("h2", {}, "Samples"), preview);
  async function load() {
    const skip = Number(query.get("skip") ?? 0);
    const listing = await ask(`/datasets/${id}/samples?skip=${skip}&limit=${SAMPLES}`, {signal});
    const text = (value) => value === null ? h("span", {class: "quiet"}, "none") : h("div", {class: "text", tabindex: "0"}, value);
    preview.replaceChildren(table({caption: plural(listing.total, "sample"), rows: listing.items, empty: "It has no samples.", columns: [
      {title: "#", number: true, cell: (s) => count(s.index)}, {title: "Example", cell: (s) => text(s.examples)},
      ...(dataset.ground_truth ? [{title: "Ground truth", cell: (s) => text(s.ground_truth)}] : [])]}),
    pager(listing.total, skip, SAMPLES, (to) => { remember({skip: to || null}); load().catch(trouble); }));
  }
  await load();
  const statistics = await ask(`/datasets/${id}/statistics`, {signal});
  const names = {examples: "Examples", ground_truth: "Ground truth"};
  lengths.replaceChildren(...Object.entries(names).filter(([key]) => statistics[key]).map(([key, name]) => summary(name, statistics[key])),
    h("div", {class: "charts"}, Object.entries(names).filter(([key]) => statistics[key]).map(([key, name]) => histogram(`Length of ${name.toLowerCase()}`, statistics[key], "bytes"))));
}
