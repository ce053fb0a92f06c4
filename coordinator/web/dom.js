// Small pieces of page. Everything from outside is set as text, never as HTML.

/** An element: h("td", {class: "number"}, "5"). Functions are listeners, false and null attributes are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);
export const number = (value, digits = 3) => value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
export const count = (value) => value.toLocaleString("en");
export const plural = (value, thing) => `${count(value)} ${thing}${value === 1 ? "" : "s"}`;
export const when = (time) => time ? new Date(time).toLocaleString() : "–";
export const lastPart = (reference) => reference ? reference.replace(/\/+$/, "").split("/").pop() : "–";
export const scores = (means) => Object.entries(means ?? {}).filter(([, value]) => value !== null);

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit++; }
  return `${value.toFixed(unit && value < 100 ? 1 : 0)} ${units[unit]}`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** columns: [{title, number, hidden, cell(row)}]; a hidden title is for screen readers only. `empty` is said when there are no rows. */
export function table({caption, columns, rows, empty, id}) {
  if (!rows.length) return h("p", {class: "quiet"}, empty ?? "There is none yet.");
  return h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
    h("table", {id},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map((c) => h("th", {scope: "col", class: c.number && "number"}, h("span", {class: c.hidden && "hidden"}, c.title))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((c) => h("td", {class: c.number && "number"}, c.cell(row) ?? "")))))));
}

/** A button that is off while its action runs; what goes wrong is said. */
export function button(text, act, attributes = {}) {
  const element = h("button", {type: "button", ...attributes}, text);
  element.addEventListener("click", async () => {
    element.disabled = true;
    try { await act(); } catch (error) { trouble(error); }
    element.disabled = false;
  });
  return element;
}

export function sure(text, act, question) {
  return button(text, async () => { if (confirm(question)) await act(); }, {class: "danger"});
}

/** "1–20 of 64" with buttons. */
export function pager(total, skip, limit, go) {
  if (total <= limit && !skip) return h("p", {class: "quiet"}, plural(total, "row"));
  const last = Math.min(skip + limit, total);
  return h("p", {class: "pager"},
    h("button", {type: "button", disabled: skip === 0, click: () => go(Math.max(0, skip - limit))}, "← Back"),
    h("span", {}, `${count(Math.min(skip + 1, total))}–${count(last)} of ${count(total)}`),
    h("button", {type: "button", disabled: last >= total, click: () => go(skip + limit)}, "Next →"));
}

export function field(label, control, hint) {
  const id = control.id || `field-${label.replace(/\W+/g, "-").toLowerCase()}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h("div", {class: "field"}, h("label", {for: id}, label), control, hint && h("p", {id: `${id}-hint`, class: "quiet"}, hint));
}

export function select(options, chosen, change) {
  const control = h("select", {change: () => change?.(control.value)},
    options.map(([value, text]) => h("option", {value, selected: value === chosen}, text)));
  return control;
}

/** A status in words with a mark that does not rest on colour alone. */
export function status(state) {
  const marks = {succeeded: ["✓", "good"], online: ["✓", "good"], failed: ["✗", "bad"], lost: ["✗", "bad"], stopped: ["■", "quiet"], draining: ["◌", "quiet"]};
  const [mark, tone] = marks[state] ?? ["…", ""];
  return h("span", {class: tone}, h("span", {"aria-hidden": "true"}, mark + " "), state);
}

export function progress({total, done, failed, samples_per_s: rate, waiting}) {
  const left = rate > 0 ? `, ${duration((total - done) / rate)} left` : "";
  return h("span", {},
    h("progress", {max: Math.max(total, 1), value: done, "aria-label": `${done} of ${total} samples`}),
    ` ${count(done)}/${count(total)}`, failed ? `, ${count(failed)} failed` : "", rate ? `, ${rate.toFixed(1)}/s${left}` : "",
    waiting && h("div", {class: "quiet"}, waiting));
}

function notice(id, text) {
  const element = byId(id);
  element.textContent = text;
  element.hidden = !text;
}
/** Says what went wrong; a missing token opens the dialog. */
export function trouble(error) {
  if (error?.name === "AbortError") return;
  if (error?.status === 401) byId("login").showModal();
  else notice("trouble", error ? error.message : "");
}
export const say = (text) => notice("said", text);

/** Hands a file over to the browser. */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  h("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export function csv(rows) {
  const quoted = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  return rows.map((row) => row.map((value) => quoted(String(value ?? ""))).join(",")).join("\r\n") + "\r\n";
}
