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

