// Models that are kept loaded, each with a box to try it.
import {ask} from "./api.js";
import {button, field, h, say, status, sure, table, trouble, when} from "./dom.js";

function tryBox(deployment) {
  const text = h("textarea", {rows: 6}), answer = h("div", {class: "text whole", role: "status"});
  return h("details", {}, h("summary", {}, `Try ${deployment.name}`), h("div", {}, field("Text", text),
    h("p", {}, button("Ask", async () => {
      const started = performance.now();
      const body = await ask(`/ground-truth/deployments/${deployment.id}`, {body: {text: text.value}});
      answer.textContent = body.deployment_response.result;
      say(`answered in ${((performance.now() - started) / 1000).toFixed(2)} s`);
    })), answer));
}

export async function showDeployments({root, signal}) {
  const list = h("div"), tries = h("div");
  const model = h("input", {placeholder: "the default model"}), replicas = h("input", {type: "number", min: 1, value: "1"});
  async function load() {
    const listing = await ask("/ground-truth/deployments", {signal});
    list.replaceChildren(table({caption: "Kept loaded on workers; answered before batch work", rows: listing.items, empty: "No model is deployed.", columns: [
      {title: "Name", cell: (d) => d.name}, {title: "Description", cell: (d) => d.description}, {title: "Status", cell: (d) => status(d.status)}, {title: "Since", cell: (d) => when(d.created_at)},
      {title: "Actions", hidden: true, cell: (d) => sure("Delete", async () => { await ask(`/ground-truth/deployments/${d.id}`, {method: "DELETE"}); await load(); }, `Unload ${d.name}?`)}]}));
    tries.replaceChildren(...listing.items.map(tryBox));
  }
  root.append(list, tries, h("h2", {}, "Deploy a model"), h("form", {class: "form", submit: (event) => event.preventDefault()}, field("Model", model), field("Replicas", replicas),
    h("p", {}, button("Deploy", async () => {
      await ask("/ground-truth/deployments", {body: {num_replicas: Number(replicas.value), ...(model.value.trim() ? {model: model.value.trim()} : {})}});
      await load();
    }))));
  await load().catch(trouble);
}
