// The speakers: a card for each device with its settings, announcements to it, and what its microphone heard.

import { age, el, icon, keyed, setText } from "./dom.js";
import { createLevel } from "./signage.js";

const PATHS = [["Speaker socket", "/ws"]];
const FAULTS = [
  { name: "Speaker socket: refuse the upgrade", field: "status", unit: "status", value: 503, path: "/ws" },
  { name: "Speaker socket: close after the upgrade", field: "close_code", unit: "code", value: 1011, path: "/ws" },
  { name: "Speaker socket: deaf (no pongs)", field: "deaf", fixed: true, path: "/ws" },
];
const WORDS = { ok: "ok", error: "error", invalid_param: "invalid value", invalid_command: "unknown command", not_supported: "not supported",
  device_busy: "busy" };

const FORMS = [[1, "Bare frames"], [2, "Size and SHA-256"], [3, "Numbered chunks"]];

export function create(api) {
  const cards = el("div", { class: "cards" });
  const snippet = el("pre");
  const empty = el("div", { class: "panel empty" },
    icon("volume"), el("h2", {}, "Waiting for a speaker"),
    el("p", {}, "Point an agent's speaker link at this server; it shows up here by itself."), snippet);
  setInterval(() => {
    for (const badge of cards.querySelectorAll("[data-at]")) setText(badge, `${badge.dataset.words ?? ""}${age(Number(badge.dataset.at))}`);
  }, 1000);
  return {
    element: el("div", {}, empty, cards),
    faults: { paths: PATHS, kinds: FAULTS, element: el("div", { hidden: true }) },
    update(state) {
      empty.hidden = state.speakers.length > 0;
      setText(snippet, `[[links]]\nkind = "speaker"\nurl = "${state.device_url}"`);
      keyed(cards, state.speakers, (speaker) => speaker.device_id, (speaker) => createCard(speaker, state, api),
        (card, speaker) => card.update(speaker, state.restarted_ms));
    },
  };
}

function createCard(first, { samples, troubles }, api) {
  const device = first.device_id;
  const act = (name, args) => api.act(name, { device_id: device, ...args });
  const send = (message) => act("send", { message });
  const name = el("h2");
  const detail = el("p", { class: "detail" });
  const answer = el("span", { class: "badge answer", hidden: true });
  const state = el("span", { class: "pill" });
  const left = [createAnnouncement(device, samples, act, api), createUpdate(device, troubles, api), createRecordings(device)];
  const right = [createSettings(send), createFigures(send)];
  const parts = [...left, ...right];
  const card = el("article", { class: "panel card speaker", data: { speaker: device } },
    el("header", {}, el("div", {}, name, detail), el("div", { class: "marks" }, answer, state)),
    el("div", { class: "columns" },
      ...[left, right].map((side) => el("div", { class: "side" }, ...side.map((part) => part.element)))),
    createMore(act, send, api));
  let connections = 0;
  card.update = (speaker, restartedMs) => {
    const { status } = speaker;
    setText(name, status.device_name || device);
    state.dataset.state = speaker.connected ? "connected" : "offline";
    setText(state, speaker.connected ? "connected" : "offline");
    setText(detail, [device, status.firmware_version && `agent ${status.firmware_version}`].filter(Boolean).join(" · "));
    const said = speaker.answer;
    answer.hidden = !said;
    if (said) {
      answer.dataset.status = said.status === "ok" ? "ready" : "failed";
      setText(answer, `answer: ${WORDS[said.status] ?? said.status}`);
      answer.title = said.message ?? JSON.stringify(said);
    }
    if (speaker.connected && speaker.connections !== connections) {
      connections = speaker.connections;
      send({ cmd: "request_status" });
    }
    for (const part of parts) part.update(speaker, restartedMs);
  };
  return card;
}

/** A sound to choose, the button that sends it, and how far it is. */
function createAnnouncement(device, samples, act, api) {
  const file = el("input", { type: "file", accept: ".wav,audio/wav", hidden: true, on: { change: () => file.files[0] && choose(null, file.files[0]) } });
  const group = `sound-${device}`;
  const own = el("input", { type: "radio", name: group, on: { click: () => file.click() } });
  const ownName = el("span", {}, "WAV file…");
  const chips = samples.map(({ name, title }, index) => el("label", { class: "chip" },
    el("input", { type: "radio", name: group, checked: index === 0, on: { change: () => choose(name, null) } }), el("span", {}, title)));
  const button = el("button", { type: "button", class: "primary speak", data: { action: "announce" }, on: { click: announce } }, icon("volume"), "Announce");
  const bar = el("span", { class: "bar", data: { status: "downloading" } }, el("i"));
  const words = el("p", { class: "hint" });
  let chosen = { sample: samples[0]?.name ?? null, wav: null };

  function choose(sample, wav) {
    chosen = { sample, wav };
    own.checked = wav !== null;
    setText(ownName, wav ? wav.name : "WAV file…");
  }

  async function announce() {
    if (chosen.sample !== null) {
      act("announce", { sample: chosen.sample });
      return;
    }
    if (!chosen.wav) {
      api.toast("choose a WAV file first");
      return;
    }
    const query = new URLSearchParams({ device_id: device, name: chosen.wav.name });
    const answer = await fetch(`/console/speaker/announce?${query}`, { method: "POST", body: chosen.wav }).catch((error) => error);
    if (!answer.ok) api.toast(answer.json ? (await answer.json()).message : answer.message);
  }

  return {
    element: el("section", { class: "box announce" }, el("h3", {}, "Announcement"),
      el("div", { class: "chips" }, ...chips, el("label", { class: "chip" }, own, ownName), file), el("div", { class: "speak-row" }, button, bar), words),
    update(speaker) {
      const on = speaker.announcing;
      button.disabled = !speaker.connected || on !== null;
      bar.firstElementChild.style.width = on ? `${(on.done / on.frames) * 100}%` : "0";
      bar.dataset.status = on ? "downloading" : "idle";
      setText(words, on ? `${on.name}: ${seconds(on.done * 0.064)} of ${seconds(on.frames * 0.064)}`
        : "Plays over the playlist, whose sound is turned down meanwhile.");
    },
  };
}

/** A bundle to choose, the form it is sent in and what goes wrong meanwhile; how far it is, and what the device says to it. */
function createUpdate(device, troubles, api) {
  const file = el("input", { type: "file", accept: ".bundle", hidden: true, on: { change: () => file.files[0] && choose(file.files[0]) } });
  const pick = el("button", { type: "button", class: "quiet", data: { action: "choose_bundle" }, on: { click: () => file.click() } }, "Choose a bundle…");
  const form = el("select", { name: "form", aria: { label: "Form" } },
    ...FORMS.map(([value, title]) => el("option", { value, selected: value === 3 }, title)));
  const trouble = el("select", { name: "trouble", aria: { label: "Trouble" } },
    ...troubles.map(({ name, title }) => el("option", { value: name }, name ? `Trouble: ${title}` : "No trouble")));
  const button = el("button", { type: "button", class: "primary speak", data: { action: "update" }, on: { click: send } }, icon("reload"), "Update");
  const versions = el("span", { class: "versions" });
  const words = el("span", { class: "count-of" });
  const bar = el("span", { class: "bar", data: { status: "idle" } }, el("i"));
  const answers = el("ol", { class: "ota-answers" });
  let chosen = null;
  let uploading = false;
  let connected = false;

  function choose(bundle) {
    chosen = bundle;
    setText(pick, `${bundle.name} (${amount(bundle.size)})`);
    enable();
  }

  function enable() {
    button.disabled = !connected || uploading || bar.dataset.status === "downloading";
  }

  async function send() {
    if (!chosen) {
      api.toast("choose a bundle first: scripts/bundle makes one");
      return;
    }
    uploading = true;
    enable();
    const query = new URLSearchParams({ device_id: device, form: form.value, trouble: trouble.value, name: chosen.name });
    const answer = await fetch(`/console/speaker/firmware?${query}`, { method: "POST", body: chosen }).catch((error) => error);
    uploading = false;
    enable();
    if (!answer.ok) api.toast(answer.json ? (await answer.json()).message : answer.message);
  }

  return {
    element: el("section", { class: "box update" },
      el("header", { class: "update-head" }, el("h3", {}, "Update"), versions),
      el("div", { class: "speak-row" }, pick, form, trouble, file),
      el("div", { class: "speak-row" }, button, bar, words), answers),
    update({ connected: isConnected, status, ota }) {
      connected = isConnected;
      setText(versions, ota?.after && ota.after !== ota.before ? `${ota.before} → ${ota.after}` : status.firmware_version ?? "");
      versions.classList.toggle("changed", Boolean(ota?.after && ota.after !== ota.before));
      bar.dataset.status = otaStatus(ota);
      bar.firstElementChild.style.width = ota ? `${ota.size ? (ota.sent_bytes / ota.size) * 100 : 0}%` : "0";
      setText(words, ota ? otaWords(ota) : "");
      keyed(answers, ota?.answers.map((said, number) => ({ said, number })) ?? [], ({ said, number }) => `${number} ${said.status}`, createOtaAnswer,
        (row, { said }) => setText(row.lastElementChild, said.message ?? "accepted, send the image"));
      enable();
    },
  };
}

function createOtaAnswer({ said }) {
  return el("li", {}, el("span", { class: "badge", data: { status: said.status === "ok" ? "ready" : "failed" } }, WORDS[said.status] ?? said.status), el("span"));
}

function otaStatus(ota) {
  if (!ota) return "idle";
  if (ota.state === "sending") return "downloading";
  if (ota.state === "cut" || ota.answers.some(({ status }) => status !== "ok")) return "failed";
  return ota.answers.length > 1 ? "ready" : "partial";
}

function otaWords(ota) {
  const sent = ota.sent_bytes < ota.size ? `${amount(ota.sent_bytes)} of ${amount(ota.size)}` : amount(ota.size);
  const answered = ota.form === 3 ? `, ${ota.acks} of ${ota.chunks} chunks taken${ota.nacks ? `, ${ota.nacks} refused` : ""}` : "";
  const silent = ota.silences ? `, ${ota.silences} without an answer` : "";
  return `${sent}${answered}${silent}${ota.state === "cut" ? ", cut off" : ""}`;
}

/** What came from the microphone while the button of the device was held. */
function createRecordings(device) {
  const list = el("div", { class: "recordings" });
  const nothing = el("p", { class: "hint" }, "Nothing yet. With [voice] microphone and button in the agent's configuration, hold the button and speak.");
  return {
    element: el("section", { class: "box" }, el("h3", {}, "From the microphone"), nothing, list),
    update(speaker) {
      nothing.hidden = speaker.recordings.length > 0;
      keyed(list, [...speaker.recordings].reverse(), (one) => `${one.number} ${one.ended}`, (one) => createRecording(device, one),
        (row, one) => setText(row.querySelector(".length"), seconds(one.seconds)));
    },
  };
}

function createRecording(device, one) {
  const query = new URLSearchParams({ device_id: device, number: one.number });
  const player = one.ended ? el("audio", { controls: true, preload: "none", src: `/console/speaker/recording?${query}` })
    : el("span", { class: "badge", data: { status: "downloading" } }, "speaking…");
  return el("div", { class: "recording", data: { number: one.number } }, player, el("span", { class: "length" }),
    el("span", { class: "hint", data: { at: one.wall_ms } }, age(one.wall_ms)));
}

function createSettings(send) {
  const rows = ["volume", "brightness"].map((name) => createLevel(name, (value) => send({ cmd: `set_${name}`, [name]: value })));
  const input = el("input", { name: "device_name", maxLength: 64, aria: { label: "Name" } });
  const form = el("form", { class: "name-row", on: { submit: (event) => {
    event.preventDefault();
    input.dataset.known = "";
    send({ cmd: "set_device_name", device_name: input.value });
  } } }, input, el("button", { type: "submit", class: "quiet", data: { action: "set_device_name" } }, "Set name"));
  return {
    element: el("section", { class: "levels box" }, el("h3", {}, "Settings"), ...rows.map((row) => row.element), form),
    update({ status }) {
      for (const row of rows) row.update({ volume: status.volume ?? null, brightness: status.brightness ?? null });
      if (input.dataset.known !== status.device_name && document.activeElement !== input) {
        input.dataset.known = status.device_name ?? "";
        input.value = status.device_name ?? "";
      }
    },
  };
}

function createFigures(send) {
  const values = ["Battery", "Up for", "State"].map((title) => [title, el("dd", {}, "–")]);
  const restart = el("span", { class: "hint" });
  return {
    element: el("section", { class: "box" }, el("h3", {}, "Status"),
      el("dl", { class: "figures" }, ...values.map(([title, value]) => el("div", {}, el("dt", {}, title), value))),
      el("div", { class: "speak-row" },
        el("button", { type: "button", class: "quiet", data: { action: "request_status" }, on: { click: () => send({ cmd: "request_status" }) } },
          icon("reload"), "Ask again"),
        el("button", { type: "button", class: "quiet warn", data: { action: "reboot" }, on: { click: () => send({ cmd: "reboot" }) } }, "Restart")),
      restart),
    update({ status }, restartedMs) {
      setText(values[0][1], status.battery_percent === undefined ? "–" : `${status.battery_percent} %`);
      setText(values[1][1], status.uptime_sec === undefined ? "–" : span(status.uptime_sec));
      setText(values[2][1], (status.connectivity_state ?? "–").toLowerCase());
      restart.hidden = restartedMs === null;
      if (restartedMs !== null) {
        restart.dataset.at = restartedMs;
        restart.dataset.words = "Restart asked for and only noted ";
        setText(restart, `${restart.dataset.words}${age(restartedMs)}`);
      }
    },
  };
}

/** What is needed less often: updates, what no server should do, any message, breaking the connection. */
function createMore(act, send, api) {
  const button = (text, click, data = {}) => el("button", { type: "button", class: "quiet", data, on: { click } }, text);
  const text = el("textarea", { rows: 3, spellcheck: false, value: '{"cmd": "set_volume", "volume": 150}', aria: { label: "Message to the speaker" } });
  const any = button("Send", () => {
    try {
      send(JSON.parse(text.value));
    } catch (error) {
      api.toast(error.message);
    }
  }, { action: "send" });
  return el("details", { class: "more" }, el("summary", {}, "More"),
    el("div", { class: "more-grid" },
      el("section", {}, el("h3", {}, "Useless update"), el("p", { class: "hint" }, "Streams an image of no use, whatever the device answers."),
        ...FORMS.map(([form, words]) => button(words, () => act("offer_firmware", { form }), { action: "offer_firmware", form }))),
      el("section", {}, el("h3", {}, "Any message"), text, any,
        button("Wi-Fi (refused)", () => send({ cmd: "set_wifi", ssid: "MyNetwork", password: "mypassword" }), { action: "set_wifi" })),
      el("section", {}, el("h3", {}, "Connection"),
        button("Garbage", () => act("garbage"), { action: "garbage" }), button("Half-open", () => act("half_open"), { action: "half_open" }),
        button("Reset the connection", () => act("drop"), { action: "drop" }),
        button("Close 1000", () => act("close", { code: 1000 }), { action: "close" }))));
}

function seconds(value) {
  return `${value.toFixed(1)} s`;
}

function amount(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function span(value) {
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return value < 172800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} days`;
}
