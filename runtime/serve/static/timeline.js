// Actions of the last hour: a lane for each camera and action, and the latest as a list.

const SPAN_S = 3600;
const MOST = 3000;
const LANES = 6; // of each camera
const LISTED = 12;

export class Timeline {
  constructor(lanes, list, nothing, colour) {
    this.lanes = lanes;
    this.list = list;
    this.nothing = nothing;
    this.colour = colour;
    this.cameras = [];
    this.actions = new Map();
    this.waiting = false;
  }

  replace(actions) {
    this.actions.clear();
    for (const action of actions) this.actions.set(action.event_id, action);
    this.draw();
  }

  add(event) {
    const action = { ...event, ended: event.phase === "end" };
    this.actions.delete(event.event_id);
    this.actions.set(event.event_id, action);
    while (this.actions.size > MOST) this.actions.delete(this.actions.keys().next().value);
    // Many at once are drawn once.
    if (!this.waiting) {
      this.waiting = true;
      setTimeout(() => {
        this.waiting = false;
        this.draw();
      }, 500);
    }
  }

  draw() {
    const now = Date.now() / 1000;
    const lanes = new Map();
    for (const [id, action] of this.actions) {
      const end = action.ended ? action.started + action.duration_s : now;
      if (end < now - SPAN_S) {
        this.actions.delete(id);
        continue;
      }
      const key = `${action.camera}\n${action.action}`;
      const lane = lanes.get(key) || { camera: action.camera, action: action.action, total: 0, spans: [] };
      lane.total += end - action.started;
      lane.spans.push([action.started, end]);
      lanes.set(key, lane);
    }
    this.nothing.hidden = lanes.size > 0;
    const shown = [];
    for (const camera of this.cameras) {
      const own = [...lanes.values()].filter((lane) => lane.camera === camera);
      shown.push(...own.sort((a, b) => b.total - a.total).slice(0, LANES));
    }
    this.lanes.replaceChildren(...shown.map((lane) => this.lane(lane, now)));
    const newest = [...this.actions.values()].sort((a, b) => b.started - a.started);
    this.list.replaceChildren(...newest.slice(0, LISTED).map(entry));
  }

  lane({ camera, action, total, spans }, now) {
    const node = document.createElement("div");
    node.className = "lane";
    const name = document.createElement("span");
    name.className = "name";
    const bold = document.createElement("b");
    bold.textContent = action;
    name.append(`${camera} `, bold);
    name.title = `${spans.length} times, ${Math.round(total)} s in all`;
    const bars = document.createElement("div");
    bars.className = "bars";
    bars.role = "img";
    bars.ariaLabel = `${camera}: ${action}, ${spans.length} times, ${Math.round(total)} seconds in all`;
    for (const [from, to] of merged(spans)) {
      const bar = document.createElement("i");
      const left = Math.max(0, 1 - (now - from) / SPAN_S);
      bar.style.left = `${left * 100}%`;
      bar.style.width = `${Math.max(0, (to - Math.max(from, now - SPAN_S)) / SPAN_S) * 100}%`;
      bar.style.background = this.colour(action);
      bar.title = `${clock(from)} ${action}, ${(to - from).toFixed(1)} s`;
      bars.append(bar);
    }
    node.append(name, bars);
    return node;
  }
}

// Spans that overlap are one bar: several people may do the same.
function merged(spans) {
  const sorted = [...spans].sort((a, b) => a[0] - b[0]);
  const found = [];
  for (const [from, to] of sorted) {
    const last = found.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}

function entry(action) {
  const node = document.createElement("li");
  const when = document.createElement("time");
  when.dateTime = new Date(action.started * 1000).toISOString();
  when.textContent = clock(action.started);
  const what = document.createElement("b");
  what.textContent = action.action;
  const how = action.ended ? `${action.duration_s.toFixed(1)} s` : "continues";
  node.append(when, what, ` ${action.camera}, person ${action.person}, ${action.score.toFixed(2)}, ${how}`);
  return node;
}
