"use strict";
// The picture, its nodes, what is known of them. All text is set as text, never as HTML.
const data = JSON.parse(document.getElementById("graph").textContent);
const picture = document.getElementById("picture");
const details = document.getElementById("details");
const views = new Map([...document.querySelectorAll("template[data-open]")].map(t => [t.dataset.open, t]));
let open = new Set(), chosen = null, box = null, full = null;

const keyOf = set => [...set].sort().join(" ");
const element = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text, className: name || "" });

// -- which layers stand open

function nearest(wanted, must, absent) {
  if (views.has(keyOf(wanted))) return keyOf(wanted);
  let best = null, least = Infinity;
  for (const key of views.keys()) {
    const set = new Set(key.split(" ").filter(Boolean));
    if ((must && !set.has(must)) || (absent && set.has(absent))) continue;
    const far = [...set].filter(g => !wanted.has(g)).length + [...wanted].filter(g => !set.has(g)).length;
    if (far < least) [best, least] = [key, far];
  }
  return best;
}

function show(key) {
  if (key === null || !views.has(key)) return;
  open = new Set(key.split(" ").filter(Boolean));
  picture.replaceChildren(views.get(key).content.firstElementChild.cloneNode(true));
  const svg = picture.firstElementChild;
  svg.removeAttribute("width"); svg.removeAttribute("height");
  full = svg.getAttribute("viewBox").split(/\s+/).map(Number);
  box = [...full];
  for (const part of svg.querySelectorAll(".node, .cluster.layer")) {
    const own = data.nodes[part.id];
    if (!own) continue;
    part.setAttribute("tabindex", "0");
    part.setAttribute("role", "button");
    part.setAttribute("aria-label", own.statement);
  }
  document.getElementById("closer").disabled = open.size === 0;
  document.getElementById("opener").disabled = nearest(new Set(Object.keys(data.groups))) === key;
  fit();
  if (chosen) mark();
}

function openLayer(group) { show(nearest(new Set([...open, group]), group, null)); choose(group); }
function closeLayer(group) {
  const inside = g => { for (; g; g = data.groups[g] && data.groups[g].parent) if (g === group) return true; return false; };
  show(nearest(new Set([...open].filter(g => !inside(g))), null, group));
  choose(group);
}

// -- pan and zoom

function fit() {
  const shape = picture.getBoundingClientRect(), svg = picture.firstElementChild;
  svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
  // No larger than life: a small graph is not blown up.
  const wide = Math.max(full[2], shape.width * 0.75), high = Math.max(full[3], shape.height * 0.75);
  box = [full[0] - (wide - full[2]) / 2, full[1] - (high - full[3]) / 2, wide, high];
  svg.setAttribute("viewBox", box.join(" "));
}
function zoom(factor, x, y) {
  const shape = picture.getBoundingClientRect();
  const scale = Math.max(box[2] / shape.width, box[3] / shape.height);
  if (scale * factor < 0.05 || scale * factor > 200) return;
  const cx = box[0] + box[2] / 2, cy = box[1] + box[3] / 2;
  const px = x === undefined ? cx : cx + (x - shape.left - shape.width / 2) * scale;
  const py = y === undefined ? cy : cy + (y - shape.top - shape.height / 2) * scale;
  box = [px + (box[0] - px) * factor, py + (box[1] - py) * factor, box[2] * factor, box[3] * factor];
  picture.firstElementChild.setAttribute("viewBox", box.join(" "));
}
function pan(dx, dy) {
  const shape = picture.getBoundingClientRect(), scale = Math.max(box[2] / shape.width, box[3] / shape.height);
  box[0] -= dx * scale; box[1] -= dy * scale;
  picture.firstElementChild.setAttribute("viewBox", box.join(" "));
}
const held = new Map();
let moved = 0, spread = 0;
picture.addEventListener("pointerdown", e => { held.set(e.pointerId, e); moved = 0; spread = 0; });
addEventListener("pointermove", e => {
  if (!held.has(e.pointerId)) return;
  const before = held.get(e.pointerId);
  held.set(e.pointerId, e);
  const all = [...held.values()];
  if (all.length === 2) {
    const apart = Math.hypot(all[0].clientX - all[1].clientX, all[0].clientY - all[1].clientY);
    if (spread) zoom(spread / apart, (all[0].clientX + all[1].clientX) / 2, (all[0].clientY + all[1].clientY) / 2);
    spread = apart; moved = 99;
    return;
  }
  const dx = e.clientX - before.clientX, dy = e.clientY - before.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (moved > 4) { picture.classList.add("dragging"); pan(dx, dy); }
});
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, e => { held.delete(e.pointerId); spread = 0; picture.classList.remove("dragging"); });
picture.addEventListener("wheel", e => { e.preventDefault(); zoom(Math.exp(e.deltaY * (e.deltaMode ? 0.05 : 0.0015)), e.clientX, e.clientY); }, { passive: false });

// -- what is known of a node

function mark() {
  for (const part of picture.querySelectorAll(".chosen")) part.classList.remove("chosen");
  const part = picture.querySelector("#" + CSS.escape(chosen));
  if (part) part.classList.add("chosen");
  return part;
}

function rows(pairs) {
  const table = element("table", "");
  for (const [word, text] of pairs) {
    const row = table.insertRow();
    if (word && text) { row.append(element("td", word), element("td", text)); }
    else { const cell = element("td", word || text); cell.colSpan = 2; row.append(cell); }
  }
  return table;
}

function choose(id) {
  const own = data.nodes[id];
  if (!own) return;
  chosen = id;
  mark();
  details.scrollTop = 0;
  details.replaceChildren(element("h2", own.title));
  details.append(element("code", own.kind === "layer" ? own.symbol : own.statement));
  if (own.repeated) details.append(element("p", own.repeated));
  if (own.facts.length) details.append(element("h3", "Here"), rows(own.facts));
  if (own.edges.length) {
    details.append(element("h3", "Its partials"));
    for (const [source, label, formula, number] of own.edges) {
      const line = element("p", "");
      line.style.margin = "2px 0";
      line.append(element("span", "∂/∂" + source + (label ? " (" + label + ")" : "")), element("span", formula ? "  " + formula + (number ? " = " + number : "") : "", "formula"));
      details.append(line);
    }
  }
  for (const [word, text] of own.details) details.append(element("h3", word === "value" || word === "gradient" ? word + " in full" : word), element("pre", text));
  if (data.groups[id]) {
    const isOpen = open.has(id), button = element("button", isOpen ? "Close this layer" : "Open this layer");
    button.addEventListener("click", () => isOpen ? closeLayer(id) : openLayer(id));
    details.append(button);
  }
}

picture.addEventListener("click", e => {
  const part = e.target.closest(".node, .cluster.layer");
  if (part && moved <= 4) choose(part.id);
});
picture.addEventListener("dblclick", e => {
  const part = e.target.closest(".node, .cluster.layer");
  if (part && data.groups[part.id]) open.has(part.id) ? closeLayer(part.id) : openLayer(part.id);
});
addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const part = document.activeElement && document.activeElement.closest ? document.activeElement.closest(".node, .cluster.layer") : null;
  if (part && (e.key === "Enter" || e.key === " ")) {
    e.preventDefault();
    if (e.key === "Enter" && chosen === part.id && data.groups[part.id]) open.has(part.id) ? closeLayer(part.id) : openLayer(part.id);
    else choose(part.id);
    const now = mark();
    if (now) now.focus();
  }
  else if (e.key === "+" || e.key === "=") zoom(0.8);
  else if (e.key === "-") zoom(1.25);
  else if (e.key === "0") fit();
});
document.getElementById("in").addEventListener("click", () => zoom(0.8));
document.getElementById("out").addEventListener("click", () => zoom(1.25));
document.getElementById("fit").addEventListener("click", fit);
document.getElementById("closer").addEventListener("click", () => show(nearest(new Set())));
document.getElementById("opener").addEventListener("click", () => show(nearest(new Set(Object.keys(data.groups)))));
addEventListener("resize", () => fit());

const hasLayers = Object.keys(data.groups).length > 0;
document.getElementById("tools").hidden = false;
document.getElementById("closer").hidden = document.getElementById("opener").hidden = !hasLayers;
document.documentElement.classList.add("live");
show(views.keys().next().value);
