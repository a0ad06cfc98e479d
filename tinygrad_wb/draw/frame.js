"use strict";
// Common to all pages: their data, and a picture that is moved and enlarged. All text is set as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const picture = document.getElementById("picture");
const element = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text, className: name || "" });
let box = null, full = null; // what of the picture is seen, and the whole of it: left, top, width, height

function see(view) {
  box = view;
  picture.firstElementChild.setAttribute("viewBox", box.join(" "));
}
function framed() { // the picture has another <svg>
  const svg = picture.firstElementChild;
  svg.removeAttribute("width"); svg.removeAttribute("height");
  svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
  full = svg.getAttribute("viewBox").split(/\s+/).map(Number);
  box = [...full];
}
function reachable(part, label) {
  part.setAttribute("tabindex", "0");
  part.setAttribute("role", "button");
  part.setAttribute("aria-label", label);
}

function whole() {
  const shape = picture.getBoundingClientRect();
  // No larger than life: a small graph is not blown up.
  const wide = Math.max(full[2], shape.width * 0.75), high = Math.max(full[3], shape.height * 0.75);
  return [full[0] - (wide - full[2]) / 2, full[1] - (high - full[3]) / 2, wide, high];
}
const fit = () => see(whole());
function scaleOf(view) { // units of the picture for one pixel
  const shape = picture.getBoundingClientRect();
  return Math.max(view[2] / shape.width, view[3] / shape.height);
}
function under(x, y) { // a point of the window, in units of the picture
  const shape = picture.getBoundingClientRect(), scale = scaleOf(box);
  return [box[0] + box[2] / 2 + (x - shape.left - shape.width / 2) * scale, box[1] + box[3] / 2 + (y - shape.top - shape.height / 2) * scale];
}
function zoom(factor, x, y) {
  const scale = scaleOf(box);
  if (scale * factor < 0.05 || scale * factor > 200) return;
  const [px, py] = x === undefined ? [box[0] + box[2] / 2, box[1] + box[3] / 2] : under(x, y);
  see([px + (box[0] - px) * factor, py + (box[1] - py) * factor, box[2] * factor, box[3] * factor]);
}
function pan(dx, dy) {
  const scale = scaleOf(box);
  see([box[0] - dx * scale, box[1] - dy * scale, box[2], box[3]]);
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
picture.addEventListener("focusin", () => { picture.scrollLeft = picture.scrollTop = 0; }); // which browsers move to show what has focus
addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "+" || e.key === "=") zoom(0.8);
  else if (e.key === "-") zoom(1.25);
  else if (e.key === "0") fit();
});
document.getElementById("in").addEventListener("click", () => zoom(0.8));
document.getElementById("out").addEventListener("click", () => zoom(1.25));
document.getElementById("fit").addEventListener("click", fit);
document.getElementById("tools").hidden = false;
document.documentElement.classList.add("live");
