// Workers, devices and what they do, as it goes.
import {ask} from "./api.js";
import {button, bytes, count, h, lastPart, number, plural, say, status, sure, table} from "./dom.js";
import {lines} from "./charts.js";

const POINTS = 150;

function devices(worker) {
  return worker.devices.map((d) => h("div", {}, `${d.name}: ${d.description}`,
    h("div", {class: "quiet"}, `${bytes(Math.min(d.memory_free_bytes, d.memory_bytes))} free of ${bytes(d.memory_bytes)}`, ", ",
      h("meter", {min: 0, max: 1, value: d.utilisation, "aria-label": `utilisation ${Math.round(d.utilisation * 100)}%`}),
      ` ${Math.round(d.utilisation * 100)}%`, d.temperature_celsius > 0 ? `, ${Math.round(d.temperature_celsius)} °C` : "")));
}

function act(worker, action) {
  return async () => {
    await ask(`/cluster/workers/${worker.id}/${action}`, {method: "POST"});
    say(`${worker.host} (${worker.pid}): ${action} is on its way`);
  };
}

function actions(worker) {
  if (worker.state === "lost") return null;
  const label = {"aria-label": `${worker.state === "draining" ? "Resume" : "Drain"} ${worker.host} ${worker.pid}`};
  return h("span", {class: "actions"},
    worker.state === "draining" ? button("Resume", act(worker, "resume"), label) : button("Drain", act(worker, "drain"), label),
    sure("Evict", act(worker, "evict"), `Take the tasks of ${worker.host} (${worker.pid}) away and send it off?`));
}

const COLUMNS = [
  {title: "Worker", cell: (w) => h("span", {}, w.host, h("div", {class: "quiet"}, `process ${w.pid}, version ${w.version}`))},
  {title: "State", cell: (w) => h("span", {}, status(w.state), w.reason && h("div", {class: "quiet"}, w.reason))},
  {title: "Devices", cell: devices},
  {title: "Tasks", number: true, cell: (w) => `${w.tasks}/${w.slots}`},
  {title: "Samples/s", number: true, cell: (w) => number(w.samples_per_s, 1)},
  {title: "Models loaded", cell: (w) => w.resident_models.map((m) => h("div", {title: m}, lastPart(m)))},
  {title: "Actions", hidden: true, cell: actions},
];

export async function showCluster({root, every}) {
  const facts = h("dl", {class: "facts"}), charts = h("div", {class: "charts"}), workers = h("div");
  root.append(facts, charts, h("h2", {}, "Workers"), workers);
  const labels = [], use = [], free = [], queue = [];
  const useChart = lines("Utilisation of the devices", labels, [{label: "mean of all devices, %", values: use}, {label: "memory in use, %", values: free}], "%", {max: 100});
  const queueChart = lines("Samples waiting", labels, [{label: "samples", values: queue}], "samples");
  charts.append(useChart, queueChart);
  await every(2000, async () => {
    const [now, listing] = await Promise.all([ask("/cluster/status"), ask("/cluster/workers")]);
    const all = listing.items.flatMap((w) => w.state === "lost" ? [] : w.devices);
    const mean = (of) => all.length ? all.reduce((sum, d) => sum + of(d), 0) / all.length : 0;
    labels.push(new Date().toLocaleTimeString());
    use.push(100 * mean((d) => d.utilisation));
    free.push(100 * mean((d) => d.memory_bytes ? Math.max(0, 1 - d.memory_free_bytes / d.memory_bytes) : 0));
    queue.push(now.samples_remaining);
    for (const list of [labels, use, free, queue]) if (list.length > POINTS) list.shift();
    useChart.chart.update();
    queueChart.chart.update();
    const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    facts.replaceChildren(fact("Workers", count(now.workers)), fact("Slots", count(now.slots)), fact("Tasks", count(now.tasks)), fact("Jobs", count(now.jobs)),
      fact("Samples waiting", count(now.samples_remaining)), fact("Samples done since start", count(now.since_start.samples_committed)),
      fact("Database", now.database), fact("Version", now.version));
    const focused = workers.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    workers.replaceChildren(table({caption: `${plural(listing.total, "worker")}, those that left lately included`, columns: COLUMNS, rows: listing.items,
      empty: "No worker is connected: nothing runs until one is. lumigrid-worker --coordinator tcp://HOST:PORT starts one."}));
    if (focused) [...workers.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focused)?.focus();
  });
}
