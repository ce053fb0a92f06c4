// Secrets and tokens. Values go in and never come out.
import {ask} from "./api.js";
import {button, field, h, say, select, sure, table, trouble, when} from "./dom.js";

function secrets(root) {
  const list = h("div"), name = h("input", {required: true}), value = h("input", {type: "password", maxlength: 1024, autocomplete: "off"}), about = h("input");
  name.id = "secret-name"; value.id = "secret-value"; about.id = "secret-description";
  async function load() {
    const answer = await ask("/settings/secrets");
    list.replaceChildren(table({caption: "Keys of hosted models", rows: answer.items ?? answer, empty: "No secret is stored.", columns: [
      {title: "Name", cell: (s) => s.name}, {title: "Description", cell: (s) => s.description},
      {title: "Actions", hidden: true, cell: (s) => sure("Delete", async () => { await ask(`/settings/secrets/${encodeURIComponent(s.name)}`, {method: "DELETE"}); await load(); }, `Delete ${s.name}?`)}]}));
  }
  root.append(h("h2", {}, "Secrets"), list, h("form", {class: "form", submit: (event) => event.preventDefault()}, field("Name of the secret", name), field("Value", value, "sealed before it is stored; never shown again"), field("Description", about),
    h("p", {}, button("Store", async () => {
      await ask(`/settings/secrets/${encodeURIComponent(name.value.trim())}`, {method: "PUT", body: {value: value.value, description: about.value}});
      value.value = "";
      say("The secret is stored.");
      await load();
    }))));
  return load();
}

function tokens(root) {
  const list = h("div"), name = h("input"), role = select([["viewer", "viewer: reads"], ["user", "user: uploads and runs"], ["admin", "admin: everything"]], "user"), made = h("p", {role: "status"});
  name.id = "token-name"; role.id = "token-role";
  async function load() {
    const listing = await ask("/auth/tokens");
    list.replaceChildren(table({caption: "Who may call the API", rows: listing.items, empty: "There is no token.", columns: [
      {title: "Name", cell: (t) => t.name}, {title: "Role", cell: (t) => t.role}, {title: "Made", cell: (t) => when(t.created_at)}, {title: "Last used", cell: (t) => when(t.used_at)},
      {title: "Actions", hidden: true, cell: (t) => sure("Revoke", async () => { await ask(`/auth/tokens/${t.id}`, {method: "DELETE"}); await load(); }, `Revoke ${t.name}?`)}]}));
  }
  root.append(h("h2", {}, "Tokens"), list, h("form", {class: "form", submit: (event) => event.preventDefault()}, field("Name of the token", name), field("Role", role),
    h("p", {}, button("Make a token", async () => {
      const token = await ask("/auth/tokens", {body: {name: name.value.trim(), role: role.value}});
      made.replaceChildren("Copy it now, it is not shown again: ", h("code", {}, token.token));
      await load();
    })), made));
  return load();
}

export async function showSettings({root}) {
  for (const part of [secrets, tokens]) {
    const section = h("section");
    root.append(section);
    await part(section).catch((error) => section.append(h("p", {class: "quiet"}, error.status === 403 ? "An admin's token is needed for this." : error.message)) || (error.status === 401 && trouble(error)));
  }
}
