// Looking at samples: input, ground truth and what a model made of it, in any order.
import {ask} from "./api.js";
import {count, csv, field, h, number, pager, plural, save, select, table, trouble} from "./dom.js";

const PAGE = 20;
const WORDS = /[\p{L}\p{N}]+/gu;

/** The prediction with the words marked that the ground truth has too. */
function marked(prediction, reference) {
  if (prediction === null) return h("span", {class: "quiet"}, "none");
  const known = new Set((reference ?? "").toLowerCase().match(WORDS) ?? []), parts = [];
  let at = 0;
  for (const word of prediction.matchAll(WORDS)) {
    if (!known.has(word[0].toLowerCase())) continue;
    parts.push(prediction.slice(at, word.index), h("mark", {}, word[0]));
    at = word.index + word[0].length;
  }
  return h("span", {}, parts, prediction.slice(at));
}

/** A named text of a sample; `note` stands beside the name. */
export const part = (name, content, note) => h("section", {}, h("h3", {}, name, note && h("span", {class: "quiet"}, " " + note)), h("div", {class: "text whole", tabindex: "0"}, content));

/** What a model made of a sample: its text with what it shares, or why there is none. */
export const made = (sample) => sample.error ? h("span", {class: "bad"}, sample.error) : marked(sample.prediction, sample.ground_truth);

export function sampleBody(sample) {
  return h("div", {class: "sample"}, part("Input", sample.examples ?? "deleted"), part("Ground truth", sample.ground_truth ?? "none"),
    part("Prediction", made(sample)),
    h("p", {class: "quiet"}, `${count(sample.prompt_tokens)} tokens in${sample.truncated ? " (cut to what the model takes)" : ""}, ${count(sample.new_tokens)} out, ` +
      `${number(sample.seconds, 2)} s, ended by ${sample.finish_reason ?? "an error"}`));
}

/** A page of a job's samples with order and search in the address. Returns {reload(keys)}. */
export function sampleViewer({root, job, keys, query, remember, signal}) {
  const controls = h("form", {class: "controls", role: "search", submit: (event) => event.preventDefault()}), list = h("div");
  root.replaceChildren(controls, list);
  const at = () => ({order: query.get("order") ?? "", down: query.get("down") === "1", search: query.get("search") ?? "", skip: Number(query.get("skip") ?? 0)});
  const path = ({order, down, search}, skip, limit) => `/jobs/${job}/samples?skip=${skip}&limit=${limit}&descending=${down}` +
    (order ? `&order_by=${encodeURIComponent(order)}` : "") + (search ? `&search=${encodeURIComponent(search)}` : "");
  function change(changes) { remember({skip: null, ...changes}); load().catch(trouble); }

  function drawControls() {
    const {order, down, search} = at();
    const searching = h("input", {type: "search", value: search, change: () => change({search: searching.value || null})});
    controls.replaceChildren(
      field("Order by", select([["", "dataset's order"], ...keys.map((key) => [key, key])], order, (value) => change({order: value || null}))),
      field("Direction", select([["0", "lowest first"], ["1", "highest first"]], down ? "1" : "0", (value) => change({down: value === "1" ? "1" : null}))),
      field("Search the texts", searching),
      h("button", {type: "button", class: "small", click: () => exportPage().catch(trouble)}, "Export this view as CSV"));
  }

  async function exportPage() {
    const rows = [["index", "examples", "ground_truth", "prediction", ...keys, "error"]];
    for (let skip = 0, total = 1; skip < total && skip < 100000; skip += 500) {
      const listing = await ask(path(at(), skip, 500), {signal});
      total = listing.total;
      for (const s of listing.items) rows.push([s.index, s.examples, s.ground_truth, s.prediction, ...keys.map((key) => s.scores[key]), s.error]);
    }
    save(`samples-${job}.csv`, "text/csv", csv(rows));
  }

  async function load() {
    const here = at();
    const listing = await ask(path(here, here.skip, PAGE), {signal});
    const shown = keys.slice(0, 5);
    const excerpt = (s) => s.error ? h("span", {class: "bad"}, s.error) : (s.prediction ?? "").slice(0, 140);
    list.replaceChildren(table({caption: `${plural(listing.total, "sample")}; open one to read it`, rows: listing.items, empty: here.search ? "No sample has that." : "There is no result yet.", columns: [
      {title: "#", number: true, cell: (s) => count(s.index)},
      {title: "Sample", cell: (s) => {
        const details = h("details", {}, h("summary", {}, excerpt(s) || h("span", {class: "quiet"}, "an empty text")));
        details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(sampleBody(s)); });
        return details;
      }},
      ...shown.map((key) => ({title: key, number: true, cell: (s) => number(s.scores[key])}))]}),
    pager(listing.total, here.skip, PAGE, (to) => { remember({skip: to || null}); load().catch(trouble); }));
  }

  drawControls();
  load().catch(trouble);
  return {reload(newKeys) { keys = newKeys; drawControls(); return load(); }};
}
