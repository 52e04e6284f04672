// The page: shows what /api/v1/events sends each second, and asks for changes. What comes from outside is text, never HTML.
"use strict";

const SECONDS_MAX = 120;
const find = (id) => document.getElementById(id);
const token = () => sessionStorage.getItem("token");
const history = new Map();
const rows = new Map();
let shown = null;
let changed = null;

// An element with attributes and children; texts stay texts.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  return fetch(path, { ...options, headers, cache: "no-store" });
}

// Listens for ever. Not with EventSource, which cannot send a token.
async function listen() {
  for (;;) {
    try {
      const response = await ask("api/v1/events");
      if (response.status === 401) {
        await askForToken();
        continue;
      }
      if (!response.ok) throw new Error((await problem(response)).detail);
      await read(response.body);
      lost("");
    } catch (error) {
      lost(`: ${error.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function askForToken() {
  const form = find("ask");
  const was = token();
  form.hidden = false;
  link("waiting", was ? "that is not the token" : "waiting for the token");
  find("token").value = "";
  find("token").focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", find("token").value.trim());
      form.hidden = true;
      resolve();
    };
  });
}

// Events stand between empty lines: "event: NAME" and "data: JSON".
async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [, name] = event.match(/^event: (.*)$/m) ?? [];
      const [, data] = event.match(/^data: (.*)$/m) ?? [];
      if (data && name === "history") begin(JSON.parse(data));
      if (data && name === "snapshot") show(JSON.parse(data));
    }
  }
}

function begin(past) {
  history.clear();
  // The newest comes again with the snapshot.
  for (const [pool, points] of Object.entries(past)) history.set(pool, points.slice(0, -1));
}

// What is shown stays, and must not be taken for what is.
function lost(why) {
  link("lost", `connection lost${why}${shown ? `; this is from ${when(shown)}` : ""}`);
}

function link(state, words) {
  find("link").dataset.state = state;
  say("link", words);
}

function say(id, words) {
  const element = typeof id === "string" ? find(id) : id;
  if (element.textContent !== words) element.textContent = words;
}

// A number and its unit are one word: spaces that do not break.
const GAP = "\u00a0";

// Exact for as long as a cell has room.
const count = (number) => (number < 1e10 ? number.toLocaleString("en-US") : `${(number / 1e9).toFixed(2)}${GAP}bn`);

const UNITS = [[1, "µs"], [1e3, "ms"], [1e6, "s"], [6e7, "min"], [3.6e9, "h"], [8.64e10, "d"]];

// Three digits in the largest unit of which there is one, after rounding: 999.9 µs are 1.00 ms.
function micros(time) {
  if (time === null || time === undefined) return "–";
  const [size, unit] = UNITS.findLast(([size]) => Number(time.toPrecision(3)) >= size) ?? UNITS[0];
  if (time > 0 && time < 0.5) return `<${GAP}1${GAP}µs`;
  const number = time / size;
  const decimals = unit === "µs" || number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
  return `${number.toFixed(decimals)}${GAP}${unit}`;
}

function span(seconds) {
  const whole = Math.floor(seconds);
  const parts = (...all) => all.join(GAP);
  if (whole < 60) return parts(whole, "s");
  if (whole < 3600) return parts(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return parts(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return parts(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

// The time of today, otherwise with the day.
function when(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString();
}

function rate(number) {
  return number >= 10 ? count(Math.round(number)) : number.toFixed(1).replace(".0", "");
}

function show(now) {
  shown = new Date();
  link("live", "live");
  say("version", now.version);
  say("state", now.state);
  say("sessions", count(now.sessions));
  say("sessions-max", `of${GAP}${count(now.sessions_max)}`);
  say("accepted", count(now.accepted));
  say("uptime", span(now.uptime_seconds));
  say("generation", `no. ${now.generation}`);
  say("rate", rate(now.pools.reduce((sum, pool) => sum + pool.now.rate, 0)));
  document.title = `ringway: ${count(now.sessions)} sessions`;
  showPools(now.pools);
  showStories(now);
}

// Elements stay while what they show is there: focus and what is being typed must outlive the second.
function showPools(pools) {
  const parent = find("pools");
  parent.querySelector(":scope > .nothing")?.remove();
  const names = new Set(pools.map((pool) => pool.name));
  for (const [name, pool] of rows) {
    if (!names.has(name)) {
      pool.element.remove();
      rows.delete(name);
    }
  }
  for (const pool of pools) {
    if (!rows.has(pool.name)) {
      rows.set(pool.name, newPool(pool));
      parent.append(rows.get(pool.name).element);
    }
    showPool(rows.get(pool.name), pool);
  }
}

// Each column has its width in page.css. On a narrow screen rows are laid out as blocks, which takes from a table what it is
// to those who hear it: so the roles are said.
const HEADS = { name: "backend", health: "state", active: "sessions", picked: "picked", p50: "p50", p99: "p99", share: "weight", do: "mode" };

function newPool(pool) {
  const body = make("tbody", { role: "rowgroup" });
  const about = make("span", { class: "soft" });
  const charts = make("div", { class: "charts" });
  const lines = ["rate", "p50_us", "p99_us"].map((key) => newLine(charts, key));
  const heads = Object.entries(HEADS).map(([key, text]) => make("th", { scope: "col", role: "columnheader", class: key }, text));
  const head = make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads));
  const element = make(
    "section",
    { "aria-label": `Pool ${pool.name}` },
    make("div", { class: "pool-head" }, make("h2", {}, pool.name), about),
    charts,
    make("table", { role: "table", "aria-label": `Backends of ${pool.name}` }, head, body),
  );
  return { element, about, lines, body, backends: new Map() };
}

// Names and addresses may break between their parts, before they have to within one.
const breakable = (text) => text.split(/(?<=[:./])/).flatMap((part) => [make("wbr"), part]);

const LINES = { rate: "sessions a second", p50_us: "p50", p99_us: "p99" };

// Between zero and the highest value of these seconds, which is said below: each line has a scale of its own.
function newLine(parent, key) {
  const now = make("b");
  const scale = make("span");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", key === "p99_us" ? "line p99" : "line");
  svg.setAttribute("viewBox", `0 0 ${SECONDS_MAX - 1} 40`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.append(path);
  const axes = make("div", { class: "axes", "aria-hidden": "true" }, make("span", {}, `${SECONDS_MAX / 60}${GAP}min ago`), scale);
  parent.append(make("figure", {}, make("figcaption", {}, make("span", {}, LINES[key]), now), svg, axes));
  return { key, now, scale, svg, path };
}

function showPool(seen, pool) {
  const up = pool.backends.filter((backend) => backend.state === "up" && backend.mode === "ready").length;
  const parts = [pool.algorithm, `${up} of ${pool.backends.length} serve`];
  if (pool.shadows.length) parts.push(`shadows: ${pool.shadows.join(", ")}`);
  if (pool.queued) parts.push(`${count(pool.queued)} wait`);
  say(seen.about, parts.join(" · "));

  const points = history.get(pool.name) ?? [];
  points.push(pool.now);
  if (points.length > SECONDS_MAX) points.shift();
  history.set(pool.name, points);
  for (const line of seen.lines) showLine(line, points);

  const names = new Set(pool.backends.map((backend) => backend.name));
  for (const [name, row] of seen.backends) {
    if (!names.has(name)) {
      row.element.remove();
      seen.backends.delete(name);
    }
  }
  for (const backend of pool.backends) {
    if (!seen.backends.has(backend.name)) {
      const row = newBackend(pool.name, backend);
      seen.backends.set(backend.name, row);
      seen.body.append(row.element);
    }
    showBackend(seen.backends.get(backend.name), backend);
  }
}

// Seconds without a value are gaps, not zeros.
function showLine(line, points) {
  const values = points.map((point) => point[line.key]);
  const known = values.filter((value) => value !== null);
  const most = Math.max(...known, 0) || 1;
  const first = SECONDS_MAX - values.length;
  let path = "";
  let drawing = false;
  values.forEach((value, index) => {
    if (value === null) {
      drawing = false;
      return;
    }
    const x = first + index;
    const y = (40 - (value / most) * 40).toFixed(1);
    // One second alone is a short stroke.
    path += drawing ? `L${x} ${y}` : `M${Math.max(x - 0.5, 0)} ${y}L${x} ${y}`;
    drawing = true;
  });
  line.path.setAttribute("d", path);
  const words = line.key === "rate" ? rate : micros;
  const now = values.at(-1);
  say(line.now, now === null ? "–" : words(now));
  say(line.scale, known.some((value) => value > 0) ? `0 to ${words(most)}` : "");
  const label = `${LINES[line.key]}: now ${now === null ? "unknown" : words(now)}, at most ${words(Math.max(...known, 0))} in the last ${values.length} seconds`;
  line.svg.setAttribute("aria-label", label);
}

const MODES = { ready: "Ready", drain: "Drain", maintenance: "Maintain" };

function newBackend(pool, backend) {
  const path = `api/v1/pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(backend.name)}`;
  // Two pools may have a backend of the same name.
  const whose = `${backend.name} in pool ${pool}`;
  const cell = (key, ...children) => make("td", { role: "cell", class: key, "data-label": HEADS[key] }, ...children);
  const name = make("th", { scope: "row", role: "rowheader", class: "name" }, make("b", {}, ...breakable(backend.name)));
  if (backend.address !== backend.name) name.append(" ", make("span", {}, ...breakable(backend.address)));
  const mark = make("span", { class: "mark" });
  const backup = make("span", { class: "mark" }, "backup");
  const why = make("span");
  const since = make("span", { class: "time" });
  const cells = { active: cell("active"), picked: cell("picked"), p50_us: cell("p50"), p99_us: cell("p99") };

  const weight = make("input", { type: "number", min: "0", max: "256", step: "1", class: "weight", "aria-label": `weight of ${whose}` });
  weight.onchange = () => {
    if (weight.reportValidity() && weight.value !== "") change(path, { weight: Number(weight.value) }, weight);
  };
  const buttons = Object.entries(MODES).map(([mode, words]) => {
    const button = make("button", { type: "button", "aria-label": `${words} ${whose}`, "data-mode": mode }, words);
    button.onclick = () => change(path, { mode }, button);
    return button;
  });
  const acts = make("div", { class: "acts", role: "group", "aria-label": `mode of ${whose}` }, ...buttons);
  const element = make(
    "tr",
    { role: "row", "data-backend": backend.name },
    name,
    cell("health", mark, " ", backup, make("div", { class: "soft" }, why, " ", since)),
    ...Object.values(cells),
    cell("share", weight),
    cell("do", acts),
  );
  return { element, mark, backup, why, since, cells, weight, buttons };
}

function showBackend(row, backend) {
  const wanted = backend.mode === "ready";
  const kinds = { up: "good", down: "bad", ejected: "bad", "on-trial": "warn" };
  row.mark.className = `mark ${wanted ? kinds[backend.state] : "warn"}`;
  say(row.mark, wanted ? backend.state : `${backend.mode}, ${backend.state}`);
  row.backup.hidden = !backend.backup;
  say(row.cells.active, count(backend.active));
  say(row.cells.picked, count(backend.picked));
  say(row.cells.p50_us, micros(backend.p50_us));
  say(row.cells.p99_us, micros(backend.p99_us));
  say(row.why, `${backend.reason},`);
  say(row.since, span(backend.since_seconds));
  const isBusy = document.activeElement === row.weight || row.weight.ariaBusy === "true";
  if (!isBusy) row.weight.value = backend.weight;
  for (const button of row.buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === backend.mode));
  }
}

async function problem(response) {
  try {
    return await response.json();
  } catch {
    return { title: response.statusText, detail: `status ${response.status}` };
  }
}

// What one control asks for is asked in turn. It stays enabled: a disabled one loses the focus, and to give it back later takes it
// from where the reader has gone on to.
function change(path, wanted, control) {
  control.turn = Promise.resolve(control.turn).then(() => send(path, wanted, control));
}

async function send(path, wanted, control) {
  control.ariaBusy = "true";
  try {
    const response = await ask(path, {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wanted),
    });
    if (response.ok) {
      trouble("");
    } else {
      const { title, detail } = await problem(response);
      trouble(`${title}: ${detail}`, control);
    }
  } catch (error) {
    trouble(error.message, control);
  } finally {
    control.ariaBusy = "false";
  }
}

function trouble(words, control) {
  find("trouble").hidden = words === "";
  say("trouble-words", words);
  find("trouble-seen").onclick = () => {
    trouble("");
    control.focus();
  };
}

function showStories(now) {
  // Made anew only if there is news, or another day, which shows: what is marked with the mouse stays marked.
  const changes = JSON.stringify(now.changes) + new Date().toDateString();
  if (now.changes.length && changes !== changed) {
    changed = changes;
    find("changes").replaceChildren(...now.changes.map((one) => {
      const time = make("time", { datetime: one.time }, when(new Date(one.time)));
      return make("li", {}, `${one.what}: ${one.from} → ${one.to}`, make("span", { class: "soft" }, time, ` · ${one.reason} · ${one.who}`));
    }));
  }
  const decisions = now.decisions.map((one) => {
    const others = one.candidates.length > 1 ? ` of ${one.candidates_total}` : "";
    const took = one.duration_seconds === null ? "" : ` after ${micros(one.duration_seconds * 1e6)}`;
    return make("li", {}, `${one.pool}: ${one.chosen ?? "nobody"}${others}`,
      make("span", { class: "soft" }, `${span(one.seconds_ago)} ago · ${one.client} · ${one.algorithm} · ${one.outcome}${took}`));
  });
  if (decisions.length) find("decisions").replaceChildren(...decisions);
}

listen();
