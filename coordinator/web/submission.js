// A new experiment: one dataset, several models, each an experiment of its own that can be compared.
import {ask} from "./api.js";
import {button, duration, field, h, lastPart, plural, select, trouble} from "./dom.js";

const USUAL = ["rouge", "meteor"];

/** What a dataset would take with models that have run before: their time a sample, times the samples. */
function estimate(past, models, samples) {
  const known = models.map((model) => past.find((e) => e.model === model && e.status === "succeeded" && e.progress.total));
  if (!models.length || !samples) return "";
  const seconds = known.filter(Boolean).map((e) => (new Date(e.finished_at) - new Date(e.started_at)) / 1000 / e.progress.total * samples);
  if (!seconds.length) return "How long it takes is not known: none of these models has run here yet.";
  const rest = models.length - seconds.length;
  return `About ${duration(seconds.reduce((sum, s) => sum + s, 0))} by what these models took before${rest ? `, and ${plural(rest, "model")} that never ran here` : ""}.`;
}

function suggestion(model) {
  const reference = model.provider === "hf" ? `hf://${model.model}` : model.provider === "openai" ? `oai://${model.model}` : model.provider === "mistral" ? `mistral://${model.model}` : model.model;
  return h("label", {class: "choice"}, h("input", {type: "checkbox", name: "model", value: reference}), h("span", {}, model.display_name,
    h("span", {class: "quiet"}, ` ${reference}${model.info?.model_size ? `, ${model.info.model_size}` : ""}${model.requirements.length ? `, needs ${model.requirements.join(", ")}` : ""}`)));
}

export async function showNewExperiment({root, query, signal}) {
  const [datasets, models, workers, past] = await Promise.all([ask("/datasets?limit=1000", {signal}), ask("/models", {signal}),
    ask("/cluster/workers", {signal}), ask("/experiments?limit=200", {signal})]);
  if (!datasets.total) return root.append(h("p", {}, "Upload a dataset first: ", h("a", {href: "#/datasets"}, "Datasets"), "."));
  const metrics = [...new Set(workers.items.flatMap((w) => w.metrics))];
  const chosen = query.get("dataset") ?? datasets.items[0].id;
  const dataset = select(datasets.items.map((d) => [d.id, `${d.filename} (${d.ground_truth ? "with" : "without"} ground truth)`]), chosen, () => guess());
  const name = h("input", {value: "comparison", required: true, maxlength: 200});
  const more = h("textarea", {rows: 3, spellcheck: "false", placeholder: "hf://org/name, file:///folder, gguf:///file.gguf, oai://name, http://server/v1"});
  const most = h("input", {type: "number", min: 1, placeholder: "all"});
  const prompt = h("textarea", {rows: 2}), settings = h("textarea", {rows: 3, spellcheck: "false", placeholder: '{"num_beams": 4, "max_new_tokens": 128}'});
  const hint = h("p", {class: "quiet", role: "status"});
  const form = h("form", {class: "form"});
  const picked = () => [...new Set([...form.querySelectorAll("input[name=model]:checked")].map((box) => box.value).concat(more.value.split(/[\s,]+/).filter(Boolean)))];
  async function guess() {
    const limit = Number(most.value) || Infinity;
    const total = (await ask(`/datasets/${dataset.value}/samples?limit=0`, {signal})).total;
    hint.textContent = `${plural(Math.min(total, limit), "sample")}. ${estimate(past.items, picked(), Math.min(total, limit))}`;
  }
  async function submit() {
    const generation = settings.value.trim() ? JSON.parse(settings.value) : undefined;
    const wanted = [...form.querySelectorAll("input[name=metric]:checked")].map((box) => box.value), ids = [];
    if (!picked().length) throw new Error("Choose at least one model.");
    for (const model of picked()) {
      const body = {name: `${name.value.trim()} (${lastPart(model)})`, description: "", model, dataset: dataset.value, max_samples: Number(most.value) || -1};
      if (wanted.length) body.metrics = wanted;
      if (prompt.value.trim()) body.system_prompt = prompt.value;
      if (generation) body.generation_config = generation;
      try { ids.push((await ask("/experiments", {body})).id); } catch (error) { throw new Error(`${model}: ${error.message}${ids.length ? `; ${plural(ids.length, "model")} before it run` : ""}`); }
    }
    location.hash = ids.length === 1 ? `#/experiments/${ids[0]}` : "#/experiments";
  }
  const group = (legend, children) => h("fieldset", {}, h("legend", {}, legend), children);
  form.append(field("Name", name), field("Dataset", dataset),
    group("Models", [models.items.map(suggestion), field("More models, one a line", more)]),
    group("Metrics", metrics.length ? metrics.map((m) => h("label", {class: "choice inline"}, h("input", {type: "checkbox", name: "metric", value: m, checked: USUAL.includes(m)}), m)) : h("p", {class: "quiet"}, "No worker is connected: the usual ones are taken.")),
    h("details", {}, h("summary", {}, "Settings"), h("div", {}, field("At most so many samples", most), field("System prompt", prompt, "for chat models; without it they are asked for a summary of two sentences"),
      field("Generation settings, JSON", settings, "without them the model's own"))),
    hint, h("p", {}, button("Run", () => submit().catch((error) => trouble(error instanceof SyntaxError ? new Error(`Generation settings: ${error.message}`) : error)))));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => guess().catch(trouble));
  root.append(form);
  await guess();
}
