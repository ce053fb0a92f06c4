"use strict";
// The API's page: everything on it is made from /openapi.json, and every request can be tried.

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function resolve(api, schema) {
  while (schema && schema.$ref) schema = api.components.schemas[schema.$ref.split("/").pop()];
  return schema;
}

// A small value that fits the schema, to start from.
function example(api, schema, depth = 0) {
  schema = resolve(api, schema);
  if (!schema || depth > 6) return null;
  if (schema.examples) return schema.examples[0];
  if ("default" in schema) return schema.default;
  if (schema.then) return example(api, schema.then, depth + 1);
  if (schema.anyOf) return example(api, schema.anyOf[0], depth + 1);
  if (schema.enum) return schema.enum[0];
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object") {
    const required = schema.required || [];
    return Object.fromEntries(Object.entries(schema.properties || {}).filter(([key]) => required.includes(key))
      .map(([key, value]) => [key, example(api, value, depth + 1)]));
  }
  return {array: [], integer: 0, number: 0, boolean: false, string: schema.format === "uuid" ? "00000000-0000-4000-8000-000000000000" : ""}[type] ?? null;
}

function schemaBlock(api, title, schema) {
  return element("details", {}, element("summary", {}, title), element("div", {}, element("pre", {}, JSON.stringify(resolve(api, schema), null, 1))));
}

function field(form, name, label, control) {
  const id = `${form.id}-${name}`;
  control.id = id;
  control.name = name;
  form.append(element("label", {for: id}, label), control);
}

function fillForm(api, form, operation) {
  for (const parameter of operation.parameters)
    field(form, parameter.name, `${parameter.name} (${parameter.in}${parameter.required ? "" : ", optional"}) ${parameter.description || ""}`, element("input"));
  const body = operation.requestBody?.content;
  if (body?.["application/json"]) {
    const text = element("textarea", {spellcheck: "false"});
    text.value = JSON.stringify(example(api, body["application/json"].schema), null, 2);
    field(form, "body", "body", text);
  } else if (body) {
    for (const [name, schema] of Object.entries(resolve(api, body["multipart/form-data"].schema).properties))
      field(form, "form:" + name, name, element("input", schema.format === "binary" ? {type: "file"} : {}));
  }
  form.append(element("p", {}, element("button", {}, "Send")));
}

async function send(path, method, operation, form, output) {
  const options = {method: method.toUpperCase(), headers: {}};
  const query = new URLSearchParams();
  if (byId("token").value) options.headers.Authorization = "Bearer " + byId("token").value.trim();
  for (const {name, in: place} of operation.parameters) {
    const value = form.elements[name].value;
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value) query.set(name, value);
  }
  const parts = [...form.elements].filter((input) => input.name.startsWith("form:"));
  if (parts.length) {
    options.body = new FormData();
    for (const input of parts) {
      const value = input.type === "file" ? input.files[0] : input.value;
      if (value) options.body.append(input.name.slice(5), value);
    }
  } else if (form.elements.body) {
    options.body = form.elements.body.value;
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path + (query.size ? "?" + query : ""), options);
  const text = answer.headers.get("Content-Type")?.startsWith("text/event-stream") ? "(a stream of events)" : await answer.text();
  let shown = text.slice(0, 20000);
  try { shown = JSON.stringify(JSON.parse(text), null, 2).slice(0, 20000); } catch { /* no JSON: as it is */ }
  output.textContent = `${answer.status} ${answer.statusText}\n${shown}`;
}

function operationBlock(api, path, method, operation) {
  const form = element("form", {id: operation.operationId});
  const output = element("pre", {role: "status"}, "(not sent yet)");
  fillForm(api, form, operation);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    output.textContent = "…";
    try { await send(path, method, operation, form, output); } catch (error) { output.textContent = String(error); }
  });
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const media = Object.entries(answer.content || {})[0];
    const title = `${status}: ${answer.description}${media ? ` (${media[0]})` : ""}`;
    return media ? schemaBlock(api, title, media[1].schema) : element("p", {}, title);
  });
  return element("details", {}, element("summary", {}, element("span", {class: "method"}, method.toUpperCase()), element("code", {}, path), " " + operation.summary),
    element("div", {}, form, output, element("h3", {}, "Answers"), ...answers));
}

async function start() {
  const api = await (await fetch("/openapi.json")).json();
  byId("about").textContent = `${api.info.description} Version ${api.info.version}, OpenAPI ${api.openapi}.`;
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationBlock(api, path, method, operation));
    }
  byId("operations").replaceChildren(...[...groups].flatMap(([tag, blocks]) => [element("h2", {}, tag), ...blocks]));
}
start().catch((error) => { byId("operations").textContent = `The description could not be read: ${error}`; });
