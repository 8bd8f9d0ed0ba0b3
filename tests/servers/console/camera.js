// The cameras: a card for each device, with its live picture.

import { el, icon, keyed, setText } from "./dom.js";
import { Viewer } from "./viewer.js";

const PATHS = [["Camera registration", "/api/devices/register"], ["Camera socket", "/ws/device"], ["Viewer socket", "/ws/viewer"]];
const FAULTS = [
  { name: "Camera socket: refuse the upgrade", field: "status", unit: "status", value: 403, path: "/ws/device" },
  { name: "Camera socket: close after the upgrade", field: "close_code", unit: "code", value: 1008, path: "/ws/device" },
  { name: "Camera socket: deaf (no pongs)", field: "deaf", fixed: true, path: "/ws/device" },
];
const KNOBS = [["hello_ack", "Cameras: acknowledge hello"], ["heartbeat_acks", "Cameras: acknowledge heartbeats"],
  ["deaf_after_hello", "Cameras: stop reading after hello"]];
const FIGURES_MS = 500;
const REASONS = {
  user_ended: "Stopped.", viewer_disconnected: "Stopped.", timeout: "The server ended the session.", error: "Something went wrong.",
  device_disconnected: "The device lost its connection to the server.",
};

export function create(api) {
  const cards = el("div", { class: "cards" });
  const snippet = el("pre");
  const empty = el("div", { class: "panel empty" },
    icon("camera"), el("h2", {}, "Waiting for a camera"),
    el("p", {}, "Point an agent's camera link at this server; it shows up here by itself."), snippet);
  const knobs = createKnobs(api);
  let server = null;
  return {
    element: el("div", {}, empty, cards),
    faults: { paths: PATHS, kinds: FAULTS, element: knobs.element },
    update(state) {
      server = state.viewer;
      knobs.update(state.knobs);
      empty.hidden = state.cameras.length > 0;
      setText(snippet, `[[links]]\nkind = "camera"\nurl = "${state.device_url}"`);
      keyed(cards, state.cameras, (camera) => camera.device_id, (camera) => createCard(camera, api, () => server),
        (card, camera) => card.update(camera));
    },
  };
}

function createKnobs(api) {
  const inputs = KNOBS.map(([name]) =>
    el("input", { type: "checkbox", name, on: { change: (event) => api.act("knob", { name, value: event.target.checked }) } }));
  const forget = el("button", { type: "button", class: "quiet", data: { knob: "forget_cameras" }, on: { click: () => api.act("forget_devices", {}) } },
    "Forget cameras");
  return {
    element: el("div", { class: "fault-quick" }, forget,
      ...KNOBS.map(([, text], index) => el("label", { class: "chip" }, inputs[index], el("span", {}, text)))),
    update(state) {
      for (const input of inputs) input.checked = state[input.name];
    },
  };
}

function createCard(first, api, server) {
  const device = first.device_id;
  const name = el("h2");
  const detail = el("p", { class: "detail" });
  const state = el("span", { class: "pill" });
  const watching = el("span", { class: "badge", hidden: true, data: { status: "downloading" } });
  const picture = createPicture(device, server);
  const card = el("article", { class: "panel card camera", data: { camera: device } },
    el("header", {}, el("div", {}, name, detail), el("div", { class: "marks" }, watching, state)),
    el("div", { class: "columns" }, picture.element, picture.figures), createMore(device, api));
  card.update = (camera) => {
    const { presence } = camera;
    setText(name, camera.name || device);
    state.dataset.state = camera.connected ? "connected" : "offline";
    setText(state, camera.connected ? "connected" : "offline");
    const facts = [camera.name && camera.name !== device ? device : "", known(presence?.temperature) ? `${presence.temperature} °C` : "",
      known(presence?.battery) ? `battery ${presence.battery} %` : "", presence?.recording ? "recording" : ""];
    setText(detail, camera.registered ? facts.filter(Boolean).join(" · ") : "not registered");
    watching.hidden = camera.sessions === 0;
    setText(watching, `${camera.sessions} watching`);
    picture.update(camera);
  };
  return card;
}

/** The live picture, the button that starts it, and what can be said of it. */
function createPicture(device, server) {
  const video = el("video", { playsInline: true, muted: true, autoplay: true, hidden: true, aria: { label: `live picture of ${device}` } });
  const words = el("p", { class: "nothing" });
  const watch = el("button", { type: "button", class: "watch", title: "Watch", aria: { label: `Watch ${device}` } }, icon("play"));
  const live = el("span", { class: "live", hidden: true }, "Live");
  const note = el("span", { class: "caption" });
  const glass = el("div", { class: "glass", on: { click: () => watch.hidden || watch.disabled || start() } }, video, el("div", { class: "invite" }, watch, words), el("div", { class: "glass-foot" }, note, live));
  const stop = el("button", { type: "button", class: "quiet", data: { action: "stop" }, on: { click: () => viewer?.stop() } }, icon("stop"), "Stop");
  const full = el("button", { type: "button", class: "quiet", on: { click: () => video.requestFullscreen?.() } }, icon("full"), "Full screen");
  const figures = createFigures();
  let viewer = null;
  let connected = false;
  const element = el("div", { class: "screen" }, glass, el("div", { class: "transport" }, el("div", { class: "buttons" }, stop, full)));

  function start() {
    const { path, token } = server();
    viewer?.stop();
    viewer = new Viewer({ url: `${location.origin.replace("http", "ws")}${path}`, token, device, video, onChange: show });
    viewer.start();
  }

  function show(shown) {
    if (shown !== viewer && viewer !== null) return;
    const state = shown.state;
    element.dataset.state = state;
    video.hidden = state !== "live";
    live.hidden = state !== "live";
    watch.hidden = state === "connecting" || state === "live";
    watch.disabled = !connected;
    stop.disabled = state !== "live" && state !== "connecting";
    full.disabled = state !== "live";
    glass.classList.toggle("inviting", !watch.hidden && connected);
    setText(note, state === "live" && !shown.signaling ? "The server is away; the picture comes straight from the device." : "");
    setText(words, state === "connecting" ? "Connecting…" : state === "ended" ? REASONS[shown.reason] ?? (shown.reason || "Stopped.")
      : state === "live" ? "" : connected ? "Watch" : "The device is offline.");
  }

  setInterval(async () => figures.update(viewer?.state === "live" ? await viewer.figures() : null), FIGURES_MS);
  addEventListener("pagehide", () => viewer?.stop());
  return {
    element,
    figures: figures.element,
    update(camera) {
      connected = camera.connected;
      if (viewer === null) show({ state: "idle" });
      else show(viewer);
    },
  };
}

function createFigures() {
  const rows = {};
  const row = (key, text) => {
    rows[key] = el("dd", { data: { figure: key } }, "–");
    return el("div", {}, el("dt", {}, text), rows[key]);
  };
  const element = el("dl", { class: "figures" },
    row("size", "Resolution"), row("fps", "Frames per second"), row("latency", "Latency"), row("loss", "Packet loss"),
    row("bitrate", "Bitrate"), row("codec", "Codec"), row("path", "Path (viewer – device)"));
  return {
    element,
    update(now) {
      element.classList.toggle("quiet", now === null);
      const say = (key, text, title = "") => {
        setText(rows[key], now === null ? "–" : text);
        rows[key].title = title;
      };
      say("size", `${now?.width} × ${now?.height}`);
      say("fps", known(now?.fps) ? now.fps.toFixed(1) : "–");
      if (known(now?.latencyMs)) say("latency", `${Math.round(now.latencyMs)} ms`, "from the camera to this page, read from the clock in the picture");
      else say("latency", known(now?.roundTripMs) ? `${Math.max(1, Math.round(now.roundTripMs))} ms round trip` : "–", "of the network");
      say("loss", `${((now?.loss ?? 0) * 100).toFixed(1)} %`, `${now?.lost ?? 0} packets in all`);
      say("bitrate", known(now?.bitrate) ? `${(now.bitrate / 1e6).toFixed(2)} Mbit/s` : "–");
      say("codec", now?.codec || "–");
      say("path", now?.path || "–");
    },
  };
}

/** What is needed less often. */
function createMore(device, api) {
  const text = el("textarea", { rows: 3, spellcheck: false, value: '{"type": "watch_ended", "payload": {"session_id": "unknown", "reason": "timeout"}}', aria: { label: "Message" } });
  const submit = el("button", { type: "button", class: "quiet", on: { click: () => {
    try {
      api.act("send", { device_id: device, message: JSON.parse(text.value) });
    } catch (error) {
      api.toast(error.message);
    }
  } } }, "Send");
  const acts = [["Reset the connection", "drop", {}], ["Close 1000", "close", { code: 1000 }], ["Close 1011", "close", { code: 1011 }],
    ["Close 1008", "close", { code: 1008 }], ["End all sessions", "end_all", { reason: "timeout" }]];
  return el("details", { class: "more" }, el("summary", {}, "More"),
    el("div", { class: "more-grid" },
      el("section", {}, el("h3", {}, "Any message"), text, submit),
      el("section", {}, el("h3", {}, "Connection"), ...acts.map(([title, what, args]) =>
        el("button", { type: "button", class: "quiet", on: { click: () => api.act(what, { device_id: device, ...args }) } }, title)))));
}

function known(value) {
  return value !== null && value !== undefined;
}
