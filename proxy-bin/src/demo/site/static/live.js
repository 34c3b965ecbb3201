// Asks /demo/state twice in a second and draws what has changed.
"use strict";

const EVERY = 500;
const KEPT = 60;
const element = (id) => document.getElementById(id);
const history = {};
let before = null;
let restarts = null;

function draw(name, value, least) {
  const values = (history[name] ??= []);
  values.push(value);
  if (values.length > KEPT) values.shift();
  const top = Math.max(least, ...values);
  const x = (index) => (100 * (index + KEPT - values.length)) / (KEPT - 1);
  const points = values.map((value, index) => `${x(index)},${29 - (28 * value) / top}`);
  const svg = element(`${name}-line`);
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", "0 0 100 30");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
  }
  svg.firstChild.setAttribute("points", points.join(" "));
}

function show(name, value, text, least = 1) {
  element(name).value = text ?? value;
  draw(name, value, least);
}

function showEdge(edge) {
  const now = performance.now();
  if (before) {
    const seconds = (now - before.at) / 1000;
    const rate = (edge.counters.requests - before.requests) / seconds;
    show("rate", rate, rate.toFixed(0), 10);
  }
  before = { at: now, requests: edge.counters.requests };
  show("queued", edge.pools[0].queued, null, 4);
  show("open", edge.connections.open, null, 10);
  element("pulse").textContent = `up ${edge.uptime_seconds} s`;
  element("pid").textContent = edge.pid;
}

function chip(worker) {
  const item = document.createElement("li");
  const current = worker.current[0];
  item.className = current ? "busy" : "idle";
  const doing = current ? `busy for ${(current.age_ms / 1000).toFixed(1)} s` : "idle";
  item.textContent = `worker ${worker.pid}: ${doing}, ${worker.requests} answered`;
  return item;
}

function showWorkers(workers) {
  const chips = workers ? workers.workers.map(chip) : [];
  const missing = workers ? workers.workers_wanted - chips.length : 0;
  for (let place = 0; place < missing; place += 1) {
    const item = document.createElement("li");
    item.className = "gone";
    item.textContent = "killed; the next one is on its way";
    chips.push(item);
  }
  element("workers").replaceChildren(...chips);
  if (workers && restarts !== null && workers.restarts > restarts) {
    tell("A new worker has been forked and takes requests.");
  }
  if (workers) restarts = workers.restarts;
}

function showGlance(name, glance) {
  if (!glance.status) return;
  const isFine = glance.status === 200;
  const text = isFine ? `${glance.ms.toFixed(1)} ms` : `refused (${glance.status})`;
  element(name).classList.toggle("bad", !isFine);
  show(name, glance.ms, text, 20);
}

function showVisitors(visitors) {
  const there = [
    [visitors.slow, "slow requests"],
    [visitors.dripping, "slow clients"],
    [visitors.crowd, "impatient clients"],
  ].filter(([count]) => count > 0);
  const now = there.map(([count, what]) => `${count} ${what}`).join(", ") || "nobody";
  element("tally").textContent =
    `Sent by these buttons, there now: ${now}. Since the start ${visitors.answered} were ` +
    `answered, ${visitors.refused} refused with 503, ${visitors.lost} lost.`;
}

function showState(state) {
  showEdge(state.edge);
  showWorkers(state.workers);
  showGlance("file", state.others.file);
  showGlance("hello", state.others.hello);
  showVisitors(state.visitors);
  for (const button of document.querySelectorAll("button")) button.disabled = !state.may_act;
  for (const link of document.querySelectorAll(".act")) link.hidden = !state.may_act;
  if (!state.may_act) {
    tell("The buttons work where the demo listens on 127.0.0.1 or [::1] only.");
  }
}

function tell(text) {
  if (element("story").textContent !== text) element("story").textContent = text;
}

const STORIES = {
  "/demo/slow": () => "A worker is busy for three seconds. The edge goes on, and so does the other.",
  "/demo/drip": () => "50 clients drip their requests. Look at the workers: they know nothing of it.",
  "/demo/crowd": () => "160 clients ask as fast as they can. The queue fills, and sheds.",
  "/demo/kill": ({ killed, busy }) =>
    `Worker ${killed} was killed` +
    (busy ? ", and the request that it was running gets a 502, as it may be to blame." : "."),
};

async function act(path) {
  try {
    const response = await fetch(path, { method: "POST", headers: { "X-Forebay-Demo": "1" } });
    const answer = await response.json();
    tell(response.ok ? STORIES[path](answer) : `Not now: ${answer.error}.`);
  } catch (error) {
    tell(`The server does not answer: ${error.message}`);
  }
}

async function look() {
  try {
    const response = await fetch("/demo/state");
    if (response.ok) showState(await response.json());
  } catch {
    element("pulse").textContent = "no answer; is it still running?";
  }
  setTimeout(look, EVERY);
}

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => act(button.dataset.act));
}
look();
