import { View, colourOf } from "/static/draw.js";
import { followFrames } from "/static/frames.js";
import { Timeline } from "/static/timeline.js";

const byId = (id) => document.getElementById(id);
const STATES = { connecting: "connecting", warming_up: "warming up", running: "running", stale: "stale", lost: "lost" };
const TOUCHED_MS = 2500;

async function ask(path, options) {
  const response = await fetch(path, options);
  if (response.status === 401) location.href = "/login";
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

class Card {
  constructor(camera, info) {
    const node = byId("card").content.firstElementChild.cloneNode(true);
    this.node = node;
    this.name = camera.name;
    this.touched = 0;
    node.dataset.camera = camera.name;
    node.querySelector("h2").textContent = camera.name;
    const canvas = node.querySelector("canvas");
    const wait = node.querySelector(".wait");
    this.view = new View(canvas, wait, info.class_names);
    this.view.stride = info.stride_s;
    const picture = node.querySelector(".picture");
    picture.setAttribute("aria-label", `Snapshot of ${camera.name}`);
    picture.title = "click: snapshot";
    picture.addEventListener("click", () => this.snapshot(canvas));
    this.inputs = [...node.querySelectorAll("input")];
    for (const input of this.inputs) {
      input.addEventListener("input", () => this.move(input));
    }
    node.querySelector(".reset").addEventListener("click", () => {
      this.touched = 0;
      this.send({ conf: null, action_conf: null });
    });
    this.update(camera);
  }

  update(camera) {
    const { node } = this;
    node.dataset.state = camera.state;
    node.querySelector("h2").title = camera.source;
    let state = STATES[camera.state] || camera.state;
    if (camera.state === "warming_up") state += ` ${camera.samples}/${camera.num_frames}`;
    if (camera.retry_in_s !== null) state += `, again in ${Math.ceil(camera.retry_in_s)} s`;
    node.querySelector(".state").textContent = state;
    const message = node.querySelector(".message");
    message.textContent = camera.message;
    message.hidden = !camera.message;
    const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);
    const figures = {
      latency: `${ms(camera.latency_ms)} (p95 ${ms(camera.latency_p95_ms)})`,
      rate: `${camera.results_per_s.toFixed(1)} /s`,
      frames: camera.dropped_frames,
      clips: camera.dropped_clips,
      reconnects: camera.reconnects,
    };
    for (const [name, text] of Object.entries(figures)) node.querySelector(`.${name}`).textContent = text;
    if (!this.view.pictures) this.view.wait.textContent = STATES[camera.state] || "";
    this.view.size = camera.size_wh;
    this.view.delay = camera.delay_s + (camera.latency_p95_ms || 100) / 1000 + 0.1;
    if (performance.now() - this.touched < TOUCHED_MS && this.touched) return;
    for (const input of this.inputs) {
      const value = camera[input.name];
      input.value = value ?? 0.5;
      // Each action may have a threshold of its own.
      input.closest("label").querySelector("output").value = value === null ? "one for each action" : value.toFixed(2);
    }
  }

  move(input) {
    this.touched = performance.now();
    input.closest("label").querySelector("output").value = Number(input.value).toFixed(2);
    this.pending = { ...this.pending, [input.name]: Number(input.value) };
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const given = this.pending;
      this.pending = {};
      this.send(given);
    }, 150);
  }

  async send(given) {
    try {
      const camera = await ask(`/api/cameras/${this.name}/threshold`, {
        method: "PATCH",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(given),
      });
      this.node.dataset.conf = camera.conf;
      this.update(camera);
    } catch (error) {
      console.warn(error);
    }
  }

  snapshot(canvas) {
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${this.name}-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }, "image/jpeg", 0.92);
  }
}

class Page {
  constructor(info) {
    this.info = info;
    this.cards = new Map();
    this.timeline = new Timeline(byId("lanes"), byId("list"), byId("nothing"), (name) =>
      colourOf(info.class_names.indexOf(name)));
    byId("about").textContent = `${info.model} · ${info.artifact}${info.trained ? "" : " · UNTRAINED"}`;
    byId("logout").hidden = !info.login;
  }

  setCameras(cameras) {
    const names = new Set(cameras.map((camera) => camera.name));
    for (const [name, card] of this.cards) {
      if (!names.has(name)) {
        card.node.remove();
        this.cards.delete(name);
      }
    }
    for (const camera of cameras) {
      const card = this.cards.get(camera.name);
      if (card) card.update(camera);
      else {
        const made = new Card(camera, this.info);
        this.cards.set(camera.name, made);
        byId("cameras").append(made.node);
      }
    }
    this.timeline.cameras = [...names];
  }

  async catchUp() {
    const { actions } = await ask("/api/actions?limit=2000");
    this.timeline.replace(actions);
  }

  link(state, text) {
    byId("link").dataset.state = state;
    byId("link").textContent = text;
  }

  follow() {
    const events = new EventSource("/events");
    events.addEventListener("open", () => {
      this.link("live", "live");
      this.catchUp().catch(console.warn);
    });
    events.addEventListener("error", () => {
      this.link("lost", "no connection; trying again");
      // A browser does not come back to a server that refused it.
      if (events.readyState === EventSource.CLOSED) {
        setTimeout(() => ask("/api/info").then(() => this.follow(), () => this.follow()), 3000);
      }
    });
    events.addEventListener("cameras", (event) => this.setCameras(JSON.parse(event.data).cameras));
    events.addEventListener("result", (event) => {
      const result = JSON.parse(event.data);
      this.cards.get(result.camera)?.view.addResult(result);
    });
    events.addEventListener("action", (event) => this.timeline.add(JSON.parse(event.data)));
    followFrames((frame) => this.cards.get(frame.camera)?.view.addFrame(frame));
    const draw = () => {
      for (const card of this.cards.values()) card.view.tick();
      requestAnimationFrame(draw);
    };
    draw();
    setInterval(() => this.timeline.draw(), 5000);
  }
}

function theme() {
  const root = document.documentElement;
  try {
    root.dataset.theme = localStorage.getItem("theme") || "";
  } catch { /* a browser may keep nothing */ }
  byId("theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch { /* as above */ }
  });
}

theme();
ask("/api/info").then((info) => {
  const page = new Page(info);
  window.edge = page; // for tests and for who is curious
  page.follow();
}, (error) => {
  byId("link").textContent = String(error);
});
