// Talking to the coordinator. Errors carry what the API said, in one line.

let token = sessionStorage.getItem("token");

export function setToken(value) {
  token = value;
  sessionStorage.setItem("token", value);
}

function headers() {
  return token ? {Authorization: "Bearer " + token} : {};
}

/** `detail` of an error answer as one line: a text, or a list of bad fields. */
function detailOf(body, fallback) {
  if (typeof body?.detail === "string") return body.detail;
  if (Array.isArray(body?.detail)) return body.detail.map((one) => `${one.loc.slice(1).join(".")}: ${one.msg}`).join("; ");
  return fallback;
}

async function failure(answer) {
  const body = await answer.json().catch(() => null);
  return Object.assign(new Error(detailOf(body, answer.statusText || `status ${answer.status}`)), {status: answer.status});
}

/** JSON of an API path; `body` makes it a POST. */
export async function ask(path, {method, body, signal} = {}) {
  const answer = await fetch("/api/v1" + path, {
    method: method ?? (body === undefined ? "GET" : "POST"), headers: headers(), signal,
    body: body === undefined ? undefined : JSON.stringify(body)});
  if (!answer.ok) throw await failure(answer);
  return answer.status === 204 ? null : answer.json();
}

/** Server-sent events of a path until they end: `on(name, data)`. Fetched, since EventSource cannot send a token. */
export async function listen(path, signal, on) {
  const answer = await fetch("/api/v1" + path, {headers: headers(), signal});
  if (!answer.ok) throw await failure(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    buffer += part.value;
    const events = buffer.split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1], data = /^data: (.*)$/m.exec(event)?.[1];
      if (name && data) on(name, JSON.parse(data));
    }
  }
}

/** Uploads a dataset; `progress` gets a share from 0 to 1. */
export function upload(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(), form = new FormData();
    form.append("format", "job");
    form.append("dataset", file);
    request.open("POST", "/api/v1/datasets/");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* said below */ }
      if (request.status === 201) resolve(body);
      else reject(Object.assign(new Error(detailOf(body, `status ${request.status}`)), {status: request.status}));
    });
    request.addEventListener("error", () => reject(new Error("the connection was lost during the upload")));
    request.send(form);
  });
}

/** Opens a signed download of `path`. */
export async function download(path) {
  const {download_url: url} = await ask(path);
  const {pathname, search} = new URL(url, location.href);
  location.assign(pathname + search);
}
