// The page: shows what /api/v1/events sends each second, and asks for changes. What comes from outside is text, never HTML.
"use strict";

const SECONDS_MAX = 120;
const find = (id) => document.getElementById(id);
const token = () => sessionStorage.getItem("token");
const history = new Map();
const rows = new Map();

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
      link("lost", "connection lost");
    } catch (error) {
      link("lost", `connection lost: ${error.message}`);
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

function link(state, words) {
  find("link").dataset.state = state;
  say("link", words);
}

function say(id, words) {
  const element = typeof id === "string" ? find(id) : id;
  if (element.textContent !== words) element.textContent = words;
}

const count = (number) => number.toLocaleString("en-US");

function micros(time) {
  if (time === null || time === undefined) return "–";
  if (time >= 1e6) return `${(time / 1e6).toPrecision(3)} s`;
  if (time >= 1e3) return `${(time / 1e3).toPrecision(3)} ms`;
  return `${Math.round(time)} µs`;
}

function span(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function rate(number) {
  return number >= 10 ? count(Math.round(number)) : number.toFixed(1).replace(".0", "");
}

function show(now) {
  link("live", "live");
  say("version", now.version);
  say("state", now.state);
  say("sessions", count(now.sessions));
  say("sessions-max", ` of ${count(now.sessions_max)}`);
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

function newPool(pool) {
  const body = make("tbody");
  const about = make("span", { class: "soft" });
  const charts = make("div", { class: "charts" });
  const lines = ["rate", "p50_us", "p99_us"].map((key) => newLine(charts, key));
  const heads = ["backend", "state", "sessions", "picked", "p50", "p99", "weight", "why", ""];
  const numbers = new Set(["sessions", "picked", "p50", "p99"]);
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col", class: numbers.has(text) ? "n" : "" }, text)));
  head.lastChild.append(make("span", { class: "skip" }, "what to do"));
  const title = make("h2", {}, pool.name);
  const element = make(
    "section",
    { "aria-label": `Pool ${pool.name}` },
    make("div", { class: "pool-head" }, title, about),
    charts,
    make("table", {}, make("thead", {}, head), body),
  );
  return { element, about, lines, body, backends: new Map() };
}

const LINES = { rate: "sessions a second", p50_us: "p50", p99_us: "p99" };

function newLine(parent, key) {
  const now = make("b");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", key === "p99_us" ? "line p99" : "line");
  svg.setAttribute("viewBox", `0 0 ${SECONDS_MAX - 1} 40`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.append(path);
  parent.append(make("figure", {}, make("figcaption", {}, LINES[key], now), svg));
  return { key, now, svg, path };
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
    const y = (39 - (value / most) * 37).toFixed(1);
    // One second alone is a short stroke.
    path += drawing ? `L${x} ${y}` : `M${Math.max(x - 0.5, 0)} ${y}L${x} ${y}`;
    drawing = true;
  });
  line.path.setAttribute("d", path);
  const words = line.key === "rate" ? rate : micros;
  const now = values.at(-1);
  say(line.now, now === null ? "–" : words(now));
  const label = `${LINES[line.key]}: now ${now === null ? "unknown" : words(now)}, at most ${words(known.length ? most : 0)} in the last ${values.length} seconds`;
  line.svg.setAttribute("aria-label", label);
}

const MODES = { ready: "Ready", drain: "Drain", maintenance: "Maintain" };

function newBackend(pool, backend) {
  const path = `api/v1/pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(backend.name)}`;
  const name = make("td", { class: "name" }, make("b", {}, backend.name));
  if (backend.address !== backend.name) name.append(make("span", {}, backend.address));
  const mark = make("span", { class: "mark" });
  const number = (label) => make("td", { class: "n", "data-label": label });
  const cells = { active: number("sessions"), picked: number("picked"), p50_us: number("p50"), p99_us: number("p99") };
  const why = make("td", { class: "why" });

  const weight = make("input", {
    class: "weight", type: "number", min: "0", max: "256", step: "1", "aria-label": `weight of ${backend.name}`,
  });
  weight.onchange = () => {
    if (weight.reportValidity() && weight.value !== "") change(path, { weight: Number(weight.value) }, weight);
  };
  const buttons = Object.entries(MODES).map(([mode, words]) => {
    const button = make("button", { type: "button", "aria-label": `${words} ${backend.name}`, "data-mode": mode }, words);
    button.onclick = () => change(path, { mode }, button);
    return button;
  });
  const acts = make("div", { class: "acts", role: "group", "aria-label": `mode of ${backend.name}` }, ...buttons);
  const element = make(
    "tr",
    { "data-backend": backend.name },
    name,
    make("td", {}, mark),
    ...Object.values(cells),
    make("td", { "data-label": "weight" }, weight),
    why,
    make("td", { class: "do" }, acts),
  );
  return { element, mark, cells, why, weight, buttons };
}

function showBackend(row, backend) {
  const wanted = backend.mode === "ready";
  const kinds = { up: "good", down: "bad", ejected: "bad", "on-trial": "warn" };
  const kind = wanted ? kinds[backend.state] : "warn";
  const words = wanted ? backend.state : `${backend.mode}, ${backend.state}`;
  row.mark.className = `mark ${kind}`;
  say(row.mark, backend.backup ? `${words}, backup` : words);
  say(row.cells.active, count(backend.active));
  say(row.cells.picked, count(backend.picked));
  say(row.cells.p50_us, micros(backend.p50_us));
  say(row.cells.p99_us, micros(backend.p99_us));
  say(row.why, `${backend.reason}, ${span(backend.since_seconds)}`);
  if (document.activeElement !== row.weight) row.weight.value = backend.weight;
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

async function change(path, wanted, control) {
  control.disabled = true;
  try {
    const response = await ask(path, {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wanted),
    });
    const trouble = find("trouble");
    trouble.hidden = response.ok;
    if (!response.ok) {
      const { title, detail } = await problem(response);
      say(trouble, `${title}: ${detail}`);
    }
  } catch (error) {
    find("trouble").hidden = false;
    say("trouble", error.message);
  } finally {
    control.disabled = false;
    control.focus();
  }
}

function showStories(now) {
  const changes = now.changes.map((one) =>
    make("li", {}, `${one.what}: ${one.from} → ${one.to}`,
      make("span", { class: "soft" }, `${new Date(one.time).toLocaleTimeString()} · ${one.reason} · ${one.who}`)));
  const decisions = now.decisions.map((one) => {
    const others = one.candidates.length > 1 ? ` of ${one.candidates_total}` : "";
    const took = one.duration_seconds === null ? "" : ` after ${micros(one.duration_seconds * 1e6)}`;
    return make("li", {}, `${one.pool}: ${one.chosen ?? "nobody"}${others}`,
      make("span", { class: "soft" }, `${span(one.seconds_ago)} ago · ${one.client} · ${one.algorithm} · ${one.outcome}${took}`));
  });
  if (changes.length) find("changes").replaceChildren(...changes);
  if (decisions.length) find("decisions").replaceChildren(...decisions);
}

listen();
