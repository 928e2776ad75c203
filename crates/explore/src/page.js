"use strict";
// Shows one function at a time. Everything from the module is put in as text, never as markup.
// ORDER explored: the shape of a function is that of `write.rs`.
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = 8;

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
const plural = (count, word) => count + " " + word + (count === 1 ? "" : "s");

// The list of functions.
const search = make("input", { type: "search", placeholder: "Search functions" });
search.setAttribute("aria-label", "Search functions");
const list = make("ul", {});
const buttons = data.functions.map((f) => {
  const button = make("button", { type: "button", title: f.name + " · func " + f.index },
    make("span", { textContent: f.name }), make("span", { textContent: f.bytes + " B" }));
  button.addEventListener("click", () => { location.hash = "f" + f.index; });
  list.append(make("li", {}, button));
  return button;
});
const note = make("p", { textContent: data.note });
const hint = make("p", { textContent: data.hint });
const none = make("p", { textContent: "No such function here.", hidden: true });
search.addEventListener("input", () => {
  const wanted = search.value.trim().toLowerCase();
  data.functions.forEach((f, i) => {
    const names = [f.name, ...f.exports, "func " + f.index];
    buttons[i].parentElement.hidden = !names.some((name) => name.toLowerCase().includes(wanted));
  });
  none.hidden = buttons.some((button) => !button.parentElement.hidden);
});

// The columns.
const TITLES = ["WebAssembly", "Operations", "Single-pass", "Optimized"];
const title = make("h2", {});
const facts = make("span", {});
const switches = make("div", {});
const columns = TITLES.map((name) => {
  const lines = make("div", { className: "lines", tabIndex: 0 });
  const fact = make("span", {});
  const section = make("section", {}, make("h3", {}, name, fact), lines);
  const box = make("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => { section.hidden = !box.checked; });
  switches.append(make("label", {}, box, name));
  return { section, lines, fact };
});
document.body.append(
  make("nav", {}, make("div", {}, make("h1", { textContent: data.file }), note, hint, search, none), list),
  make("header", {}, title, facts, switches),
  make("main", {}, ...columns.map((column) => column.section)));

// Lines by tie, for each column.
let tied = [];
let pinned = -1;
let hovered = -1;

function show(f) {
  title.textContent = f.name;
  const number = "func " + f.index;
  facts.textContent = [...(f.name === number ? [] : [number]),
    ...(f.exports.length ? ["exported as " + f.exports.join(", ")] : [])].join(" · ");
  const hex = (number) => number.toString(16);
  const tier = (t) => t.error ? null : t.lines.map(([at, tie, text, note]) => ({ at: hex(at), tie, text, note }));
  const contents = [
    f.wasm.map(([at, tie, text]) => ({ at: at === null ? "" : hex(at), tie, text })),
    f.operations.map(([tie, text]) => ({ tie, text })),
    tier(f.tiers[0]), tier(f.tiers[1]),
  ];
  const counts = [f.bytes + " B", plural(f.operations.length, "line"),
    ...f.tiers.map((t) => t.facts || "")];
  // Instructions that became code get a colour; neighbours get different ones.
  const coded = new Set();
  contents.slice(2).forEach((lines) => (lines || []).forEach((line) => coded.add(line.tie)));
  const colours = new Map();
  contents[0].forEach(({ tie }) => {
    if (tie >= 0 && coded.has(tie)) colours.set(tie, colours.size % COLOURS);
  });
  tied = [];
  pinned = hovered = -1;
  columns.forEach((column, i) => {
    column.fact.textContent = column.fact.title = counts[i];
    const body = make("div", {});
    const byTie = new Map();
    if (contents[i] === null) body.append(make("div", { className: "error", textContent: f.tiers[i - 2].error }));
    for (const { at, tie, text, note } of contents[i] || []) {
      const line = make("div", { className: "l" });
      if (at !== undefined) line.append(make("i", { textContent: at }));
      line.append(text);
      if (note) line.append(make("em", { textContent: note }));
      if (tie >= 0) {
        line.dataset.tie = tie;
        if (!byTie.has(tie)) byTie.set(tie, []);
        byTie.get(tie).push(line);
        if (colours.has(tie)) line.classList.add("k", "c" + colours.get(tie));
      }
      body.append(line);
    }
    tied.push(byTie);
    column.lines.replaceChildren(body);
    column.lines.scrollTo(0, 0);
  });
  data.functions.forEach((other, i) => {
    if (other === f) {
      buttons[i].setAttribute("aria-current", "true");
      buttons[i].scrollIntoView({ block: "nearest" });
    } else buttons[i].removeAttribute("aria-current");
  });
}

function mark(tie, name, on) {
  for (const lines of tied) for (const line of lines.get(tie) || []) line.classList.toggle(name, on);
}

// Brings the first of the tied lines into view in every column but the one that was pointed at, if none
// of them is in view there.
function reveal(tie, from) {
  columns.forEach(({ lines }, i) => {
    const found = tied[i].get(tie);
    if (i === from || !found) return;
    const view = lines.getBoundingClientRect();
    const seen = found.some((line) => {
      const box = line.getBoundingClientRect();
      return box.top >= view.top && box.bottom <= view.bottom;
    });
    if (!seen) lines.scrollTop += found[0].getBoundingClientRect().top - view.top - view.height / 3;
  });
}

function hover(tie, from) {
  if (tie === hovered) return;
  mark(hovered, "on", false);
  hovered = tie;
  mark(hovered, "on", true);
  if (tie >= 0 && pinned < 0) reveal(tie, from);
}

function pin(tie, from) {
  mark(pinned, "pin", false);
  pinned = tie === pinned ? -1 : tie;
  mark(pinned, "pin", true);
  if (pinned >= 0) reveal(pinned, from);
}

const tieAt = (event) => {
  const line = event.target.closest(".l");
  return line && line.dataset.tie !== undefined ? Number(line.dataset.tie) : -1;
};
columns.forEach(({ lines }, i) => {
  lines.addEventListener("mouseover", (event) => hover(tieAt(event), i));
  lines.addEventListener("mouseleave", () => hover(-1, i));
  lines.addEventListener("click", (event) => {
    // Selecting text is no click.
    if (getSelection().isCollapsed) pin(tieAt(event), i);
  });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape") pin(-1, -1);
});

function go() {
  const wanted = data.functions.find((f) => "#f" + f.index === location.hash);
  show(wanted || data.functions[0]);
}
addEventListener("hashchange", go);
if (data.functions.length) go();
