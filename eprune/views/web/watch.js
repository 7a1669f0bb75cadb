// Shows each state that the server of eprune watch sends, and keeps the moments of the last ten minutes.
"use strict";
(() => {
  const KEPT = 600;
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

  // Parts of the page.

  function header() {
    const sick = state.platforms.filter((each) => each.health !== "healthy");
    const ports = Object.values(state.missing).flat();
    const line = $("state");
    line.className = sick.length ? "bad" : state.degraded || state.alarms.length ? "warn" : "good";
    line.textContent = sick.length ? sick.map((each) => each.platform + ": " + each.why).join("; ")
      : ports.length ? "degraded: nothing at the other end of " + ports.join(", ")
      : state.degraded ? "degraded: an actor is stalled" : state.alarms.length ? "it runs; there are alarms" : "all is well";
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
    const required = Object.entries(state.requirements).filter(([, each]) => each.share !== null).map(([name, each]) =>
      tile(number(100 * each.share, " %"), name + ": in time, " + number(100 * each.required_share, " %") + " required within " +
        number(each.latency_ms, " ms")));
    const lost = state.fifos.reduce((sum, each) => sum + each.lost, 0);
    $("tiles").replaceChildren(tile(number(state.frames_per_s), "frames per second"), ...ages, ...required,
      tile(size(sums("bytes_per_s")) + "/s", "between platforms"), tile(String(lost), "tokens lost in the last seconds"));
  }

  function table(id, heads, rows) {
    const head = element("tr", {}, ...heads.map(([name, kind]) => element("th", { class: kind === "n" ? "" : "words", scope: "col" }, name)));
    const body = rows.map((row) => element("tr", {}, ...row.map((cell, place) =>
      element("td", { class: (heads[place][1] ? "number " : "") + (cell.kind || "") }, cell.text ?? cell))));
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

  // The graph: what is drawn stays, and what it says changes.

  const full = (flow) => flow.fill !== null && flow.capacity && flow.fill >= flow.capacity;
  const marked = (name) => Object.fromEntries([...document.querySelectorAll(`[data-${name}]`)].map((each) => [each.dataset[name], each]));
  const wires = marked("fifo"), labels = marked("label"), boxes = marked("actor");

  function graph() {
    for (const flow of state.fifos) {
      const kind = flow.lost ? "lost" : full(flow) ? "full" : !flow.tokens_per_s ? "idle" : "";
      const known = flow.tokens_per_s !== null;
      for (const part of [wires[flow.fifo], labels[flow.fifo]]) {
        for (const each of ["lost", "full", "idle"]) part.classList.toggle(each, each === kind);
      }
      labels[flow.fifo].textContent = known ? `${number(flow.tokens_per_s, "/s")}, ${size(flow.bytes_per_s)}/s` : "–";
      wires[flow.fifo].querySelector("title").textContent = `${flow.fifo}: ${number(flow.tokens_per_s)} tokens/s, ` +
        `${size(flow.bytes_per_s)}/s, fill ${flow.fill ?? "?"} of ${flow.capacity ?? "?"}, ${flow.lost} lost`;
    }
    for (const actor of state.actors) {
      for (const member of actor.members) {
        const box = boxes[member], frame = box.querySelector("rect");
        const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(frame.getAttribute(name)));
        const bar = box.querySelector(".load") || box.appendChild(drawn("rect", { class: "load", height: 4, rx: 2 }));
        for (const [name, value] of Object.entries({ x, y: y + height - 4, width: width * Math.min(actor.busy_share || 0, 1) })) bar.setAttribute(name, value);
        box.classList.toggle("stalled", Boolean(actor.stalled));
        const together = actor.members.length > 1 ? ` with ${actor.members.filter((each) => each !== member).join(", ")}` : "";
        box.querySelector("title").textContent = `${member} on ${actor.platform}${together}: ${number(actor.firings_per_s)} firings/s, ${number(actor.busy_ms, " ms")}`;
      }
    }
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
      const line = drawn("path", { d, class: "series c" + place % 5, "vector-effect": "non-scaling-stroke" });
      svg.append(line);
      caption.append(element("span", { class: "c" + place % 5 }, `${each.name} ${each.words(each.values[each.values.length - 1])}`));
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
})();
