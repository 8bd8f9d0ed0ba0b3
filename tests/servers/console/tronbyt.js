// The pixel feeds: a card for each display, with its screen, what the server thinks it shows, its rotation and pushes to it.

import { clock, el, icon, keyed, setText } from "./dom.js";
import { createLevel } from "./signage.js";

const PATHS = [["Feed socket", "/*/ws"], ["Feed polling", "/*/next"]];
const FAULTS = [
  { name: "Feed socket: refuse the upgrade", field: "status", unit: "status", value: 403, path: "/*/ws" },
  { name: "Feed socket: close after the upgrade", field: "close_code", unit: "code", value: 1008, path: "/*/ws" },
  { name: "Feed socket: deaf (no pongs)", field: "deaf", fixed: true, path: "/*/ws" },
];
const HABITS = [["waits", "Waits for “displaying”"], ["timed", "Sends by time"]];
const TICK_MS = 100;

export function create(api) {
  const cards = el("div", { class: "cards" });
  const snippet = el("pre");
  const empty = el("div", { class: "panel empty" },
    icon("pixels"), el("h2", {}, "Waiting for a pixel display"),
    el("p", {}, "Point an agent's tronbyt link at this server, with any eight hex digits as the device id; it shows up here by itself."), snippet);
  setInterval(() => {
    for (const card of cards.children) card.tick();
  }, TICK_MS);
  return {
    element: el("div", {}, empty, cards),
    faults: { paths: PATHS, kinds: FAULTS, element: el("div", { hidden: true }) },
    update(state) {
      empty.hidden = state.displays.length > 0;
      setText(snippet, `[[links]]\nkind = "tronbyt"\nurl = "${state.device_url}"`);
      keyed(cards, state.displays, (display) => display.device_id, (display) => createCard(display, state, api), (card, display) => card.update(display));
    },
  };
}

function createCard(first, state, api) {
  const device = first.device_id;
  const act = (name, args) => api.act(name, { device_id: device, ...args });
  const detail = el("p", { class: "detail" });
  const pill = el("span", { class: "pill" });
  const breach = el("span", { class: "badge", hidden: true, data: { status: "failed" } });
  const server = el("input", { type: "checkbox", checked: true, on: { change: () => act("leave", { value: !server.checked }) } });
  const screen = createScreen(device);
  const matrix = createMatrix(device);
  const parts = [screen, matrix, createRotation(device, act), createPush(device, state.samples, act, api), createSettings(device, act), createAcks()];
  const card = el("article", { class: "panel card feed", data: { feed: device } },
    el("header", {}, el("div", {}, el("h2", {}, device), detail),
      el("div", { class: "marks" }, breach,
        el("label", { class: "switch", title: "Off: the server has gone for this display, and its connections are reset", data: { action: "leave" } }, server, el("span", { class: "track" }), el("span", {}, "Server")),
        pill)),
    el("div", { class: "views" }, screen.element, matrix.element),
    parts[2].element,
    el("div", { class: "columns" }, el("div", { class: "side" }, parts[3].element, parts[4].element), parts[5].element),
    createMore(state.hostile, act, api));
  card.update = (display) => {
    const info = display.client_info;
    pill.dataset.state = display.connected ? "connected" : "offline";
    setText(pill, display.silent ? "connected, silent" : display.connected ? "connected" : display.polled_ms && Date.now() - display.polled_ms < 60000 ? "polling" : "offline");
    setText(detail, [info?.firmware_type, info?.firmware_version, info?.mac, display.old_firmware && "does not acknowledge"].filter(Boolean).join(" · ") || "has not introduced itself");
    breach.hidden = display.complaints.length === 0;
    setText(breach, `${display.complaints.length} against the contract`);
    breach.title = display.complaints.join("\n");
    server.checked = !display.away;
    for (const part of parts) part.update(display);
  };
  card.tick = () => parts[2].tick();
  return card;
}

/** A screenshot of the whole screen, where the same box has a signage link to this server. */
function createScreen(device) {
  const image = el("img", { alt: `the screen of ${device}`, hidden: true });
  const nothing = el("p", { class: "nothing" }, "The screen itself is shown here when the same agent has\na signage link to this server with screenshots = 2.");
  let shown = 0;
  return {
    element: el("figure", {}, el("div", { class: "glass" }, nothing, image), el("figcaption", {}, "The screen")),
    update({ screen }) {
      if (!screen || screen.number === shown) return;
      shown = screen.number;
      const next = new Image();
      next.onload = () => {  // swapped only when decoded: no flicker
        image.src = next.src;
        image.hidden = false;
        nothing.hidden = true;
      };
      next.src = `/console/screenshot/signage?device=${encodeURIComponent(screen.device)}&n=${screen.number}`;
    },
  };
}

/** The image last acknowledged as displaying, each of its pixels a lamp. */
function createMatrix(device) {
  const image = el("img", { alt: "", hidden: true });
  const lamps = el("div", { class: "lamps" });
  const words = el("p", { class: "nothing" }, "Nothing yet.");
  const caption = el("span", { class: "caption" });
  const glass = el("div", { class: "glass matrix" }, words, image, lamps, el("div", { class: "glass-foot" }, caption));
  let shown = 0;
  let broken = 0;

  function say(now) {
    const number = now?.number ? ` · ${now.number}` : "";
    setText(caption, !now ? "" : now.serial === broken ? `${now.name}${number}: no picture, the old one stays` : `${now.name}${number}`);
  }

  function fit() {
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!width || image.hidden) return;
    const dots = window.devicePixelRatio || 1;
    const scale = Math.max(1, Math.floor(Math.min(glass.clientWidth / width, glass.clientHeight / height) * dots)) / dots;
    for (const one of [image, lamps]) {
      one.style.width = `${width * scale}px`;
      one.style.height = `${height * scale}px`;
    }
    lamps.hidden = scale < 5;
    lamps.style.backgroundSize = `${scale}px ${scale}px`;
  }

  new ResizeObserver(fit).observe(glass);
  return {
    element: el("figure", {}, glass, el("figcaption", {}, "What the server thinks it shows")),
    update(display) {
      const now = display.shown;
      const level = display.brightness ?? 100;
      image.style.filter = level < 100 ? `brightness(${level}%)` : "";
      say(now);
      glass.classList.toggle("stale", !display.connected);
      if (!now || now.serial === shown) return;
      shown = now.serial;
      const next = new Image();
      next.onload = () => {
        image.src = next.src;
        image.hidden = false;
        words.hidden = true;
        fit();
      };
      next.onerror = () => {
        broken = now.serial;
        say(now);
      };
      next.src = imageOf(device, now.serial);
    },
  };
}

/** The apps in their order; how long the present one stays; a click sends one at once. */
function createRotation(device, act) {
  const tiles = el("div", { class: "items" });
  const pause = el("button", { type: "button", class: "round", data: { action: "pause" }, on: { click: () => act("pause", { value: !display.paused }) } }, icon("pause"));
  const words = el("p", { class: "hint" });
  const bar = el("span", { class: "bar" }, el("i"));
  const left = el("span", { class: "count-of" });
  let display = null;
  return {
    element: el("section", { class: "rotation" }, el("div", { class: "rotation-head" }, pause, el("div", {}, el("h3", {}, "Rotation"), words), bar, left), tiles),
    update(now) {
      display = now;
      const { paused, waiting, shown } = now;
      pause.classList.toggle("active", paused);
      pause.title = paused ? "Go on" : "Stop the rotation";
      pause.setAttribute("aria-label", pause.title);
      if (pause.dataset.icon !== String(paused)) pause.replaceChildren(icon(paused ? "play" : "pause"));
      pause.dataset.icon = String(paused);
      const next = waiting ? `${waiting.name} ${waiting.number === null ? "is on its way" : "is queued"}` : "";
      setText(words, [paused && "stopped", now.away && "the server is off", next].filter(Boolean).join(" · ") || "goes round");
      keyed(tiles, now.apps.map((app, place) => ({ ...app, place })), (app) => app.place, (app) => createTile(app, () => act("jump", { value: app.place })),
        (tile, app) => tile.update(app, device, shown?.name === app.name));
    },
    tick() {
      const shown = display?.shown;
      const passed = shown?.shown_ms ? (Date.now() - shown.shown_ms) / 1000 : 0;
      const rest = shown ? shown.dwell_s - passed : 0;
      bar.firstElementChild.style.width = shown ? `${Math.max(0, Math.min(100, (passed / shown.dwell_s) * 100))}%` : "0";
      setText(left, !shown || !display.connected ? "" : rest > 0 ? `${rest.toFixed(1)} s` : "dwell is over");
    },
  };
}

function createTile(first, push) {
  const image = el("img", { alt: "", hidden: true });
  const blank = el("span", { class: "blank" });
  const tile = el("button", { type: "button", class: "item", title: `Push ${first.name} now`, data: { app: first.place, action: "jump" }, on: { click: push } },
    image, blank, el("span", { class: "item-name" }, `${first.name} · ${first.dwell_secs} s`));
  let serial = null;
  tile.update = (app, device, playing) => {
    tile.classList.toggle("playing", playing);
    if (app.serial === null || app.serial === serial) return;
    serial = app.serial;
    image.src = imageOf(device, serial);
    image.hidden = false;
    blank.hidden = true;
  };
  return tile;
}

/** A text, a sample or a file, shown at once. */
function createPush(device, samples, act, api) {
  const field = (name, value) => el("input", { type: "color", name, value, aria: { label: name } });
  const text = el("input", { name: "text", value: "Coffee is ready!", maxLength: 60, aria: { label: "Text to push" } });
  const [colour, background] = [field("colour", "#ffffff"), field("background", "#5b21b6")];
  const form = el("form", { class: "push-row", on: { submit: (event) => {
    event.preventDefault();
    act("push_text", { text: text.value, colour: colour.value, background: background.value });
  } } }, text, colour, background, el("button", { type: "submit", class: "primary", data: { action: "push_text" } }, "Push now"));
  const file = el("input", { type: "file", accept: "image/*", hidden: true, on: { change: async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    file.value = "";
    const query = new URLSearchParams({ device_id: device, name: chosen.name });
    const answer = await fetch(`/console/tronbyt/push?${query}`, { method: "POST", body: chosen }).catch((error) => error);
    if (!answer.ok) api.toast(answer.json ? (await answer.json()).message : answer.message);
  } } });
  const chip = (words, click, data) => el("button", { type: "button", class: "quiet small", data, on: { click } }, words);
  return {
    element: el("section", { class: "box announce" }, el("h3", {}, "Push"), form,
      el("div", { class: "chips" }, ...samples.map((sample) => chip(sample, () => act("push_sample", { sample }), { sample })), chip("A file…", () => file.click(), { action: "push_file" }), file)),
    update() {},
  };
}

function createSettings(device, act) {
  const level = createLevel("brightness", (value) => act("brightness", { value }));
  const choice = (name, options) => {
    const inputs = options.map(([value]) => el("input", { type: "radio", name: `${name}-${device}`, value, on: { change: () => act(name, { value }) } }));
    return { inputs, element: el("div", { class: "chips" }, ...options.map(([, words], index) => el("label", { class: "chip" }, inputs[index], el("span", {}, words)))) };
  };
  const habit = choice("habit", HABITS);
  const scale = choice("scale", [["percent", "0–100"], ["byte", "0–255"]]);
  const frames = choice("fragments", [[1, "One frame"], [5, "Five frames"]]);
  return {
    element: el("section", { class: "levels box" }, el("h3", {}, "Server"), level.element,
      el("div", { class: "choices" }, el("span", {}, "Habit"), habit.element, el("span", {}, "Brightness as"), scale.element, el("span", {}, "Images in"), frames.element)),
    update(display) {
      level.update({ brightness: display.brightness ?? 100 });
      for (const [name, { inputs }] of [["habit", habit], ["scale", scale], ["fragments", frames]]) {
        for (const input of inputs) input.checked = String(display[name]) === String(input.value);
      }
    },
  };
}

/** What came back, newest first, and how long after its image. */
function createAcks() {
  const list = el("ol", { class: "acks" });
  return {
    element: el("section", { class: "box" }, el("h3", {}, "Acknowledgements"), list),
    update(display) {
      keyed(list, [...display.acks].reverse(), (ack) => `${ack.kind}${ack.number}/${ack.wall_ms}`, (ack) => el("li", { data: { kind: ack.kind } },
        el("span", { class: "kind" }, ack.kind), el("b", {}, ack.number), el("span", { class: "name" }, ack.name),
        el("span", { class: "after", title: "after it was sent" }, ack.after_ms === null ? "" : `+${ack.after_ms} ms`), el("time", {}, clock(ack.wall_ms).slice(0, 8))),
      () => {});
    },
  };
}

/** What is needed less often: files that are none, any message, breaking the connection. */
function createMore(hostile, act, api) {
  const button = (text, click, data = {}) => el("button", { type: "button", class: "quiet", data, on: { click } }, text);
  const pick = el("select", { name: "hostile", aria: { label: "Bad image" } }, ...hostile.map((name) => el("option", { value: name }, name)));
  const text = el("textarea", { rows: 3, spellcheck: false, value: '{"reboot": true}', aria: { label: "Message to the display" } });
  const any = button("Send", () => {
    try {
      act("send", { message: JSON.parse(text.value) });
    } catch (error) {
      api.toast(error.message);
    }
  }, { action: "send" });
  return el("details", { class: "more" }, el("summary", {}, "More"),
    el("div", { class: "more-grid" },
      el("section", {}, el("h3", {}, "Bad images"), el("p", { class: "hint" }, "Acknowledged all the same; the old picture stays."), pick,
        button("Push", () => act("push_hostile", { sample: pick.value }), { action: "push_hostile" })),
      el("section", {}, el("h3", {}, "Any message"), text, any,
        button("Error message", () => act("send", { message: { status: "error", message: "Error fetching image: 500" } }), { action: "error" })),
      el("section", {}, el("h3", {}, "Connection"),
        button("Fall silent", () => act("silence"), { action: "silence" }), button("Reset the connection", () => act("drop"), { action: "drop" }),
        button("Close 1012", () => act("close", { code: 1012 }), { action: "close", code: 1012 }),
        button("Close 1008", () => act("close", { code: 1008 }), { action: "close", code: 1008 }))));
}

function imageOf(device, serial) {
  return `/console/tronbyt/image?${new URLSearchParams({ device_id: device, serial })}`;
}
