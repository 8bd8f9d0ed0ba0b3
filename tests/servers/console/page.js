// Nothing but pictures: /console/viewer.html?device=ID&token=TOKEN. Tests call `watch` for viewers of any kind.

import { Viewer } from "./viewer.js";

window.viewers = [];

/** A new viewer on this page, started; its place in `viewers`. */
window.watch = (options) => {
  const video = document.createElement("video");
  video.playsInline = true;
  document.body.append(video);
  const url = `${location.origin.replace("http", "ws")}/ws/viewer`;
  const viewer = new Viewer({ url, token: "demo-viewer", video, ...options });
  viewer.start();
  return window.viewers.push(viewer) - 1;
};

const asked = new URLSearchParams(location.search);
if (asked.has("device")) window.watch({ device: asked.get("device"), token: asked.get("token") ?? "demo-viewer" });
