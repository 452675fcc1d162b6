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
