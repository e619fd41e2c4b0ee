
"use strict";
(() => {
  const STEP = 500;
  const FIRST = 100;
  const LINKS = 5;
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("rows").textContent);
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const link = (href, text, label) => {
    const element = make("a", text);
    element.href = href;
    if (label) element.setAttribute("aria-label", label);
    return element;
  };

  const title = (block, row) => row[block.name].filter(Boolean).join(" ");

  // What a cell looks like, and what it is sorted by; null comes last whichever way.
  const records = (cell, row, block) => {
    const td = make("td", undefined, "records");
    const model = title(block, row);
    const links = cell.flatMap(([seed, id]) => [
      link(`records/${id}.json`, String(seed), `record of ${model}, seed ${seed}`), " ",
    ]);
    if (cell.length <= LINKS) {
      td.append(...links);
    } else {
      const details = make("details");
      details.append(make("summary", `${cell.length} seeds`), ...links);
      td.append(details);
    }
    return td;
  };
  const audit = ([text, id], row, block) => {
    const td = make("td", undefined, "audit");
    const label = `${text}: certificate of ${title(block, row)}`;
    td.append(id ? link(`certificates/${id}.html`, text, label) : text);
    return td;
  };
  const name = ([model, label]) => {
    const th = make("th", undefined, "name");
    th.scope = "row";
    th.append(make("b", model));
    if (label) th.append(" ", make("small", label));
    return th;
  };
  const TYPES = {
    rank: { show: (cell) => make("td", cell === null ? "–" : String(cell), "number"), key: (cell) => cell },
    name: { show: name, key: (cell) => cell.join(" ") },
    number: { show: (cell) => make("td", cell[0], "number"), key: (cell) => cell[1] },
    audit: { show: audit, key: (cell) => cell[2] },
    family: { show: (cell) => make("td", cell, "family"), key: (cell) => cell },
    records: { show: records, key: (cell) => cell.length },
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);

  const state = { words: [], family: "" };
  const blocks = [...document.querySelectorAll(".block")].map((section, number) => {
    const { columns, caption, rows } = data[number];
    const block = {
      section, columns, rows, order: rows, limit: FIRST,
      name: columns.indexOf("name"), family: columns.indexOf("family"),
      body: section.querySelector("tbody"), more: section.querySelector(".more"),
      heads: [...section.querySelectorAll("thead th")],
      caption: caption.toLowerCase(), texts: null, fitting: rows,
    };
    block.types = columns.map((column) => TYPES[column]);
    return block;
  });

  const text = (block, row) => `${title(block, row)} ${row[block.family]} ${block.caption}`.toLowerCase();
  const fits = (block, row) => {
    if (state.family && row[block.family] !== state.family) return false;
    if (!state.words.length) return true;
    block.texts ??= new Map(block.rows.map((each) => [each, text(block, each)]));
    const own = block.texts.get(row);
    return state.words.every((word) => own.includes(word));
  };
  const show = (block) => {
    const rows = block.fitting.slice(0, block.limit).map((row) => {
      const tr = make("tr");
      tr.append(...row.map((cell, place) => block.types[place].show(cell, row, block)));
      return tr;
    });
    block.body.replaceChildren(...rows);
    const left = block.fitting.length - rows.length;
    block.more.hidden = left <= 0;
    block.more.firstElementChild.textContent =
      `Show ${Math.min(left, STEP).toLocaleString("en")} more of ${left.toLocaleString("en")} rows`;
    block.section.hidden = !block.fitting.length;
  };
  const count = () => {
    const fitting = blocks.filter((block) => block.fitting.length);
    const rows = fitting.reduce((sum, block) => sum + block.fitting.length, 0);
    const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
    byId("status").textContent = `${plural(rows, "row")} in ${plural(fitting.length, "table")}`;
    byId("nothing").hidden = fitting.length > 0;
  };
  const choose = () => {
    state.words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    state.family = byId("family").value;
    for (const block of blocks) {
      block.fitting = block.order.filter((row) => fits(block, row));
      block.limit = FIRST;
      show(block);
    }
    count();
  };
  const sort = (block, place) => {
    const head = block.heads[place];
    const better = head.dataset.better;
    const now = head.getAttribute("aria-sort");
    const firstWay = better === "higher" ? "descending" : "ascending";
    const way = now === "ascending" ? "descending" : now === "descending" ? "ascending" : firstWay;
    const sign = way === "ascending" ? 1 : -1;
    const key = block.types[place].key;
    block.order = [...block.rows].sort((first, second) => {
      const a = key(first[place]);
      const b = key(second[place]);
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
    block.fitting = block.order.filter((row) => fits(block, row));
    for (const each of block.heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", way);
    show(block);
  };

  for (const block of blocks) {
    block.heads.forEach((head, place) => {
      const button = make("button");
      button.type = "button";
      button.append(head.firstElementChild);
      head.prepend(button);
      button.addEventListener("click", () => sort(block, place));
    });
    block.more.firstElementChild.addEventListener("click", () => {
      block.limit += STEP;
      show(block);
    });
    show(block);
  }
  byId("search").addEventListener("input", choose);
  byId("family").addEventListener("change", choose);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());

  const THEMES = { system: "as the system", light: "light", dark: "dark" };
  const remember = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("torchstone-theme");
      localStorage.setItem("torchstone-theme", value);
    } catch {
      // a browser that keeps nothing
    }
    return null;
  };
  const paint = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Colours: ${THEMES[theme]}`;
    byId("theme").dataset.now = theme;
  };
  const kept = remember();
  paint(Object.hasOwn(THEMES, kept ?? "") ? kept : "system");
  byId("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(byId("theme").dataset.now) + 1) % names.length];
    paint(next);
    remember(next);
  });
  for (const element of document.querySelectorAll(".needs-script:not(.more):not(#nothing)")) element.hidden = false;
  if (matchMedia("(max-width: 42rem)").matches) document.querySelector("nav details")?.removeAttribute("open");
  count();
})();
