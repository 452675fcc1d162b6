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

// ---- status ----------------------------------------------------------------------------------

async function poll() {
  for (;;) {
    const sent = performance.now();
    try {
      const reply = await ask("/api/status", { ms: 1500 });
      const told = await reply.json();
      const came = performance.now();
      clockAhead = told.server_ms - (sent + came) / 2;
      statusAt = came;
      run = told.run;
      showRun(told.max_objects);
    } catch {
      // The watchdog tells.
    }
    await sleep(POLL_MS);
  }
}

const ms = (value) => (value == null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`);

function clock(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const s = Math.floor(seconds);
  const minutes = Math.floor(s / 60);
  return minutes < 60 ? `${minutes}:${two(s % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(s % 60)}`;
}

function showRun(maxObjects) {
  const { source, model, recording } = run;
  const size = source.width ? `${source.width}×${source.height}, ${source.fps.toFixed(1)} fps` : "no picture";
  $("source").textContent = `${size} · model ${model.state}`;
  $("rec").hidden = !recording.on;
  $("rec-time").textContent = clock(recording.seconds);
  $("record").disabled = !recording.available;
  $("record").title = recording.available ? "" : "this run was started without a place for recordings";
  $("record").setAttribute("aria-pressed", recording.on);
  $("record-text").textContent = recording.on ? "Stop recording" : "Record";
  $("accept").dataset.full = run.objects.length >= maxObjects;
  showObjects();
  showProfiles();
  showFigures();
  showEvents();
}

const rows = new Map();
function showObjects() {
  const present = new Set(run.objects.map((object) => object.id));
  for (const [id, row] of rows) {
    if (!present.has(id)) {
      row.line.remove();
      rows.delete(id);
    }
  }
  for (const object of run.objects) {
    const row = rows.get(object.id) ?? addRow(object);
    if (row.said !== object.state) {
      say(`Object ${object.id} ${object.state}`);
      row.said = object.state;
    }
    row.state.textContent = object.state;
    row.state.className = `state ${object.state}`;
    const facts = [object.age_ms == null ? "no mask shown" : `mask ${ms(object.age_ms)} old`];
    if (object.distance != null) {
      facts.push(`distance ${object.distance.toFixed(3)}${object.limit == null ? "" : ` of ${object.limit.toFixed(3)}`}`);
    }
    if (object.predicted_iou != null) facts.push(`IoU ${object.predicted_iou.toFixed(2)}`);
    row.facts.textContent = facts.join(" · ");
  }
  $("no-objects").hidden = run.objects.length > 0;
  const ids = [...present].join();
  const target = $("target");
  if (target.dataset.ids !== ids) {
    const chosen = target.value;
    target.dataset.ids = ids;
    target.replaceChildren(new Option("new object", ""), ...[...present].map((id) => new Option(`instead of ${id}`, id)));
    target.value = present.has(Number(chosen)) ? chosen : "";
  }
}

function addRow(object) {
  const line = document.createElement("li");
  const state = document.createElement("span");
  const remove = document.createElement("button");
  const facts = document.createElement("span");
  const chip = document.createElement("span");
  chip.className = "number";
  const [r, g, b] = object.color;
  chip.style.background = `rgb(${r} ${g} ${b})`;
  chip.style.color = 0.3 * r + 0.59 * g + 0.11 * b > 130 ? "#000" : "#fff";
  chip.textContent = object.id;
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove object ${object.id}`);
  // Annotating takes work, so one stray touch does not undo it.
  remove.addEventListener("click", () => {
    if (remove.classList.contains("sure")) {
      attempt("Not removed", async () => {
        await ask("/api/remove", { json: { object: object.id } });
        say(`Object ${object.id} removed`);
      });
      return;
    }
    remove.classList.add("sure");
    remove.textContent = "Sure?";
    setTimeout(() => {
      remove.classList.remove("sure");
      remove.textContent = "Remove";
    }, 3000);
  });
  facts.className = "facts";
  line.append(chip, state, remove, facts);
  const after = [...rows.keys()].filter((id) => id > object.id).sort((a, b) => a - b)[0];
  $("objects").insertBefore(line, rows.get(after)?.line ?? null);
  const row = { line, state, facts, said: "" };
  rows.set(object.id, row);
  return row;
}

function showProfiles() {
  const select = $("profile");
  const names = run.profiles.join("\n");
  if (select.dataset.names !== names) {
    select.dataset.names = names;
    select.replaceChildren(...run.profiles.map((name) => new Option(name, name)));
  }
  if (document.activeElement !== select) select.value = run.profile;
}

function showFigures() {
  const { model, recording, disk_free_bytes: free } = run;
  const figures = [
    ["Model", `${model.state}${model.device ? `, ${model.device}` : ""}`, model.state === "failed" || model.state === "restarting"],
    ["Results", `${model.results_per_second.toFixed(1)} / s`, false],
    ["Delay added, p50", ms(run.delay_ms_p50), false],
    ["Delay added, p99", ms(run.delay_ms_p99), run.delay_ms_p99 > 5.75],
  ];
  if (free != null) figures.push(["Disk free", `${(free / 1e9).toFixed(1)} GB`, free < 5e9]);
  if (recording.available) figures.push(["Not recorded", `${recording.dropped} pictures`, recording.dropped > 0]);
  const cells = figures.flatMap(([name, value, bad]) => {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    dd.classList.toggle("bad", bad);
    return [dt, dd];
  });
  $("figures").replaceChildren(...cells);
}

function showEvents() {
  const events = run.events.slice(-50).reverse();
  const newest = events[0] ? `${events.length} ${events[0].seconds} ${events[0].text}` : "";
  if ($("events").dataset.newest === newest) return;
  $("events").dataset.newest = newest;
  $("events").replaceChildren(...events.map((event) => {
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clock(event.seconds);
    line.append(time, event.text);
    return line;
  }));
}

// ---- latency plot ----------------------------------------------------------------------------

async function plotLoop() {
  for (;;) {
    if (!document.hidden) {
      const points = await ask("/api/latency", { ms: 1500 }).then((reply) => reply.json()).catch(() => null);
      drawPlot(points ?? []);
    }
    await sleep(1000);
  }
}

function drawPlot(points) {
  const canvas = $("plot");
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const largest = Math.max(GOAL_MS * 1.25, ...points.flatMap((p) => [p.result_ms, p.mask_age_ms ?? 0]));
  const step = [50, 100, 200, 500, 1000, 2000, 5000, 10000].find((s) => largest / s <= 4) ?? 20000;
  const top = Math.ceil(largest / step) * step;
  const left = 44;
  const bottom = height - 18;
  const x = (ago) => width - 2 - (ago / 60) * (width - left - 2);
  const y = (value) => bottom - (value / top) * (bottom - 8);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = "#a3b1ba";
  pen.strokeStyle = "#2a343c";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (let value = 0; value <= top; value += step) {
    pen.beginPath();
    pen.moveTo(left, y(value));
    pen.lineTo(width, y(value));
    pen.stroke();
    pen.fillText(value >= 1000 ? `${value / 1000} s` : `${value} ms`, left - 5, y(value));
  }
  pen.textBaseline = "bottom";
  for (const ago of [60, 40, 20, 0]) {
    pen.textAlign = ago === 60 ? "left" : ago === 0 ? "right" : "center";
    pen.fillText(ago ? `−${ago} s` : "now", x(ago), height);
  }
  const line = (color, value) => {
    pen.strokeStyle = color;
    pen.lineWidth = 1.6;
    pen.beginPath();
    let last = null;
    for (const point of points) {
      const v = value(point);
      if (v == null) {
        last = null;
        continue;
      }
      // A gap in the results is a gap in the line.
      if (last === null || last - point.seconds_ago > 3) pen.moveTo(x(point.seconds_ago), y(v));
      else pen.lineTo(x(point.seconds_ago), y(v));
      last = point.seconds_ago;
    }
    pen.stroke();
  };
  pen.setLineDash([5, 4]);
  pen.strokeStyle = "#ff6b62";
  pen.beginPath();
  pen.moveTo(left, y(GOAL_MS));
  pen.lineTo(width, y(GOAL_MS));
  pen.stroke();
  pen.setLineDash([]);
  line("#6cb8ff", (p) => p.result_ms);
  line("#f2b94b", (p) => p.mask_age_ms);
  const newest = points.at(-1);
  canvas.setAttribute("aria-label", newest
    ? `Latency: model ${ms(newest.result_ms)}, mask age ${ms(newest.mask_age_ms)}`
    : "Latency: no results in the last 60 s");
}

// ---- annotating ------------------------------------------------------------------------------

async function freeze() {
  if (frozen || $("freeze").disabled) return;
  $("freeze").disabled = true;
  await attempt("Not frozen", async () => {
    const reply = await ask("/api/freeze", { json: {} });
    const image = await createImageBitmap(await reply.blob());
    const number = (name) => Number(reply.headers.get(name));
    const [width, height] = [number("x-width"), number("x-height")];
    frozen = { id: number("x-frozen"), width, height, image, marks: [], proposal: null, cross: null, asked: 0, served: 0, band: null, corner: null, busy: false };
    setKind("positive");
    $("target").value = "";
    $("live-tools").hidden = true;
    $("frozen-tools").hidden = false;
    $("inset").hidden = false;
    $("inset").append($("live"));
    $("frozen").hidden = false;
    $("frozen-canvas").focus({ preventScroll: true });
    hint("Click on the object, or drag a box around it.");
    draw();
  });
  $("freeze").disabled = false;
}

function thaw() {
  if (!frozen) return;
  frozen.image.close();
  frozen = null;
  $("stage").prepend($("live"));
  $("inset").hidden = true;
  $("frozen").hidden = true;
  $("frozen-tools").hidden = true;
  $("live-tools").hidden = false;
  $("working").hidden = true;
  hint("");
  $("freeze").focus({ preventScroll: true });
}

const hint = (text) => { $("hint").textContent = text; };

function setKind(chosen) {
  kind = chosen;
  for (const name of ["positive", "negative", "box"]) $(name).setAttribute("aria-pressed", name === chosen);
}

function mark(entry) {
  if (!frozen) return;
  if (entry.box) frozen.marks = frozen.marks.filter((other) => !other.box);
  frozen.marks.push(entry);
  marksChanged();
}

function undo() {
  if (!frozen) return;
  if (frozen.corner) frozen.corner = null;
  else frozen.marks.pop();
  marksChanged();
}

function marksChanged() {
  if (!frozen) return;
  frozen.asked++;
  draw();
  segment(frozen);
}

// Asks for the newest marks only; what was asked before them is not shown.
async function segment(held) {
  if (held.busy) return;
  held.busy = true;
  while (frozen === held && held.served !== held.asked) {
    const asked = held.asked;
    const points = held.marks.filter((m) => !m.box).map(({ x, y, positive }) => ({ x, y, positive }));
    const box = held.marks.find((m) => m.box)?.box ?? null;
    let proposal = null;
    if (box || points.some((p) => p.positive)) {
      $("working").hidden = false;
      try {
        const reply = await ask("/api/segment", { json: { frozen: held.id, prompt: { points, box } }, ms: 60000 });
        const tint = await tinted(await reply.blob());
        proposal = { tint, area: Number(reply.headers.get("x-area")), iou: Number(reply.headers.get("x-predicted-iou")) };
      } catch (error) {
        if (frozen === held && held.asked === asked) toast(`Not segmented: ${error.message}`);
      }
    } else if (points.length) {
      hint("Mark at least one point on the object, or a box.");
    }
    held.served = asked;
    if (frozen === held && held.asked === asked) {
      held.proposal = proposal;
      if (proposal) {
        const share = (100 * proposal.area) / (held.width * held.height);
        const text = proposal.area ? `Mask of ${share.toFixed(1)} % of the picture, predicted IoU ${proposal.iou.toFixed(2)}. Accept it, or mark more.` : "Nothing found there. Mark another point.";
        hint(text);
        say(text);
      }
      $("working").hidden = true;
      draw();
    }
  }
  held.busy = false;
}

// The mask as a coloured film with a bright edge.
async function tinted(png) {
  const image = await createImageBitmap(png);
  const sheet = new OffscreenCanvas(image.width, image.height);
  const pen = sheet.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  const { width, height } = image;
  image.close();
  const pixels = pen.getImageData(0, 0, width, height);
  const data = pixels.data;
  const inside = new Uint8Array(width * height);
  for (let i = 0; i < inside.length; i++) inside[i] = data[4 * i] > 127 ? 1 : 0;
  const reach = Math.max(1, Math.round(width / 640));
  for (let i = 0; i < inside.length; i++) {
    if (!inside[i]) {
      data[4 * i + 3] = 0;
      continue;
    }
    const edge = !(inside[i - reach] && inside[i + reach] && inside[i - reach * width] && inside[i + reach * width]);
    data.set(edge ? [120, 255, 210, 255] : [60, 220, 165, 85], 4 * i);
  }
  pen.putImageData(pixels, 0, 0);
  return sheet;
}

function draw() {
  const ready = frozen && frozen.proposal?.area > 0 && frozen.served === frozen.asked;
  const full = $("accept").dataset.full === "true" && !$("target").value;
  $("accept").disabled = !ready || full;
  $("accept").title = full ? "all numbers are taken: choose an object to replace" : "";
  $("undo").disabled = $("clear").disabled = !frozen?.marks.length && !frozen?.corner;
  if (!frozen) return;
  const canvas = $("frozen-canvas");
  const { by } = scale(canvas);
  const px = 1 / by; // one CSS pixel in the picture's
  // A small picture on a large screen gets a finer canvas, so that marks stay crisp.
  const fine = Math.min(Math.max(Math.ceil(by * devicePixelRatio - 0.1), 1), 4);
  if (canvas.width !== frozen.width * fine || canvas.height !== frozen.height * fine) {
    canvas.width = frozen.width * fine;
    canvas.height = frozen.height * fine;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(fine, 0, 0, fine, 0, 0);
  pen.drawImage(frozen.image, 0, 0, frozen.width, frozen.height);
  if (frozen.proposal) pen.drawImage(frozen.proposal.tint, 0, 0);
  const stroke = (path) => {
    for (const [color, width] of [["#000", 4.5], ["#ffe08a", 2.2]]) {
      pen.strokeStyle = color;
      pen.lineWidth = width * px;
      pen.beginPath();
      path();
      pen.stroke();
    }
  };
  const boxes = frozen.marks.filter((m) => m.box).map((m) => m.box);
  if (frozen.band) boxes.push(frozen.band);
  if (frozen.corner && frozen.cross) boxes.push(ordered(frozen.corner, frozen.cross));
  for (const [l, t, r, b] of boxes) stroke(() => pen.rect(l, t, r - l, b - t));
  for (const { x, y, positive } of frozen.marks.filter((m) => !m.box)) {
    pen.beginPath();
    pen.arc(x, y, 8 * px, 0, 2 * Math.PI);
    pen.fillStyle = positive ? "#2fe0a2" : "#ff5a4f";
    pen.fill();
    pen.lineWidth = 2 * px;
    pen.strokeStyle = "#000";
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x - 4 * px, y);
    pen.lineTo(x + 4 * px, y);
    if (positive) {
      pen.moveTo(x, y - 4 * px);
      pen.lineTo(x, y + 4 * px);
    }
    pen.stroke();
  }
  if (frozen.cross) {
    const { x, y } = frozen.cross;
    stroke(() => {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(x + dx * 5 * px, y + dy * 5 * px);
        pen.lineTo(x + dx * 22 * px, y + dy * 22 * px);
      }
    });
  }
}

function scale(canvas) {
  const area = canvas.getBoundingClientRect();
  const by = Math.min(area.width / frozen.width, area.height / frozen.height) || 1;
  return {
    by,
    left: area.left + (area.width - frozen.width * by) / 2,
    top: area.top + (area.height - frozen.height * by) / 2,
  };
}

// Where an event is in the held picture, kept inside of it.
function place(event) {
  const { by, left, top } = scale($("frozen-canvas"));
  return inside({ x: (event.clientX - left) / by, y: (event.clientY - top) / by });
}

const inside = ({ x, y }) => ({
  x: Math.min(Math.max(x, 0), frozen.width - 0.01),
  y: Math.min(Math.max(y, 0), frozen.height - 0.01),
});

const ordered = (a, b) => [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];

let press = null;
function pointerDown(event) {
  if (!frozen || event.button > 2 || !event.isPrimary) return;
  event.preventDefault();
  const canvas = $("frozen-canvas");
  canvas.focus({ preventScroll: true, focusVisible: false });
  canvas.setPointerCapture(event.pointerId);
  frozen.cross = null;
  frozen.corner = null;
  press = { x: event.clientX, y: event.clientY, from: place(event), moved: false };
}

function pointerMove(event) {
  if (!press || !frozen) return;
  press.moved ||= Math.hypot(event.clientX - press.x, event.clientY - press.y) > DRAG_PX;
  const boxes = event.buttons === 1 && (kind === "box" || event.pointerType !== "touch");
  if (press.moved && boxes) {
    frozen.band = ordered(press.from, place(event));
    draw();
  }
}

function pointerUp(event) {
  if (!press || !frozen) return;
  const band = frozen.band;
  const { from, moved } = press;
  press = null;
  frozen.band = null;
  if (band) {
    if (band[2] - band[0] >= 2 && band[3] - band[1] >= 2) mark({ box: band });
  } else if (kind === "box" && event.button === 0 && !event.shiftKey) {
    hint("Drag from one corner of the object to the other.");
  } else if (!moved || event.pointerType !== "touch") {
    const positive = kind !== "negative" && event.button !== 2 && !event.shiftKey;
    mark({ ...from, positive });
  }
  draw();
}

function moveCross(key, far) {
  const step = (far ? 0.05 : 0.01) * frozen.width;
  const { x, y } = frozen.cross ?? { x: frozen.width / 2, y: frozen.height / 2 };
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  frozen.cross = inside({ x: x + dx * step, y: y + dy * step });
  draw();
}

function markAtCross() {
  frozen.cross ??= { x: frozen.width / 2, y: frozen.height / 2 };
  if (kind !== "box") {
    mark({ ...frozen.cross, positive: kind === "positive" });
  } else if (frozen.corner) {
    const box = ordered(frozen.corner, frozen.cross);
    frozen.corner = null;
    if (box[2] - box[0] >= 2 && box[3] - box[1] >= 2) mark({ box });
  } else {
    frozen.corner = { ...frozen.cross };
    hint("Move the cross to the other corner and press space again.");
  }
  draw();
}

const target = () => ($("target").value ? Number($("target").value) : null);

async function accept() {
  const held = frozen;
  if (!held || $("accept").disabled) return;
  await attempt("Not accepted", async () => {
    $("accept").disabled = true;
    hint("Learning the object …");
    const reply = await ask("/api/accept", { json: { frozen: held.id, object: target() }, ms: 60000 });
    const { object } = await reply.json();
    if (frozen === held) thaw();
    toast(`Object ${object} is being followed`, true);
  });
  draw();
}

async function upload() {
  const file = $("file").files[0];
  $("file").value = "";
  const held = frozen;
  if (!file || !held) return;
  await attempt("Mask not taken", async () => {
    const object = target();
    const path = `/api/upload?frozen=${held.id}${object ? `&object=${object}` : ""}`;
    const reply = await ask(path, { body: file, ms: 60000 });
    const told = await reply.json();
    if (frozen === held) thaw();
    toast(`Object ${told.object} is being followed`, true);
  });
}

// ---- other commands --------------------------------------------------------------------------

async function record() {
  if (!run || $("record").disabled) return;
  const on = !run.recording.on;
  await attempt(on ? "Not recording" : "Not stopped", async () => {
    await ask("/api/record", { json: { on } });
    say(on ? "Recording" : "Recording stopped");
  });
}

async function snapshot() {
  await attempt("No snapshot", async () => {
    const blob = await (await ask("/api/snapshot")).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    link.download = `p2sam-${stamp}.${blob.type === "image/png" ? "png" : "jpg"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("Snapshot saved");
  });
}

async function setProfile() {
  const name = $("profile").value;
  await attempt("Profile not changed", () => ask("/api/profile", { json: { name } }));
  $("profile").blur();
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const on = event.target;
  if (on.matches?.("select, input")) return;
  const pressesButton = on.matches?.("button") && (event.key === " " || event.key === "Enter");
  if (pressesButton) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const always = { r: record, s: snapshot, "?": () => $("help").showModal() };
  const whileLive = { " ": freeze };
  const whileFrozen = {
    " ": markAtCross,
    Enter: accept,
    Escape: thaw,
    z: undo,
    p: () => setKind("positive"),
    n: () => setKind("negative"),
    b: () => setKind("box"),
  };
  for (const arrow of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
    if (on.id !== "events") whileFrozen[arrow] = () => moveCross(arrow, event.shiftKey);
  }
  const action = (frozen ? whileFrozen : whileLive)[name] ?? always[name];
  const repeats = name.startsWith("Arrow");
  if (!action || (event.repeat && !repeats)) return;
  event.preventDefault();
  action();
}

// ---- start -----------------------------------------------------------------------------------

const click = (id, action) => $(id).addEventListener("click", action);
click("freeze", freeze);
click("record", record);
click("snapshot", snapshot);
click("help-open", () => $("help").showModal());
for (const name of ["positive", "negative", "box"]) click(name, () => setKind(name));
click("undo", undo);
click("clear", () => {
  if (!frozen) return;
  frozen.marks = [];
  frozen.corner = null;
  hint("Click on the object, or drag a box around it.");
  marksChanged();
});
click("accept", accept);
click("cancel", thaw);
click("upload", () => $("file").click());
$("file").addEventListener("change", upload);
$("target").addEventListener("change", draw);
$("profile").addEventListener("change", setProfile);
const canvas = $("frozen-canvas");
canvas.addEventListener("pointerdown", pointerDown);
canvas.addEventListener("pointermove", pointerMove);
canvas.addEventListener("pointerup", pointerUp);
canvas.addEventListener("pointercancel", () => {
  press = null;
  if (frozen) frozen.band = null;
  draw();
});
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
document.addEventListener("keydown", key);
addEventListener("resize", draw);

setInterval(guardPicture, 200);
guardPicture();
poll();
plotLoop();
watch();
