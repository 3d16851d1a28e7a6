// Reads multipart JPEG of all cameras over one connection: browsers allow six for each server.

const HEAD_END = [13, 10, 13, 10];

function indexOf(bytes, pattern, from) {
  outer: for (let at = bytes.indexOf(pattern[0], from); at >= 0; at = bytes.indexOf(pattern[0], at + 1)) {
    for (let i = 1; i < pattern.length; i++) if (bytes[at + i] !== pattern[i]) continue outer;
    return at;
  }
  return -1;
}

function joined(a, b) {
  if (!a.length) return b;
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

// Calls take({camera, t, blob}) for each picture until the stream ends.
async function read(body, take) {
  const reader = body.getReader();
  let bytes = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    bytes = joined(bytes, value);
    for (;;) {
      const end = indexOf(bytes, HEAD_END, 0);
      if (end < 0) break;
      const head = new TextDecoder().decode(bytes.subarray(0, end));
      const field = (name) => new RegExp(`^${name}: *(.*)$`, "im").exec(head)?.[1].trim();
      const size = Number(field("Content-Length"));
      if (!(size >= 0)) throw new Error("a picture does not say its size");
      if (bytes.length < end + 4 + size) break;
      const blob = new Blob([bytes.slice(end + 4, end + 4 + size)], { type: "image/jpeg" });
      take({ camera: field("X-Camera"), t: Number(field("X-Time")), blob });
      bytes = bytes.slice(end + 4 + size);
    }
  }
}

// Follows pictures while the page is looked at, and comes back when the server does.
export function followFrames(take) {
  let abort = null;
  async function run() {
    while (!document.hidden) {
      abort = new AbortController();
      try {
        const response = await fetch("/api/stream", { signal: abort.signal });
        if (response.ok) await read(response.body, take);
      } catch { /* the server went, or the page was hidden: both are tried again below */ }
      await new Promise((wake) => setTimeout(wake, 1500));
    }
    abort = null;
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) abort?.abort();
    else if (!abort) run();
  });
  run();
}
