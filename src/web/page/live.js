"use strict";
// The operator's page. Two rules: a picture never looks live when it is not, and only the answer to
// the newest marks is shown.

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const POLL_MS = 400; // status
const SILENT_MS = 2000; // without a status the connection counts as lost
const OLD_MS = 1500; // without a new picture it counts as stale
const GOAL_MS = 120; // mask age
const DRAG_PX = 6; // less is a click

let run = null; // newest status of the run
let statusAt = -Infinity; // when it came
let clockAhead = null; // server's clock minus ours, ms
let picture = null; // { at: arrival, server: ms on the server's clock }
let streamError = "";
let frozen = null; // { id, width, height, image, marks, proposal, cross }
let kind = "positive";

// ---- talking to the server -------------------------------------------------------------------

async function ask(path, { json, body, ms = 8000 } = {}) {
  const options = { cache: "no-store", signal: AbortSignal.timeout(ms) };
  if (json !== undefined || body !== undefined) {
    options.method = "POST";
    options.body = body ?? JSON.stringify(json);
    options.headers = {
      "x-p2sam": "1",
      "content-type": body === undefined ? "application/json" : "application/octet-stream",
    };
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "p2sam did not answer in time" : "no connection to p2sam");
  }
  if (reply.status === 401) location.reload();
  if (!reply.ok) {
    const told = await reply.json().catch(() => null);
    throw new Error(told?.error ?? `p2sam answered ${reply.status}`);
  }
  return reply;
}

// Runs a command of the operator and tells what went wrong.
async function attempt(what, action) {
  try {
    return await action();
  } catch (error) {
    toast(`${what}: ${error.message}`);
    return undefined;
  }
}

function toast(text, good = false) {
  const line = document.createElement("p");
  line.textContent = text;
  line.classList.toggle("good", good);
  $("toasts").append(line);
  while ($("toasts").children.length > 3) $("toasts").firstChild.remove();
  setTimeout(() => line.remove(), good ? 3500 : 8000);
}

const say = (text) => { $("spoken").textContent = text; };

// ---- live picture ----------------------------------------------------------------------------

async function watch() {
  for (;;) {
    if (document.hidden) {
      await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
      continue;
    }
    const abort = new AbortController();
    const hide = () => document.hidden && abort.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const reply = await fetch("/stream.mjpeg", { cache: "no-store", signal: abort.signal });
      if (!reply.ok) throw new Error((await reply.json()).error);
      streamError = "";
      await readParts(reply.body.getReader());
    } catch (error) {
      streamError = error.name === "TypeError" || error.name === "AbortError" ? "" : error.message;
    }
    document.removeEventListener("visibilitychange", hide);
    await sleep(700);
  }
}

// Reads `multipart/x-mixed-replace`; a picture that comes while one is decoded replaces the waiting.
async function readParts(reader) {
  let held = new Uint8Array(0);
  const more = async () => {
    const { done, value } = await reader.read();
    if (done) throw new TypeError("the stream has ended");
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
  };
  for (;;) {
    let end;
    while ((end = headEnd(held)) < 0) await more();
    const head = new TextDecoder().decode(held.subarray(0, end));
    const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? NaN);
    if (!(length < 1e8)) throw new Error("the stream is malformed");
    while (held.length < end + length) await more();
    const jpeg = new Blob([held.subarray(end, end + length)], { type: "image/jpeg" });
    held = held.slice(end + length);
    show(jpeg, Number(/x-server-ms: *(\d+)/i.exec(head)?.[1] ?? 0));
  }
}

function headEnd(bytes) {
  for (let i = 0; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i + 4;
  }
  return -1;
}

let decoding = false;
let waiting = null;
async function show(jpeg, server) {
  waiting = { jpeg, server };
  if (decoding) return;
  decoding = true;
  while (waiting) {
    const next = waiting;
    waiting = null;
    const image = await createImageBitmap(next.jpeg).catch(() => null);
    if (!image) continue;
    paint($("live-canvas"), image);
    image.close();
    picture = { at: performance.now(), server: next.server };
  }
  decoding = false;
}

function paint(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
}

// What is wrong with the live picture: [word, why], or null.
function fault() {
  const now = performance.now();
  const seconds = (ms) => `${(ms / 1000).toFixed(0)} s`;
  if (!run && statusAt === -Infinity && now < SILENT_MS) return ["CONNECTING", "waiting for p2sam"];
  if (now - statusAt > SILENT_MS) {
    const since = Number.isFinite(statusAt) ? now - statusAt : now;
    return ["NO CONNECTION", `no answer from p2sam for ${seconds(since)}; trying again`];
  }
  const source = run.source;
  if (source.state === "starting") return ["STARTING", "the source is starting"];
  if (source.state !== "running") {
    const why = { stalled: "the source gives no pictures", rebuilding: "the source is being rebuilt", ended: "the source has ended" }[source.state];
    return ["STALE", source.age_ms == null ? why : `${why}; last picture ${seconds(source.age_ms)} ago`];
  }
  if (!picture) return streamError ? ["NO PICTURE", streamError] : ["CONNECTING", "waiting for the first picture"];
  const delay = clockAhead === null ? 0 : now + clockAhead - picture.server;
  const age = Math.max(now - picture.at, delay, 0);
  if (age > Math.max(OLD_MS, 3000 / Math.max(source.fps, 0.1))) {
    return ["STALE", streamError || `no new picture for ${seconds(age)}`];
  }
  return null;
}

let faultSaid = "";
function guardPicture() {
  const wrong = fault();
  $("fault").hidden = !wrong;
  $("live").classList.toggle("faulty", !!wrong);
  $("live-mark").hidden = !!wrong;
  document.body.classList.toggle("offline", wrong?.[0] === "NO CONNECTION");
  // The word is an alert: it is written once, not five times a second.
  if ((wrong?.[0] ?? "") !== faultSaid) {
    faultSaid = wrong?.[0] ?? "";
    $("fault-word").textContent = faultSaid;
    if (!wrong) say("The picture is live");
  }
  if ($("fault-why").textContent !== (wrong?.[1] ?? "")) $("fault-why").textContent = wrong?.[1] ?? "";
}

