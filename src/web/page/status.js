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
  $("rec").classList.toggle("failing", recording.problem != null);
  $("rec-time").textContent = recording.problem == null ? clock(recording.seconds) : "not recorded";
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

// States in plain words.
const WORDS = {
  tracking: "in view",
  uncertain: "not sure",
  lost: "not in view",
  searching: "not in view",
  suspended: "suspended",
};

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
    const state = object.suspended == null ? object.state : "suspended";
    if (row.said !== state) {
      say(`Object ${object.id} ${WORDS[state]}`);
      row.said = state;
    }
    row.state.textContent = WORDS[state];
    row.state.className = `state ${state}`;
    const facts = [object.age_ms == null ? "no mask shown" : `mask ${ms(object.age_ms)} old`];
    if (object.suspended != null) facts.push(object.suspended);
    if (object.probability != null) facts.push(`${Math.round(100 * object.probability)} % sure`);
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
  if (recording.available) {
    const lost = recording.dropped + recording.lines_dropped;
    figures.push(["Not recorded", `${recording.dropped} pictures, ${recording.lines_dropped} results`, lost > 0]);
  }
  if (recording.problem != null) figures.push(["Recording", recording.problem, true]);
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

