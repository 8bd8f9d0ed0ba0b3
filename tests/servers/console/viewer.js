// A viewer of one camera: signaling over the server's viewer socket, the picture in a <video>, figures about it.
// Used by the console page, and by tests that drive it in a browser.

const HEARTBEAT_MS = 15_000;
const BLOCKS = 32;
const BITS = 28;
const ROWS = 18;
const LATENCIES_KEPT = 15;
const BELIEVED_MS = 10_000;

export class Viewer {
  /**
   * `video` gets the picture. `configuration` is added to that of the RTCPeerConnection. `codec` ("VP8"): only that one;
   * `audio`: ask for sound as well; `trickle` false: one offer with all candidates; `record`: keep what each frame says.
   * `onChange(viewer)` is called with each change of `state`: idle, connecting, live, ended.
   */
  constructor({ url, token, device, video, configuration = {}, codec = "", audio = false, trickle = true, record = false, onChange = () => {} }) {
    Object.assign(this, { url, token, device, video, configuration, codec, audio, trickle, record, onChange });
    this.state = "idle";
    this.reason = "";
    this.signaling = false;
    this.sessionId = "";
    this.frames = [];
    this.firstFrameMs = null;
    this.#latencies = [];
    this.#pending = [];
  }

  #latencies;
  #pending;
  #socket = null;
  #peer = null;
  #old = null;
  #beat = 0;
  #last = null;
  #canvas = null;
  #offeredAt = 0;

  /** The peer connection, for those who look closer. */
  get peer() {
    return this.#peer;
  }

  start() {
    this.#set("connecting");
    const socket = this.#socket = new WebSocket(this.url);
    socket.addEventListener("open", () => this.#say("hello", { token: this.token }));
    socket.addEventListener("message", (event) => this.#take(JSON.parse(event.data)).catch((error) => this.#end(error.message)));
    socket.addEventListener("close", (event) => this.#signalingLost(event));
    this.#beat = setInterval(() => this.#say("heartbeat", {}), HEARTBEAT_MS);
  }

  /** Ends the session by the viewer's wish; with `silent` without a word to the server. */
  stop({ silent = false } = {}) {
    if (this.sessionId && !silent) this.#say("end_watch", { session_id: this.sessionId });
    this.#end("");
  }

  /** A second offer on the same connection. */
  async renegotiate() {
    await this.#offer(this.#peer, { iceRestart: true });
  }

  /** A fresh connection within the same session; the old one is closed once the new one is answered. */
  async replace() {
    this.#old = this.#peer;
    await this.#connect(this.servers);
  }

  /** Any message. */
  say(type, payload) {
    this.#say(type, payload);
  }

  #say(type, payload, more = {}) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type, ...more, ts: new Date().toISOString(), payload }));
    }
  }

  async #take({ type, payload }) {
    if (type === "hello_ack") {
      this.signaling = true;
      this.#say("watch_request", { device_id: this.device }, { request_id: crypto.randomUUID?.() ?? String(Math.random()) });
    } else if (type === "watch_ready") {
      this.sessionId = payload.session_id;
      this.servers = payload.ice_servers;
      await this.#connect(this.servers);
    } else if (type === "signal_answer" && payload.session_id === this.sessionId) {
      await this.#peer.setRemoteDescription(payload.sdp);
      this.#old?.close();
      for (const candidate of this.#pending.splice(0)) await this.#add(candidate);
    } else if (type === "signal_ice" && payload.session_id === this.sessionId) {
      if (this.#peer?.remoteDescription) await this.#add(payload.candidate);
      else this.#pending.push(payload.candidate);
    } else if (type === "watch_ended") {
      this.#end(payload.reason);
    } else if (type === "error" && (payload.session_id === this.sessionId || this.state === "connecting")) {
      this.#end(payload.message);
    }
  }

  async #add(candidate) {
    await this.#peer.addIceCandidate(candidate ?? undefined);
  }

  async #connect(iceServers) {
    const peer = this.#peer = new RTCPeerConnection({ iceServers, ...this.configuration });
    const transceiver = peer.addTransceiver("video", { direction: "recvonly" });
    if (this.audio) peer.addTransceiver("audio", { direction: "recvonly" });
    if (this.codec) {
      const codecs = RTCRtpReceiver.getCapabilities("video").codecs;
      transceiver.setCodecPreferences(codecs.filter((codec) => codec.mimeType.endsWith(this.codec)));
    }
    peer.addEventListener("track", (event) => {
      if (event.track.kind !== "video") return;
      this.video.srcObject = event.streams[0];
      this.video.muted = true;
      this.video.play().catch(() => {});
      this.#watchFrames(peer);
    });
    peer.addEventListener("icecandidate", ({ candidate }) => {
      if (this.trickle && peer === this.#peer) this.#say("signal_ice", { session_id: this.sessionId, candidate: candidate?.toJSON() ?? null });
    });
    peer.addEventListener("connectionstatechange", () => {
      if (peer !== this.#peer) return;
      if (peer.connectionState === "failed") this.#end("the connection to the device failed");
    });
    await this.#offer(peer);
  }

  async #offer(peer, options = {}) {
    await peer.setLocalDescription(await peer.createOffer(options));
    if (!this.trickle) await gathered(peer);
    this.#offeredAt = performance.now();
    this.#say("signal_offer", { session_id: this.sessionId, sdp: { type: "offer", sdp: peer.localDescription.sdp } });
  }

  #watchFrames(peer) {
    let looked = 0;
    const look = (now, details) => {
      if (peer !== this.#peer) return;
      this.firstFrameMs ??= performance.now() - this.#offeredAt;
      if (this.state === "connecting") this.#set("live");
      if (this.record || now - looked > 100) {
        looked = now;
        this.#read(details);
      }
      this.video.requestVideoFrameCallback(look);
    };
    this.video.requestVideoFrameCallback(look);
  }

  #read(details) {
    this.#canvas ??= new OffscreenCanvas(BLOCKS, 2).getContext("2d", { willReadFrequently: true });
    const found = readPattern(this.video, this.#canvas);
    if (this.record) this.frames.push({ number: found?.number ?? null, at: performance.now(), presented: details.presentedFrames });
    if (found && found.ageMs < BELIEVED_MS) {
      this.#latencies.push(found.ageMs);
      if (this.#latencies.length > LATENCIES_KEPT) this.#latencies.shift();
    } else {
      this.#latencies.length = 0;
    }
  }

  /** What can be said of the picture; null before there is one. Each call covers the time since the one before. */
  async figures() {
    if (!this.#peer || this.state !== "live") return null;
    const reports = [...(await this.#peer.getStats()).values()];
    const stream = reports.find((one) => one.type === "inbound-rtp" && one.kind === "video");
    if (!stream) return null;
    const transport = reports.find((one) => one.type === "transport");
    const pair = reports.find((one) => one.id === transport?.selectedCandidatePairId);
    const before = this.#last ?? {};
    this.#last = stream;
    const seconds = (stream.timestamp - (before.timestamp ?? stream.timestamp)) / 1000;
    const gained = (key) => (stream[key] ?? 0) - (before[key] ?? 0);
    const packets = gained("packetsReceived") + gained("packetsLost");
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    return {
      width: stream.frameWidth, height: stream.frameHeight, frames: stream.framesDecoded, freezes: stream.freezeCount ?? 0,
      fps: seconds > 0 ? gained("framesDecoded") / seconds : null,
      bitrate: seconds > 0 ? (gained("bytesReceived") * 8) / seconds : null,
      loss: packets > 0 ? Math.max(0, gained("packetsLost")) / packets : 0,
      lost: stream.packetsLost, received: stream.packetsReceived,
      latencyMs: sorted.length ? sorted[Math.floor(sorted.length / 2)] : null,
      roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      codec: (reports.find((one) => one.id === stream.codecId)?.mimeType ?? "").replace("video/", ""),
      path: [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => reports.find((one) => one.id === id)?.candidateType ?? "").join(" – "),
    };
  }

  #signalingLost(event) {
    const had = this.signaling;
    this.signaling = false;
    if (this.state === "connecting") this.#end(event.code === 1008 ? event.reason || "the server refused this viewer" : "the server is not reachable");
    else if (had && this.state === "live") this.onChange(this);  // the picture goes on without it
  }

  #end(reason) {
    if (this.state === "ended") return;
    this.reason = reason;
    clearInterval(this.#beat);
    this.#old?.close();
    this.#peer?.close();
    this.#peer = null;
    this.#socket?.close();
    this.video.srcObject = null;
    this.#set("ended");
  }

  #set(state) {
    this.state = state;
    this.onChange(this);
  }
}

/** The two numbers in the device's test picture: {number, ageMs}; null if it is another picture. */
export function readPattern(video, context) {
  if (!video.videoWidth) return null;
  context.imageSmoothingEnabled = false;
  context.drawImage(video, 0, 0, video.videoWidth, (video.videoHeight * 2) / ROWS, 0, 0, BLOCKS, 2);
  const { data } = context.getImageData(0, 0, BLOCKS, 2);
  const rows = [0, 1].map((row) => {
    const white = Array.from({ length: BLOCKS }, (_, block) => data[(row * BLOCKS + block) * 4 + 1] > 128);
    const bits = white.slice(2, 2 + BITS);
    const odd = bits.filter(Boolean).length % 2 === 1;
    if (!white[0] || white[1] || white[30] !== odd || white[31]) return null;
    return bits.reduce((number, bit) => number * 2 + (bit ? 1 : 0), 0);
  });
  if (rows.includes(null)) return null;
  const modulus = 2 ** BITS;
  return { number: rows[0], ageMs: (((Date.now() - rows[1]) % modulus) + modulus) % modulus };
}

function gathered(peer) {
  return new Promise((done) => {
    const look = () => peer.iceGatheringState === "complete" && done();
    peer.addEventListener("icegatheringstatechange", look);
    look();
  });
}
