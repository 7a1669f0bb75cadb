// What pages can do beyond being read: tables are sorted and filtered, graphs zoomed. Without it they stay whole.
"use strict";
(() => {
  const made = (tag, properties = {}, ...inside) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...inside);
    return element;
  };

  // Tables: a button in each heading sorts by its column, a field above filters the rows.

  const value = (row, column) => row.cells[column].textContent.trim();
  const isNumber = (text) => /^[+-]?\d/.test(text);

  function sort(table, column) {
    const heading = table.tHead.rows[0].cells[column];
    const down = heading.getAttribute("aria-sort") === "ascending";
    const compared = (one, other) => {
      const [a, b] = [value(one, column), value(other, column)];
      if (!a || !b) return !a - !b; // what is empty stays last
      const order = isNumber(a) && isNumber(b) ? parseFloat(a) - parseFloat(b) : a.localeCompare(b, "en", { numeric: true });
      return down ? -order : order;
    };
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compared));
  }

  function filter(table, words, count) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  }

  for (const table of document.querySelectorAll("table[data-sort]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (![...table.tBodies[0].rows].some((row) => isNumber(value(row, column)))) heading.classList.add("words");
      const button = made("button", { type: "button", className: "sort" }, ...heading.childNodes);
      button.addEventListener("click", () => sort(table, column));
      heading.append(button);
    });
    const best = table.querySelector(".best");
    if (best) table.parentElement.scrollTop = best.offsetTop - table.parentElement.clientHeight / 2;
    if (!("filter" in table.dataset)) continue;
    const field = made("input", { type: "search" });
    const count = made("output");
    field.addEventListener("input", () => filter(table, field.value, count));
    table.parentElement.before(made("div", { className: "tools" }, made("label", {}, "Filter ", field), count));
    filter(table, "", count);
  }

  // Graphs: a view of a part of the drawing, that moves and becomes wider and narrower.

  function zoom(figure) {
    const canvas = figure.querySelector(".canvas");
    const svg = canvas.querySelector("svg");
    const whole = svg.viewBox.baseVal;
    const [width, height] = [whole.width, whole.height];
    const actors = [...svg.querySelectorAll("[data-actor]")];
    const pointers = new Map();
    let view = { x: 0, y: 0, w: width, h: height };

    const show = (x, y, w, h) => {
      view = { x, y, w, h };
      svg.setAttribute("viewBox", `${x} ${y} ${w} ${h}`);
      canvas.classList.toggle("near", w < width * 0.98 || h < height * 0.98);
    };
    const fit = () => {
      if (!canvas.clientWidth) return; // not shown yet
      canvas.style.height = `${Math.min(0.75 * window.innerHeight, height + 4, Math.max(240, (canvas.clientWidth * height) / width))}px`;
      // A small drawing is not blown up.
      const scale = Math.max(width / canvas.clientWidth, height / canvas.clientHeight, 1);
      const [w, h] = [scale * canvas.clientWidth, scale * canvas.clientHeight];
      show((width - w) / 2, (height - h) / 2, w, h);
    };
    const scaled = (by, x = view.x + view.w / 2, y = view.y + view.h / 2) => {
      const limit = Math.min(Math.max(view.w / by, canvas.clientWidth / 4), 2 * Math.max(width, canvas.clientWidth)) / view.w;
      show(x - (x - view.x) * limit, y - (y - view.y) * limit, view.w * limit, view.h * limit);
    };
    const moved = (dx, dy) => show(view.x + dx, view.y + dy, view.w, view.h);
    const at = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());

    const button = (text, title, act) => {
      const each = made("button", { type: "button", className: "tool", title, ariaLabel: title }, text);
      each.addEventListener("click", act);
      return each;
    };
    const tools = made(
      "div",
      { className: "tools" },
      button("+", "Zoom in", () => scaled(1.5)),
      button("−", "Zoom out", () => scaled(1 / 1.5)),
      button("Fit", "Show the whole graph", fit),
    );
    if (actors.length > 12) tools.append(...search());
    tools.append(made("span", { className: "soft" }, "Drag to move; Ctrl and the wheel, + − 0 and arrow keys, or two fingers zoom."));
    canvas.before(tools);

    function search() {
      const field = made("input", { type: "search" });
      const count = made("output");
      let next = 0;
      const find = () => {
        const wanted = field.value.trim().toLowerCase();
        const found = actors.filter((each) => wanted && each.dataset.actor.toLowerCase().includes(wanted));
        for (const each of actors) each.classList.toggle("found", found.includes(each));
        count.textContent = wanted ? `${found.length} of ${actors.length} actors` : "";
        if (!found.length) return;
        const box = found[next % found.length].querySelector("rect").getBBox();
        const [w, h] = [canvas.clientWidth, canvas.clientHeight];
        show(box.x + (box.width - w) / 2, box.y + (box.height - h) / 2, w, h);
      };
      field.addEventListener("input", () => ((next = 0), find()));
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter") (next += 1), find();
      });
      return [made("label", {}, "Find an actor ", field), count];
    }

    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const { x, y } = at(event);
      scaled(Math.exp(-event.deltaY / 300), x, y);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = view.w / 10;
      const keys = {
        "+": () => scaled(1.25), "=": () => scaled(1.25), "-": () => scaled(0.8), "0": fit,
        ArrowLeft: () => moved(-step, 0), ArrowRight: () => moved(step, 0), ArrowUp: () => moved(0, -step), ArrowDown: () => moved(0, step),
      };
      if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button !== 0) return;
      pointers.set(event.pointerId, event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      if (pointers.size === 1) {
        const scale = view.w / canvas.clientWidth;
        moved((before.clientX - event.clientX) * scale, (before.clientY - event.clientY) * scale);
      } else {
        const [other] = [...pointers.values()].filter((each) => each.pointerId !== event.pointerId);
        const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
        const middle = at({ clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
        scaled(apart(event) / apart(before), middle.x, middle.y);
      }
      pointers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
    let wide = 0;
    figure.classList.add("zoom");
    // On paper all of it is shown.
    window.addEventListener("beforeprint", () => svg.setAttribute("viewBox", `0 0 ${width} ${height}`));
    window.addEventListener("afterprint", () => show(view.x, view.y, view.w, view.h));
    new ResizeObserver(() => {
      if (matchMedia("print").matches) return;
      if (canvas.clientWidth !== wide) fit();
      wide = canvas.clientWidth;
    }).observe(canvas);
  }
  document.querySelectorAll("figure[data-zoom]").forEach(zoom);
})();
