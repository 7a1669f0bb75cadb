"use strict";
// Draws each state that the server sends, and keeps the moments of the last ten minutes.

const KEPT = 600;
const BOX = { width: 150, height: 46, gap: 84, row: 66, margin: 16 };
const LABELS = 30; // more FIFOs than this are labelled only where they cross
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let moments = [];
let state = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function number(value, unit = "") {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return (size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)) + unit;
}

function size(value) {
  if (value === null || value === undefined) return "–";
  let unit = 0;
  while (value >= 1000 && unit < 3) { value /= 1000; unit += 1; }
  return (unit ? value.toFixed(1) : value.toFixed(0)) + " " + ["B", "kB", "MB", "GB"][unit];
}

const clock = (at) => new Date(at * 1000).toLocaleTimeString();
const colour = (platform) => "p" + (Math.max(state.platforms.findIndex((each) => each.platform === platform), 0) % 6);

// Parts of the page.

function header() {
  document.title = state.application + " – eprune watch";
  $("application").textContent = state.application;
  const sick = state.platforms.filter((each) => each.health !== "healthy");
  const ports = Object.values(state.missing).flat();
  const line = $("state");
  line.className = sick.length ? "bad" : state.degraded ? "warn" : "good";
  line.textContent = sick.length ? sick.map((each) => each.platform + ": " + each.why).join("; ")
    : ports.length ? "degraded: nothing at the other end of " + ports.join(", ")
    : state.degraded ? "degraded: an actor is stalled" : "all is well";
  line.append(" · " + clock(state.time));
}

function alarms() {
  const lines = state.alarms.map((each) => element("p", {}, each.kind + ": " + each.message));
  if (state.advice) lines.push(element("p", { class: "advice" }, state.advice));
  $("alarms").replaceChildren(...lines);
  $("alarms").hidden = !lines.length;
}

function tiles() {
  const tile = (value, words) => element("div", { class: "tile" }, element("b", {}, value), element("span", {}, words));
  const sums = (field) => state.fifos.filter((each) => each.crosses).reduce((sum, each) => sum + (each[field] || 0), 0);
  const ages = Object.entries(state.ages).map(([port, age]) =>
    tile(number(age.p50_ms, " ms"), "age at " + port + "; 1 in 100 above " + number(age.p99_ms, " ms")));
  const lost = state.fifos.reduce((sum, each) => sum + each.lost, 0);
  $("tiles").replaceChildren(tile(number(state.frames_per_s), "frames per second"), ...ages,
    tile(size(sums("bytes_per_s")) + "/s", "between platforms"), tile(String(lost), "tokens lost in the last seconds"));
}

function table(id, heads, rows) {
  const head = element("tr", {}, ...heads.map(([name, kind]) => element("th", { class: kind, scope: "col" }, name)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, place) =>
    element("td", { class: heads[place][1] + " " + (cell.kind || "") }, cell.text ?? cell))));
  $(id).replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

function tables() {
  const well = (each) => ({ text: each.health, kind: each.health === "healthy" ? "good" : "bad" });
  table("platforms", [["platform", ""], ["health", ""], ["version", ""], ["frames", "n"], ["load", "n"], ["cores", "n"],
    ["memory", "n"], ["machine's memory in use", "n"], ["°C", "n"], ["restarts", "n"], ["host", ""]],
  state.platforms.map((each) => [each.platform, well(each), each.version || "–", each.frames ?? "–",
    number(each.machine_load ?? each.load), each.machine_cores ?? "–", size(each.resident_bytes),
    each.machine_memory_bytes ? number(100 * (1 - each.available_bytes / each.machine_memory_bytes), " %") : "–",
    each.temperature_c === null ? "–" : each.temperature_c.toFixed(0), each.restarts, each.host]));
  table("actors", [["actor", ""], ["platform", ""], ["firings/s", "n"], ["ms per firing", "n"], ["busy", "n"], ["", ""]],
    state.actors.map((each) => [each.actor, each.platform, number(each.firings_per_s), number(each.busy_ms),
      each.busy_share === null ? "–" : number(100 * each.busy_share, " %"),
      each.stalled ? { text: "stalled: " + number(each.stalled.seconds, " s") + " in " + each.stalled.stage, kind: "bad" } : ""]));
  table("fifos", [["FIFO", ""], ["from", ""], ["to", ""], ["tokens/s", "n"], ["bytes/s", "n"], ["fill", "n"], ["lost", "n"]],
    state.fifos.map((each) => [each.fifo, each.source, each.target, number(each.tokens_per_s), size(each.bytes_per_s),
      { text: each.fill === null ? "–" : each.fill + " of " + (each.capacity ?? "?"), kind: full(each) ? "warn" : "" },
      { text: String(each.lost), kind: each.lost ? "bad" : "" }]));
}

function events() {
  const lines = state.events.slice(-100).reverse().map((each) =>
    element("li", { class: each.level }, element("time", {}, clock(each.at)),
      (each.platform ? each.platform + ": " : "") + each.message));
  $("events").replaceChildren(...lines);
}

// The graph: layers from left to right, folded into as many bands as the page is wide for.

const full = (flow) => flow.fill !== null && flow.capacity && flow.fill >= flow.capacity;

function places() {
  const wide = Math.max(Math.floor(($("graph").clientWidth - 2 * BOX.margin + BOX.gap) / (BOX.width + BOX.gap)), 1);
  const found = {};
  let top = BOX.margin, right = 0;
  for (let first = 0; first < state.layers.length; first += wide) {
    const band = state.layers.slice(first, first + wide);
    const rows = Math.max(...band.map((layer) => layer.length));
    band.forEach((layer, column) => layer.forEach((name, row) => {
      const x = BOX.margin + column * (BOX.width + BOX.gap);
      found[name] = { x, y: top + (row + (rows - layer.length) / 2) * BOX.row, band: first };
      right = Math.max(right, x + BOX.width);
    }));
    top += rows * BOX.row + 22;
  }
  return { found, width: right + BOX.margin, height: top };
}

function path(from, to) {
  const y1 = from.y + BOX.height / 2, y2 = to.y + BOX.height / 2;
  if (from.band === to.band && to.x > from.x) {
    const x1 = from.x + BOX.width, middle = (x1 + to.x) / 2;
    return { d: `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${to.x} ${y2}`, x: to.x - BOX.gap / 2, y: (y1 + y2) / 2 };
  }
  const x1 = from.x + BOX.width / 2, x2 = to.x + BOX.width / 2, down = to.y > from.y;
  const a = down ? from.y + BOX.height : from.y, b = down ? to.y : to.y + BOX.height, bend = (a + b) / 2;
  return { d: `M${x1} ${a} C${x1} ${bend} ${x2} ${bend} ${x2} ${b}`, x: (x1 + x2) / 2, y: bend };
}

function graph() {
  const { found, width, height } = places();
  const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(drawn("title", {}, "The application's graph, with the rates of its FIFOs"));
  const arrow = drawn("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8,
    markerUnits: "userSpaceOnUse", orient: "auto" });
  arrow.append(drawn("path", { d: "M0 0 L8 4 L0 8 z", fill: "context-stroke" }));
  const definitions = drawn("defs");
  definitions.append(arrow);
  svg.append(definitions);
  const labels = [];
  for (const flow of state.fifos) {
    const way = path(found[flow.source], found[flow.target]);
    const thick = Math.min(1.2 + Math.log10(1 + (flow.bytes_per_s || 0) / 1e4) * 1.2, 6);
    const kind = flow.lost ? "lost" : full(flow) ? "full" : !flow.tokens_per_s ? "idle" : "";
    const line = drawn("path", { d: way.d, class: `edge ${flow.crosses ? "crosses" : ""} ${kind}`, "stroke-width": thick,
      "marker-end": "url(#tip)" });
    const words = `${flow.fifo}: ${number(flow.tokens_per_s)} tokens/s, ${size(flow.bytes_per_s)}/s, fill ${flow.fill ?? "?"} of ${flow.capacity ?? "?"}`;
    line.append(drawn("title", {}, words));
    svg.append(line);
    if (flow.crosses || state.fifos.length <= LABELS) {
      labels.push(drawn("text", { x: way.x, y: way.y - 8, "text-anchor": "middle", class: "small label" }, number(flow.tokens_per_s, "/s")));
      labels.push(drawn("text", { x: way.x, y: way.y + 14, "text-anchor": "middle", class: "small label" }, size(flow.bytes_per_s) + "/s"));
    }
  }
  for (const actor of state.actors) {
    const { x, y } = found[actor.actor];
    const group = drawn("g", { class: actor.stalled ? "stalled" : "", transform: `translate(${x} ${y})` });
    group.append(drawn("title", {}, `${actor.actor} on ${actor.platform}: ${number(actor.firings_per_s)} firings/s, ${number(actor.busy_ms)} ms`));
    group.append(drawn("rect", { width: BOX.width, height: BOX.height, rx: 6, class: "box " + colour(actor.platform) }));
    const name = actor.actor.length > 19 ? actor.actor.slice(0, 18) + "…" : actor.actor;
    group.append(drawn("text", { x: 8, y: 18, class: "name" }, name));
    group.append(drawn("text", { x: 8, y: 34, class: "small" }, actor.busy_ms === null ? "–" : `${number(actor.busy_ms)} ms · ${number(100 * (actor.busy_share || 0), " %")}`));
    group.append(drawn("rect", { x: 0, y: BOX.height - 4, height: 4, rx: 2, class: "load", width: BOX.width * Math.min(actor.busy_share || 0, 1) }));
    svg.append(group);
  }
  svg.append(...labels);
  $("graph").replaceChildren(svg);
  const swatches = state.platforms.map((each) => element("span", { class: "swatch " + colour(each.platform) }, each.platform));
  $("legend").replaceChildren(...swatches, "blue FIFOs cross between platforms; amber: full; red: tokens lost; dashed: idle");
}

// Charts.

function chart(title, series) {
  const shown = series.filter((each) => each.values.some((value) => value !== null));
  const figure = element("figure");
  const caption = element("figcaption", {}, element("span", {}, title));
  const values = shown.flatMap((each) => each.values).filter((value) => value !== null);
  const most = Math.max(...values, 0) || 1;
  const svg = drawn("svg", { viewBox: "0 0 400 110", preserveAspectRatio: "none", role: "img" });
  const last = shown.map((each) => `${each.name} ${each.words(each.values[each.values.length - 1])}`).join(", ");
  svg.append(drawn("title", {}, `${title}: ${last}`));
  svg.append(drawn("line", { x1: 0, x2: 400, y1: 105, y2: 105, class: "grid" }), drawn("line", { x1: 0, x2: 400, y1: 10, y2: 10, class: "grid" }));
  shown.forEach((each, place) => {
    const points = each.values.map((value, index) => value === null ? null
      : `${(index + KEPT - each.values.length) * 400 / (KEPT - 1)} ${105 - 95 * value / most}`);
    let d = "", pen = false;
    for (const point of points) { if (point !== null) d += (pen ? "L" : "M") + point; pen = point !== null; }
    const line = drawn("path", { d, class: "series c" + place % 6, "vector-effect": "non-scaling-stroke" });
    svg.append(line);
    caption.append(element("span", { class: "c" + place % 6 }, `${each.name} ${each.words(each.values[each.values.length - 1])}`));
  });
  figure.append(caption, svg, element("figcaption", {}, element("span", {}, "10 min ago"), element("span", {}, "top: " + (shown[0]?.words(most) ?? "–"))));
  return figure;
}

function charts() {
  const values = (pick) => moments.map((each) => pick(each) ?? null);
  const names = state.platforms.map((each) => each.platform);
  const each = (field, words) => names.map((name) => ({ name, words, values: values((moment) => moment[field][name]) }));
  const ms = (value) => number(value, " ms");
  $("charts").replaceChildren(
    chart("Frames per second", [{ name: "", words: number, values: values((moment) => moment.frames_per_s) }]),
    chart("Age at the sinks", [{ name: "half", words: ms, values: values((moment) => moment.age_p50_ms) },
      { name: "1 in 100", words: ms, values: values((moment) => moment.age_p99_ms) }]),
    chart("Load, in cores", each("loads", number)),
    chart("Memory of the programs", each("memory", size)));
}

function show(told) {
  state = told;
  const since = told.moments.length ? told.moments[0].at : Infinity;
  moments = [...moments.filter((each) => each.at < since), ...told.moments].slice(-KEPT);
  for (const draw of [header, alarms, tiles, graph, charts, tables, events]) draw();
}

const source = new EventSource("events");
source.onmessage = (message) => show(JSON.parse(message.data));
source.onerror = () => { $("state").className = "bad"; $("state").textContent = "eprune watch cannot be reached"; };
new ResizeObserver(() => state && graph()).observe($("graph"));
