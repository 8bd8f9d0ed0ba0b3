// Signage devices: a card each, with what it shows, its controls and its playlists.

import { age, el, icon, keyed, setText } from "./dom.js";

const ACTIONS = [["previous", "Previous"], ["play", "Play"], ["pause", "Pause"], ["next", "Next"]];
const PATHS = [
  ["Login", "/api/v1/auth/token/"], ["Token refresh", "/api/v1/auth/token/refresh/"], ["Registration", "/api/v1/admin/cloud/device/register/"],
  ["Playlists", "/api/v1/admin/cloud/playlists*"], ["Screenshots", "/api/v1/*screenshot*"], ["WebSocket", "/ws/cloud/tb_device/"],
];
const FAULTS = [
  { name: "WebSocket: refuse the upgrade", field: "status", unit: "status", value: 403, path: "/ws/cloud/tb_device/" },
  { name: "WebSocket: close after the upgrade", field: "close_code", unit: "code", value: 1008, path: "/ws/cloud/tb_device/" },
  { name: "WebSocket: deaf (no pongs)", field: "deaf", fixed: true, path: "/ws/cloud/tb_device/" },
];
const KNOBS = [["refuse_refresh", "Refuse token refresh"], ["rotate_refresh", "New refresh token each time"], ["media_needs_token", "Media needs the token"]];
const STATUSES = ["ready", "downloading", "partial", "failed"];

export function create(api) {
  const cards = el("div", { class: "cards" });
  const snippet = el("pre");
  const empty = el("div", { class: "panel empty" },
    icon("screen"), el("h2", {}, "Waiting for a device"),
    el("p", {}, "Point an agent at this server; it shows up here by itself."), snippet);
  const element = el("div", {}, empty, cards);
  setInterval(() => {
    for (const badge of cards.querySelectorAll(".age[data-at]")) setText(badge, age(Number(badge.dataset.at)));
  }, 1000);
  const knobs = createKnobs(api);
  return {
    element,
    faults: { paths: PATHS, kinds: FAULTS, element: knobs.element },
    update(state) {
      knobs.update(state.knobs);
      empty.hidden = state.devices.length > 0;
      const { url, username, password } = state.login;
      setText(snippet, `[[links]]\nkind = "signage"\nurl = "${url}"\nusername = "${username}"\npassword = "${password}"\nscreenshots = 2`);
      keyed(cards, state.devices, (device) => device.serial, (device) => createCard(device, api), (card, device) => card.update(device));
    },
  };
}

/** What the server can do wrong besides single requests. */
function createKnobs(api) {
  const inputs = KNOBS.map(([name]) =>
    el("input", { type: "checkbox", name, on: { change: (event) => api.act("knob", { name, value: event.target.checked }) } }));
  const buttons = [["Expire access tokens", "expire_tokens"], ["Forget registrations", "forget_devices"]].map(([text, name]) =>
    el("button", { type: "button", class: "quiet", data: { knob: name }, on: { click: () => api.act(name, {}) } }, text));
  const chips = KNOBS.map(([, text], index) => el("label", { class: "chip" }, inputs[index], el("span", {}, text)));
  return {
    element: el("div", { class: "fault-quick" }, ...buttons, ...chips),
    update(state) {
      for (const input of inputs) input.checked = state[input.name];
    },
  };
}

function createCard(first, api) {
  const { serial } = first;
  const send = (message) => api.act("send", { serial, message });
  const parts = [createScreen(serial, send), createLevels(send), createOverlay(send)];
  const playlists = createPlaylists(send);
  const more = createMore(serial, send, api);
  const detail = el("p", { class: "detail" });
  const state = el("span", { class: "pill" });
  const card = el("article", { class: "panel card", data: { serial } },
    el("header", {}, el("div", {}, el("h2", {}, serial), detail), state),
    el("div", { class: "columns" }, parts[0].element, el("div", { class: "side" }, parts[1].element, parts[2].element)),
    playlists.element, more.element);
  card.update = (device) => {
    state.dataset.state = device.connected ? "connected" : "offline";
    setText(state, device.connected ? "connected" : "offline");
    const body = device.registered;
    setText(detail, body ? [body.brand, body.model, body.screen_resolution, `agent ${body.app_version}`, body.ip_address].filter(Boolean).join(" · ")
      : "not registered");
    for (const part of [...parts, playlists, more]) part.update(device);
  };
  return card;
}

/** The live picture and the buttons under it. */
function createScreen(serial, send) {
  const image = el("img", { alt: `what ${serial} shows`, hidden: true });
  const nothing = el("p", { class: "nothing" }, "No screenshot yet.\nThey come with screenshots = 2 in the agent's configuration.");
  const caption = el("span", { class: "caption" });
  const badge = el("span", { class: "age", hidden: true });
  const buttons = ACTIONS.map(([action, text]) =>
    el("button", { type: "button", class: "round", title: text, data: { action }, aria: { label: text }, on: { click: () => send({ action }) } }, icon(action)));
  const reload = el("button", { type: "button", class: "quiet", data: { action: "reload_playlist" }, on: { click: () => send({ action: "reload_playlist" }) } },
    icon("reload"), "Reload playlists");
  let shown = 0;
  return {
    element: el("div", { class: "screen" },
      el("div", { class: "glass" }, nothing, image, el("div", { class: "glass-foot" }, caption, badge)),
      el("div", { class: "transport" }, el("div", { class: "buttons" }, ...buttons), reload)),
    update(device) {
      const picture = device.screenshot;
      const playing = device.playlists.flatMap((playlist) => playlist.items).find((item) => String(item.media_id) === String(picture?.media_id));
      setText(caption, playing ? playing.name : "");
      buttons[2].classList.toggle("active", device.paused);
      if (!picture || picture.number === shown) return;
      shown = picture.number;
      const next = new Image();
      next.onload = () => {  // swapped only when decoded: no flicker
        image.src = next.src;
        image.hidden = false;
        nothing.hidden = true;
        badge.hidden = false;
        badge.dataset.at = picture.wall_ms;
        setText(badge, age(picture.wall_ms));
      };
      next.src = `/console/screenshot/signage?device=${encodeURIComponent(serial)}&n=${picture.number}`;
    },
  };
}

function createLevels(send) {
  const rows = ["volume", "brightness"].map((name) => createLevel(name, (value) => send({ action: `set_${name}`, [name]: value })));
  return {
    element: el("section", { class: "levels" }, ...rows.map((row) => row.element)),
    update: (device) => rows.forEach((row) => row.update(device)),
  };
}

/** A slider for `name` of a device, 0 to 100. */
export function createLevel(name, set) {
  const title = name[0].toUpperCase() + name.slice(1);
  const number = el("output", {}, "–");
  const slider = el("input", { type: "range", min: 0, max: 100, step: 1, name, aria: { label: title } });
  let held = false;
  const paint = () => {
    slider.style.setProperty("--part", `${slider.value}%`);
    setText(number, slider.value);
  };
  slider.addEventListener("pointerdown", () => { held = true; });
  slider.addEventListener("pointerup", () => { held = false; });
  slider.addEventListener("pointercancel", () => { held = false; });
  slider.addEventListener("input", paint);
  slider.addEventListener("change", () => {
    held = false;
    set(Number(slider.value));
  });
  return {
    element: el("label", { class: "level" }, icon(name), el("span", { class: "name" }, title), slider, number),
    update(device) {
      if (held || device[name] === null || slider.dataset.known === String(device[name])) return;
      slider.dataset.known = device[name];
      slider.value = device[name];
      paint();
    },
  };
}

function createOverlay(send) {
  const pick = (name, values) => el("select", { name }, ...values.map((value) => el("option", { value }, value)));
  const field = (text, input) => el("label", {}, el("span", {}, text), input);
  const form = el("form", { class: "overlay", on: { submit: (event) => event.preventDefault() } },
    el("h3", {}, "Text overlay"),
    el("input", { name: "text", class: "wide", value: "Special Promotion Today!", placeholder: "Text to show", aria: { label: "Text" } }),
    field("Position", pick("position", ["bottom", "top", "left", "right"])),
    field("Animation", pick("animation", ["scroll", "static"])),
    field("Speed, px/s", el("input", { name: "speed", type: "number", value: 50, min: 1, step: "any" })),
    field("Font size, px", el("input", { name: "font_size", type: "number", value: 24, min: 6 })),
    field("Background", el("input", { name: "background_color", type: "color", value: "#000000" })),
    field("Text", el("input", { name: "text_color", type: "color", value: "#ffffff" })),
    el("button", { type: "button", class: "primary", data: { action: "show_text_overlay" }, on: { click: show } }, "Show"),
    el("button", { type: "button", class: "quiet", data: { action: "hide_text_overlay" }, on: { click: () => send({ action: "hide_text_overlay" }) } }, "Hide"));
  function show() {
    const get = (name) => form.elements[name].value;
    send({
      action: "show_text_overlay",
      text_overlay: {
        text: get("text"), position: get("position"), animation: get("animation"), speed: Number(get("speed")), font_size: Number(get("font_size")),
        background_color: get("background_color").toUpperCase(), text_color: get("text_color").toUpperCase(),
      },
    });
  }
  return { element: form, update() {} };
}

function createPlaylists(send) {
  const list = el("div", { class: "playlists" });
  return {
    element: list,
    update(device) {
      keyed(list, device.playlists, (playlist) => `${playlist.side}/${playlist.id}`, (playlist) => createPlaylist(playlist, send),
        (row, playlist) => row.update(playlist, device));
    },
  };
}

function createPlaylist(first, send) {
  const id = first.id;
  const name = el("h3");
  const badge = el("span", { class: "badge" });
  const bar = el("span", { class: "bar" }, el("i"));
  const count = el("span", { class: "count-of" });
  const trouble = el("p", { class: "trouble" });
  const items = el("div", { class: "items" });
  let current = null;
  const row = el("section", { class: "playlist", data: { playlist: id } },
    el("div", { class: "playlist-head" }, name, badge, bar, count,
      el("button", { type: "button", class: "quiet", data: { action: "switch_playlist" }, on: { click: () => send({ action: "switch_playlist", playlist_id: id }) } },
        "Switch to")),
    trouble, items);
  row.update = (playlist, device) => {
    current = currentPlaylist(device);
    const status = device.statuses.find((one) => one.playlist_id === id);
    const ready = (device.ready ?? []).includes(id);
    const word = STATUSES.includes(status?.status) ? status.status : ready ? "ready" : "unknown";
    const total = Number(status?.total_items ?? playlist.items.length) || 0;
    const done = Number(status?.downloaded_items ?? (ready ? total : 0)) || 0;
    const missing = Array.isArray(status?.missing_files) ? status.missing_files.join(", ") : "";
    row.classList.toggle("current", current === id);
    setText(name, (playlist.name || `Playlist ${id}`) + (playlist.side === "front" ? "" : ` (${playlist.side})`));
    name.title = `id ${id}, ${playlist.side} screen`;
    badge.dataset.status = word;
    setText(badge, word);
    bar.dataset.status = word;
    bar.firstElementChild.style.width = `${total ? Math.min(100, (done / total) * 100) : 0}%`;
    setText(count, word === "unknown" ? `${total} items` : `${done}/${total}`);
    setText(trouble, [missing && `Missing: ${missing}`, status?.status === "failed" && status.error].filter(Boolean).join(" · "));
    trouble.hidden = trouble.textContent === "";
    keyed(items, playlist.items.map((item, index) => ({ ...item, index })), (item) => `${item.media_id}/${item.preview}`,
      (item) => createItem(item, () => send(playMessage(item, id, current))),
      (tile, item) => tile.classList.toggle("playing", String(item.media_id) === String(device.screenshot?.media_id)));
  };
  return row;
}

/** The playlist a device plays as far as the server can know: by its newest screenshot, else the last switch. */
function currentPlaylist(device) {
  const media = String(device.screenshot?.media_id);
  const holds = (playlist) => playlist.items.some((item) => String(item.media_id) === media);
  return device.playlists.find(holds)?.id ?? device.playlist_id;
}

function playMessage(item, playlistId, current) {
  const message = { action: "play_media", media_id: item.media_id, media_index: item.index };
  if (current !== null && current !== playlistId) message.playlist_id = playlistId;
  return message;
}

function createItem(item, play) {
  const picture = item.type === "video"
    ? el("video", { src: `${item.preview}#t=2`, muted: true, preload: "metadata", playsInline: true, tabIndex: -1 })
    : el("img", { src: item.preview, alt: "", loading: "lazy" });
  return el("button", { type: "button", class: "item", title: `Play ${item.name}`, data: { media: item.media_id, action: "play_media" }, on: { click: play } },
    item.preview ? picture : el("span", { class: "blank" }), el("span", { class: "item-name" }, item.name));
}

/** What is needed less often: clean-up, any message, breaking the connection. */
function createMore(serial, send, api) {
  const keep = el("div", { class: "chips" });
  const clean = el("button", { type: "button", class: "quiet", data: { action: "cleanup_old_playlists" }, on: { click: () => send({
    action: "cleanup_old_playlists",
    playlistIdsToKeep: [...keep.querySelectorAll("input:checked")].map((input) => JSON.parse(input.value)),
  }) } }, "Delete the others");
  const text = el("textarea", { rows: 3, spellcheck: false, value: '{"action": "switch_playlist", "playlist_id": 999}', aria: { label: "Message" } });
  const submit = el("button", { type: "button", class: "quiet", on: { click: () => {
    try {
      send(JSON.parse(text.value));
    } catch (error) {
      api.toast(error.message);
    }
  } } }, "Send");
  const breaks = [["Reset the connection", "drop", {}], ["Close 1000", "close", { code: 1000 }], ["Close 1008", "close", { code: 1008 }]];
  return {
    element: el("details", { class: "more" }, el("summary", {}, "More"),
      el("div", { class: "more-grid" },
        el("section", {}, el("h3", {}, "Clean up old playlists"), el("p", { class: "hint" }, "Keep the files of"), keep, clean),
        el("section", {}, el("h3", {}, "Any message"), text, submit),
        el("section", {}, el("h3", {}, "Connection"), ...breaks.map(([name, what, args]) =>
          el("button", { type: "button", class: "quiet", on: { click: () => api.act(what, { serial, ...args }) } }, name))))),
    update(device) {
      const known = new Map(device.playlists.map((playlist) => [playlist.id, playlist]));
      keyed(keep, [...known.values()], (playlist) => playlist.id,
        (playlist) => el("label", { class: "chip" }, el("input", { type: "checkbox", checked: true, value: JSON.stringify(playlist.id) }), el("span")),
        (chip, playlist) => setText(chip.querySelector("span"), playlist.name || playlist.id));
    },
  };
}
