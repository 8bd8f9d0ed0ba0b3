// The page's frame: its connection to the server, the message log and the faults. Each protocol has a module of its own,
// /console/<kind>.js, that exports create(api) -> {element, update(state), faults}. `faults` is what it adds to the knobs:
// `paths` [name, pattern], `kinds` as in KINDS, and `element` with buttons of its own.

import { clock, el, keyed, setText } from "./dom.js";

const LOG_ROWS = 400;
const RETRY_MS = 1000;

const $ = (id) => document.getElementById(id);
const pending = new Map();
const events = [];
let socket = null;
let number = 0;
let newestEvent = 0;

/** Sends a command to a service ("" is the server itself); resolves when it is done, rejects with the server's words. */
function command(service, name, args = {}) {
  return new Promise((resolve, reject) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) {
      reject(new Error("the mock server is not reachable"));
      return;
    }
    number += 1;
    pending.set(number, { resolve, reject });
    socket.send(JSON.stringify({ id: number, service, command: name, args }));
  });
}

/** As `command`, with a message on the page when it fails. */
function act(service, name, args) {
  return command(service, name, args).catch((error) => toast(error.message));
}

function toast(text) {
  const note = el("div", { class: "toast" }, text);
  $("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/console/socket`);
  socket.addEventListener("open", () => setLink("connected"));
  socket.addEventListener("message", (event) => take(JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    setLink("connecting");
    for (const { reject } of pending.values()) reject(new Error("the connection to the mock server was lost"));
    pending.clear();
    setTimeout(connect, RETRY_MS);
  });
}

function setLink(state) {
  $("link").dataset.state = state;
  setText($("link"), state === "connected" ? "live" : "connecting");
}

const modules = {};

async function take(message) {
  if (message.type === "hello") {
    for (const { kind, title } of message.services) {
      modules[kind] ??= import(`./${kind}.js`).then((module) => {
        const view = module.create({ act: (name, args) => act(kind, name, args), toast });
        const heading = message.services.length > 1 ? el("h2", { class: "service" }, title) : null;
        $("services").append(el("section", { data: { kind } }, heading, view.element));
        if (view.faults) {
          offerFaults(view.faults);
          $("faults").insertBefore(view.faults.element, $("fault-quick"));
        }
        return view;
      });
    }
    newestEvent = 0;
    events.length = 0;
    $("log").replaceChildren();
  } else if (message.type === "state" && message.service === "") {
    showServer(message.state);
  } else if (message.type === "state") {
    (await modules[message.service])?.update(message.state);
  } else if (message.type === "events") {
    logEvents(message.events);
  } else if (message.type === "done") {
    const waiting = pending.get(message.id);
    pending.delete(message.id);
    if (message.error) waiting?.reject(new Error(message.error));
    else waiting?.resolve();
  }
}

// the log

function shown(event) {
  const kinds = [...document.querySelectorAll("#log-kinds input:checked")].map((input) => input.value);
  const needle = $("log-search").value.trim().toLowerCase();
  if (!kinds.includes(event.direction)) return false;
  return !needle || `${event.device} ${event.title} ${JSON.stringify(event.data)}`.toLowerCase().includes(needle);
}

function logEvents(fresh) {
  for (const event of fresh) {
    if (event.number <= newestEvent) continue;
    newestEvent = event.number;
    events.push(event);
    if (shown(event)) $("log").prepend(logRow(event));
  }
  if (events.length > 2 * LOG_ROWS) events.splice(0, events.length - 2 * LOG_ROWS);
  while ($("log").children.length > LOG_ROWS) $("log").lastElementChild.remove();
}

function logRow(event) {
  const mark = { in: "↑", out: "↓", http: "⇅", note: "•" }[event.direction] ?? "•";
  const line = [
    el("span", { class: "mark", title: { in: "from the device", out: "to the device" }[event.direction] ?? "" }, mark),
    el("span", { class: "what" }, event.title, el("span", { class: "who" }, event.device)),
    el("time", {}, clock(event.wall_ms)),
  ];
  if (event.data === null) return el("li", { data: { direction: event.direction } }, el("div", { class: "line" }, ...line));
  const body = el("pre");
  const row = el("details", { on: { toggle: () => setText(body, JSON.stringify(event.data, null, 2)) } },
    el("summary", { class: "line" }, ...line, el("span", { class: "brief" }, brief(event))), body);
  return el("li", { data: { direction: event.direction } }, row);
}

/** The values of a message in one line, without its name. */
function brief(event) {
  if (typeof event.data !== "object") return String(event.data).slice(0, 200);
  const parts = Object.entries(event.data).filter(([key]) => key !== "action" && key !== "type");
  return parts.map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join("  ·  ").slice(0, 300);
}

function redrawLog() {
  $("log").replaceChildren(...events.filter(shown).slice(-LOG_ROWS).reverse().map(logRow));
}

$("log-kinds").addEventListener("change", redrawLog);
$("log-search").addEventListener("input", redrawLog);
$("log-clear").addEventListener("click", () => {
  events.length = 0;
  redrawLog();
});

// the server and its faults

const KINDS = [
  { name: "Answer 500", field: "status", fixed: 500 },
  { name: "Answer status", field: "status", unit: "status", value: 503 },
  { name: "Delay the answer", field: "delay_s", unit: "seconds", value: 3 },
  { name: "Reset instead of an answer", field: "drop", fixed: true },
  { name: "Media: wrong bytes", field: "corrupt", fixed: true, media: true },
  { name: "Media: cut the body", field: "cut_after", unit: "after KB", value: 100, scale: 1000, media: true },
  { name: "Media: stall", field: "stall_after", unit: "after KB", value: 100, scale: 1000, media: true },
  { name: "Media: slow", field: "bytes_per_s", unit: "KB/s", value: 100, scale: 1000, media: true },
  { name: "Media: ignore Range", field: "ignore_range", fixed: true, media: true },
  { name: "Media: no Content-Length", field: "chunked", fixed: true, media: true },
  { name: "Media: redirect to a foreign origin", field: "redirect_to", fixed: "foreign", media: true },
];

const QUICK = [
  ["Slow media (100 KB/s)", "fault", { path: "/media/*", bytes_per_s: 100000 }],
  ["Corrupt the next download", "fault", { path: "/media/*", corrupt: true, times: 1 }],
  ["Clear all faults", "clear_faults", {}],
];

const form = $("fault-form");
offerFaults({ paths: [["Everything", "*"], ["Media files", "/media/*"]], kinds: KINDS.splice(0) });
form.kind.addEventListener("change", fitFaultForm);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const kind = KINDS[form.kind.value];
  const args = { path: form.path.value, [kind.field]: kind.fixed ?? Number(form.value.value) * (kind.scale ?? 1) };
  if (form.times.value) args.times = Number(form.times.value);
  act("", "fault", args);
});

/** Adds paths and kinds of faults to the form. */
function offerFaults({ paths, kinds }) {
  form.path.append(...paths.map(([name, path]) => el("option", { value: path }, name)));
  for (const kind of kinds) form.kind.append(el("option", { value: KINDS.push(kind) - 1 }, kind.name));
}

function fitFaultForm() {
  const kind = KINDS[form.kind.value];
  const field = form.querySelector(".value");
  field.hidden = kind.unit === undefined;
  setText(field.querySelector("span"), kind.unit ?? "");
  form.value.value = kind.value ?? "";
  form.path.value = kind.path ?? (kind.media ? "/media/*" : form.path.value === "/media/*" ? "*" : form.path.value);
}

function showServer(state) {
  setText($("address"), state.url);
  $("network").checked = !state.away;
  document.body.classList.toggle("away", state.away);
  $("fault-count").hidden = state.faults.length === 0;
  setText($("fault-count"), state.faults.length);
  keyed($("fault-list"), state.faults, (fault) => fault.number, createFault, (row, fault) => {
    setText(row.querySelector(".hits"), `${fault.hits}×`);
  });
}

function createFault(fault) {
  const what = Object.entries(fault.what).map(([key, value]) => `${key.replaceAll("_", " ")} ${value === true ? "" : value}`.trim()).join(", ");
  return el("li", {}, el("code", {}, fault.path), el("span", { class: "what" }, what), el("span", { class: "hits", title: "requests hit" }),
    el("button", { type: "button", class: "quiet", on: { click: () => act("", "remove_fault", { number: fault.number }) } }, "End"));
}

$("network").addEventListener("change", (event) => act("", "away", { value: !event.target.checked }));
fitFaultForm();
$("fault-quick").append(...QUICK.map(([text, name, args]) => el("button", { type: "button", class: "quiet", on: { click: () => act("", name, args) } }, text)));
connect();
