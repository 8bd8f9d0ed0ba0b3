// Film conversion: where films are dropped, what becomes of each, what its followers were told; the habits of the server, and
// jobs that go by a script.

import { age, clock, el, icon, keyed, setText } from "./dom.js";

const PATHS = [["Conversion REST", "/api/jobs/*"], ["Conversion sockets", "/ws/conversion/*"], ["Outputs", "/bucket/*"]];
const FAULTS = [
  { name: "Outputs: cut the body", field: "cut_after", unit: "after KB", value: 100, scale: 1000, path: "/bucket/*" },
  { name: "Outputs: stall", field: "stall_after", unit: "after KB", value: 100, scale: 1000, path: "/bucket/*" },
  { name: "Outputs: slow", field: "bytes_per_s", unit: "KB/s", value: 100, scale: 1000, path: "/bucket/*" },
  { name: "Outputs: wrong bytes", field: "corrupt", fixed: true, path: "/bucket/*" },
  { name: "Conversion socket: close after the upgrade", field: "close_code", unit: "code", value: 1011, path: "/ws/conversion/*" },
];
const CHOICES = [
  ["habit", "Messages", [["document", "The document's"], ["field", "The field's"]]],
  ["outputs", "Outputs", [["signed", "Signed address"], ["direct", "The file itself"]]],
  ["ranges", "Range", [["honoured", "206"], ["ignored", "200, all of it"], ["unsatisfiable", "416"]]],
  ["authentication", "Token", [[true, "Asked for"], [false, "Not asked for"]]],
  ["refuse_sockets", "Sockets", [[false, "Open"], [true, "403"]]],
];
const STATES = { completed: "ready", failed: "failed", cancelled: "partial", processing: "downloading", analyzing: "downloading" };
const STAGES = { analyzing: "analysing", transcoding: "converting", verifying: "checking", completed: "" };

export function create(api) {
  const detail = el("p", { class: "detail" });
  const pill = el("span", { class: "pill" });
  const breach = el("span", { class: "badge", hidden: true, data: { status: "failed" } });
  const screen = createScreen();
  const drop = createDrop(api);
  const script = createScript(api);
  const settings = createSettings(api);
  const jobs = el("div", { class: "jobs" });
  const nothing = el("div", { class: "jobs-empty" }, el("p", { class: "hint" }, "No job yet. Point an agent at this server:"), el("pre"));
  const card = el("article", { class: "panel card films" },
    el("header", {}, el("div", {}, el("h2", {}, "Converter"), detail), el("div", { class: "marks" }, breach, pill)),
    el("div", { class: "views" }, drop.element, screen.element), jobs, nothing,
    el("div", { class: "columns" }, script.element, settings.element), createMore(api));
  setInterval(() => {
    for (const badge of jobs.querySelectorAll("[data-at]")) setText(badge, age(Number(badge.dataset.at)));
  }, 1000);
  return {
    element: card,
    faults: { paths: PATHS, kinds: FAULTS, element: el("div", { hidden: true }) },
    update(state) {
      const followers = state.jobs.reduce((sum, job) => sum + job.sockets, 0);
      const connected = followers > 0 || state.listeners > 0;
      pill.dataset.state = connected ? "connected" : "waiting";
      setText(pill, followers ? `followed by ${followers}` : connected ? "listened to" : state.looks ? "asked by REST" : "nobody here yet");
      setText(detail, [plural(state.count, "job"), state.looks ? `the list was asked for ${times(state.looks)}` : "nobody has asked for the list", state.logins && plural(state.logins, "login"), state.locked && "account locked"]
        .filter(Boolean).join(" · "));
      breach.hidden = state.complaints.length === 0;
      setText(breach, `${state.complaints.length} against the contract`);
      breach.title = state.complaints.join("\n");
      nothing.hidden = state.jobs.length > 0;
      setText(nothing.lastElementChild, `[[links]]\nkind = "conversion"\nurl = "${state.url}"\ntoken = "${state.token}"\nsession_cookie = "${state.cookie}"`);
      keyed(jobs, state.jobs, (job) => job.job_id, (job) => createJob(job, api), (row, job) => row.update(job));
      for (const part of [screen, drop, script, settings]) part.update(state);
    },
  };
}

/** A screenshot of the screen that the films end on, where the same box has a signage link to this server. */
function createScreen() {
  const image = el("img", { alt: "the screen", hidden: true });
  const words = el("p", { class: "nothing" }, "The screen itself is shown here when the same agent has\na signage link to this server with screenshots = 2.");
  let shown = "";
  return {
    element: el("figure", {}, el("div", { class: "glass" }, words, image), el("figcaption", {}, "The screen")),
    update({ screen }) {
      const key = screen ? `${screen.device} ${screen.number}` : "";
      if (key === shown || !screen) return;
      shown = key;
      const next = new Image();
      next.onload = () => {  // swapped only when decoded: no flicker
        image.src = next.src;
        image.hidden = false;
        words.hidden = true;
      };
      next.src = `/console/screenshot/signage?device=${encodeURIComponent(screen.device)}&n=${screen.number}`;
    },
  };
}

/** Where films are dropped or chosen. */
function createDrop(api) {
  const file = el("input", { type: "file", accept: "video/*,.mkv", hidden: true, name: "film", on: { change: () => take(file.files) } });
  const words = el("p", { class: "hint" });
  const bar = el("span", { class: "bar", data: { status: "idle" } }, el("i"));
  const sample = el("button", { type: "button", class: "quiet", data: { action: "sample" }, on: { click: () => api.act("sample") } }, icon("film"), "Sample film");
  const zone = el("div", { class: "drop", on: {
    dragover: (event) => hover(event, true),
    dragleave: (event) => hover(event, false),
    drop: (event) => {
      hover(event, false);
      take(event.dataTransfer.files);
    },
  } },
  icon("film"), el("h3", {}, "Drop a film here"), words,
  el("div", { class: "buttons" },
    el("button", { type: "button", class: "primary", data: { action: "choose_film" }, on: { click: () => file.click() } }, "Choose a film…"), sample, file), bar);
  let largest = 0;

  function hover(event, over) {
    event.preventDefault();
    zone.classList.toggle("over", over);
  }

  async function take(files) {
    for (const one of [...files]) {
      if (one.size > largest) api.toast(`${one.name}: films above ${amount(largest)} are not taken here`);
      else await upload(one);
    }
    file.value = "";
  }

  /** With XMLHttpRequest, which tells how far it is. */
  function upload(one) {
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      const over = (failed) => {
        bar.dataset.status = "idle";
        if (failed) api.toast(`${one.name}: ${failed}`);
        done();
      };
      request.upload.addEventListener("progress", (event) => {
        bar.dataset.status = "downloading";
        bar.firstElementChild.style.width = `${(100 * event.loaded) / event.total}%`;
      });
      request.addEventListener("load", () => over(request.status === 200 ? "" : reason(request)));
      request.addEventListener("error", () => over("the upload broke off"));
      request.open("POST", `/console/conversion/upload?${new URLSearchParams({ name: one.name })}`);
      request.send(one);
    });
  }

  return {
    element: el("figure", {}, zone, el("figcaption", {}, "The converter's upload")),
    update({ ffmpeg, largest_bytes: bytes }) {
      largest = bytes;
      sample.disabled = !ffmpeg;
      setText(words, ffmpeg ? `It is really converted, by ffmpeg: up to ${amount(bytes)} and 10 min.` : "ffmpeg is not installed on this machine: nothing can be converted.");
    },
  };
}

function reason(request) {
  try {
    return JSON.parse(request.responseText).message;
  } catch {
    return `the server said ${request.status}`;
  }
}

/** One job: how far it is, what is done to which stream, who follows it, what they were told, what was fetched. */
function createJob(first, api) {
  const act = (name, args) => api.act(name, { job_id: first.job_id, ...args });
  const badge = el("span", { class: "badge" });
  const title = el("h3", {});
  const words = el("span", { class: "count-of" });
  const bar = el("span", { class: "bar" }, el("i"));
  const streams = el("p", { class: "streams" });
  const figures = el("div", { class: "job-figures" });
  const trouble = el("p", { class: "trouble", hidden: true });
  const told = el("ol", { class: "told" });
  const summary = el("span", {});
  const button = (text, name, args) => el("button", { type: "button", class: "quiet small", data: { action: name }, on: { click: () => act(name, args) } }, text);
  const cancel = button("Cancel", "cancel");
  const row = el("section", { class: "job", data: { job: first.job_id } },
    el("div", { class: "job-head" }, badge, title, words), bar, trouble, streams, figures,
    el("details", {}, el("summary", {}, "What the device was told ", summary), told,
      el("div", { class: "chips" }, cancel, button("Delete", "delete"), button("Reset its sockets", "drop"), button("Close them 1011", "close", { code: 1011 }))));
  row.update = (job) => {
    const running = ["processing", "analyzing"].includes(job.status);
    badge.dataset.status = STATES[job.status] ?? "";
    setText(badge, job.status);
    setText(title, job.name);
    title.title = job.name;
    row.classList.toggle("running", running);
    bar.dataset.status = running ? "downloading" : STATES[job.status] ?? "idle";
    bar.firstElementChild.style.width = `${Math.max(0, Math.min(100, job.progress))}%`;
    setText(words, running ? [STAGES[job.stage] ?? job.stage, `${Math.round(job.progress)} %`, left(job.eta_s), job.speed].filter(Boolean).join(" · ") : "");
    trouble.hidden = !job.error;
    setText(trouble, job.error);
    setText(streams, plan(job.streams));
    streams.hidden = !job.streams;
    keyed(figures, figuresOf(job), ([key]) => key, () => el("span", {}), (figure, [, text, tip, at]) => {
      if (at) figure.dataset.at = at;
      else setText(figure, text);
      figure.title = tip ?? "";
    });
    setText(summary, `(${job.told.length})`);
    keyed(told, [...job.told].reverse().map((one, index) => ({ ...one, index })), (one) => `${one.wall_ms} ${one.index}`, createTold, () => {});
    cancel.disabled = ["completed", "failed", "cancelled"].includes(job.status);
  };
  return row;
}

function figuresOf(job) {
  const last = job.downloads.at(-1);
  return [
    ["age", "", "", job.created_ms],
    ["script", job.script && `script: ${job.script}`],
    ["size", job.size_bytes ? `${amount(job.size_bytes)}${job.output_bytes ? ` → ${amount(job.output_bytes)}` : ""}` : job.output_bytes ? amount(job.output_bytes) : ""],
    ["sockets", job.opened ? `${plural(job.sockets, "socket")} open, ${job.opened} so far` : "nobody follows it"],
    ["polls", job.polls && `asked for ${times(job.polls)}`, "GET /api/jobs/{id}/"],
    ["addresses", job.addresses && plural(job.addresses, "address", "addresses"), "GET /api/jobs/{id}/download/"],
    ["downloads", last && `${plural(job.download_count, "download")}, the last ${last.status || "began"}${last.whole ? ", to the end" : ""}`],
  ].filter(([key, text]) => key === "age" || text);
}

function createTold(one) {
  const message = typeof one.message === "string" ? one.message : Object.entries(one.message)
    .filter(([key]) => key !== "type" && key !== "job_id")
    .map(([key, value]) => `${key} ${typeof value === "object" && value !== null ? JSON.stringify(value) : value}`).join("  ·  ");
  return el("li", { class: one.sockets ? "" : "unheard", title: one.sockets ? message : `nobody was there to hear it: ${message}` },
    el("span", { class: "kind" }, typeof one.message === "string" ? "odd" : one.message.type ?? "object"),
    el("span", { class: "name" }, message), el("time", {}, clock(one.wall_ms).slice(0, 8)));
}

/** A job that goes by a script, under a name that somebody chose. */
function createScript(api) {
  const scripts = el("select", { name: "script", aria: { label: "Script" } });
  const names = el("datalist", { id: "film-names" });
  const name = el("input", { name: "title", value: "Holiday in Norway.mkv", maxLength: 1000, aria: { label: "Title" } });
  name.setAttribute("list", "film-names");
  const start = () => api.act("script", { script: scripts.value, name: name.value });
  const chip = (text, command, args, data) => el("button", { type: "button", class: "quiet small", data, on: { click: () => api.act(command, args) } }, text);
  return {
    element: el("section", { class: "box announce" }, el("h3", {}, "A job by script"),
      el("p", { class: "hint" }, "Nothing is converted: the messages are made up, the output is the sample film."),
      el("form", { class: "script-row", on: { submit: (event) => {
        event.preventDefault();
        start();
      } } }, scripts, name, names, el("button", { type: "submit", class: "primary", data: { action: "script" } }, "Start")),
      el("div", { class: "chips" }, chip("45 jobs of old", "old", { count: 45 }, { action: "old" }), chip("Delete what is finished", "clear", {}, { action: "clear" }))),
    update(state) {
      keyed(scripts, state.scripts, (one) => one.name, (one) => el("option", { value: one.name }, one.title), () => {});
      keyed(names, state.names, (one) => one, (one) => el("option", { value: one }), () => {});
    },
  };
}

function createSettings(api) {
  const rows = CHOICES.map(([name, title, options]) => {
    const inputs = options.map(([value]) => el("input", { type: "radio", name: `conversion-${name}`, value: String(value), on: { change: () => api.act(name, { value }) } }));
    return { name, inputs, parts: [el("span", {}, title), el("div", { class: "chips" }, ...options.map(([, words], index) => el("label", { class: "chip" }, inputs[index], el("span", {}, words))))] };
  });
  return {
    element: el("section", { class: "box" }, el("h3", {}, "Server"), el("div", { class: "choices" }, ...rows.flatMap((row) => row.parts))),
    update(state) {
      for (const { name, inputs } of rows) for (const input of inputs) input.checked = input.value === String(state[name]);
    },
  };
}

/** What is needed less often. */
function createMore(api) {
  const button = (text, name, args = {}) => el("button", { type: "button", class: "quiet", data: { action: name }, on: { click: () => api.act(name, args) } }, text);
  return el("details", { class: "more" }, el("summary", {}, "More"),
    el("div", { class: "more-grid" },
      el("section", {}, el("h3", {}, "Addresses"), el("p", { class: "hint" }, "Those given away so far get 403."), button("Expire signed addresses", "expire")),
      el("section", {}, el("h3", {}, "Account"), button("Revoke the token", "revoke"), button("Ask for a second factor", "requires_2fa", { value: true }),
        button("No second factor", "requires_2fa", { value: false }), button("Unlock", "unlock"))));
}

/** "mpeg4 → h264, ac3 → aac, aac copied" */
function plan(streams) {
  if (!streams) return "";
  const every = [streams.video, ...(streams.audio ?? []), ...(streams.subtitle ?? [])].filter(Boolean);
  return every.map(({ codec, action, target_codec: target }) => (action === "transcode" ? `${codec} → ${target}` : `${codec} copied`)).join(", ");
}

function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} left`;
}

function amount(bytes) {
  if (bytes < 1e3) return `${bytes} bytes`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} KB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function plural(count, word, many = `${word}s`) {
  return `${count} ${count === 1 ? word : many}`;
}

function times(count) {
  return count === 1 ? "once" : `${count} times`;
}
