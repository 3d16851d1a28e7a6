// A camera's picture with what was found in it: boxes are of an earlier moment (the middle of the
// clip), so pictures wait until their result is there.

const KEPT_S = 6;
// Where decisions are dropped, or a file is slower than its own time, results are further apart.
const LEAST_REACH_S = 0.6;
const RECENT_MS = 3000;

export function colourOf(index) {
  const hue = ((0.08 + index * 0.618033988749895) % 1) * 360;
  return `hsl(${hue.toFixed(0)} ${index % 2 ? 75 : 90}% 62%)`;
}

export class View {
  constructor(canvas, wait, classes) {
    this.canvas = canvas;
    this.wait = wait;
    this.classes = classes;
    this.frames = [];
    this.results = [];
    this.delay = 1;
    this.stride = 0.3;
    this.offset = null;
    this.shown = -1;
    this.pictures = 0;
    this.boxes = 0;
    this.busy = false;
  }

  addFrame(frame) {
    const last = this.frames.at(-1);
    if (last && frame.t < last.t) this.clear(); // the source began again
    this.frames.push(frame);
    const now = performance.now() / 1000 - frame.t;
    // The smallest is the frame that was least delayed on its way; slowly forgotten.
    this.offset = this.offset === null ? now : Math.min(now, this.offset + 0.002);
    while (this.frames.length > 1 && this.frames[0].t < frame.t - KEPT_S) this.frames.shift();
  }

  addResult(result) {
    const last = this.results.at(-1);
    if (last && result.keyframe_t < last.keyframe_t) this.results = [];
    this.results.push(result);
    this.told = performance.now();
    if (this.results.length > 60) this.results.shift();
  }

  clear() {
    this.frames = [];
    this.results = [];
    this.offset = null;
    this.shown = -1;
  }

  // Shows the newest picture that is old enough.
  async tick() {
    if (this.busy || this.offset === null) return;
    let due = performance.now() / 1000 - this.offset - this.delay;
    const newest = this.results.at(-1);
    if (newest && performance.now() - this.told < RECENT_MS) {
      due = Math.min(due, newest.keyframe_t + this.stride);
    }
    let found = null;
    for (const frame of this.frames) if (frame.t <= due) found = frame;
    if (!found && this.shown < 0) found = this.frames[0];
    if (!found || found.t === this.shown) return;
    this.busy = true;
    try {
      const picture = await createImageBitmap(found.blob);
      this.shown = found.t;
      this.draw(picture, found.t);
      picture.close();
      this.pictures += 1;
      this.wait.textContent = "";
    } catch { /* a picture that cannot be decoded is left out */ }
    this.busy = false;
  }

  resultAt(t) {
    const reach = Math.max(this.stride, LEAST_REACH_S);
    let best = null;
    for (const result of this.results) {
      const away = Math.abs(result.keyframe_t - t);
      if (away <= reach && (!best || away < Math.abs(best.keyframe_t - t))) best = result;
    }
    return best;
  }

  draw(picture, t) {
    const { canvas } = this;
    const sharp = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.round(Math.max(320, canvas.clientWidth) * sharp);
    const height = Math.round((width * picture.height) / picture.width);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, width, height);
    const result = this.resultAt(t);
    this.boxes = result ? result.detections.length : 0;
    if (result) this.drawBoxes(context, result, sharp);
  }

  drawBoxes(context, result, sharp) {
    const { width, height } = context.canvas;
    const [w, h] = this.size || [width, height];
    context.font = `${13 * sharp}px system-ui, sans-serif`;
    context.textBaseline = "top";
    context.lineWidth = 2 * sharp;
    const leading = 16 * sharp;
    const taken = [];
    // The best come first: they get their labels where they want them, and lie above the others.
    const all = result.detections.map((found) => ({
      box: found.xyxy.map((v, i) => (i % 2 ? (v * height) / h : (v * width) / w)),
      ...described(found, this.classes),
    }));
    for (const { box: [x1, y1, x2, y2], colour, second } of [...all].reverse()) {
      context.globalAlpha = second ? 0.4 : 1;
      context.strokeStyle = "rgb(0 0 0 / .6)";
      context.strokeRect(x1 - sharp, y1 - sharp, x2 - x1 + 2 * sharp, y2 - y1 + 2 * sharp);
      context.strokeStyle = colour;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    context.globalAlpha = 1;
    for (const { box: [x1, y1, , y2], colour, second, lines } of all) {
      if (second) continue;
      const wide = Math.max(...lines.map((line) => context.measureText(line).width)) + 8 * sharp;
      const high = lines.length * leading;
      const x = Math.max(0, Math.min(x1, width - wide));
      const y = [y1 - high - 2 * sharp, y1 + 2 * sharp, y2 - high, y2 + 2 * sharp].find(
        (top) => top >= 0 && top + high <= height
          && !taken.some((other) => overlap(other, { x, y: top, wide, high })),
      );
      if (y === undefined) continue;
      taken.push({ x, y, wide, high });
      context.fillStyle = colour;
      context.fillRect(x, y, wide, high);
      context.fillStyle = "#000";
      lines.forEach((line, i) => context.fillText(line, x + 4 * sharp, y + i * leading + 1.5 * sharp));
    }
  }
}

// What is written at a box. A second box on somebody has no number, and no label.
function described(found, classes) {
  const actions = Object.entries(found.actions).slice(0, 3);
  const colour = actions.length ? colourOf(classes.indexOf(actions[0][0])) : "#c8c8c8";
  const lines = actions.map(([name, score]) => `${name} ${score.toFixed(2)}`);
  if (!lines.length) lines.push(`person ${found.actor.toFixed(2)}`);
  if (found.person !== null) lines[0] = `#${found.person} ${lines[0]}`;
  return { colour, lines, second: found.person === null };
}

function overlap(a, b) {
  return a.x < b.x + b.wide && b.x < a.x + a.wide && a.y < b.y + b.high && b.y < a.y + a.high;
}
