// Which step is shown. A stop is a position that the page has: 0, 1, 2 … and the end.
const get = id => document.getElementById(id);
const told = [...document.querySelectorAll("#steps > li")];
const end = data.stops.length - 1;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const SECONDS = 1.6; // from one step to the next, at speed 1
const LEGIBLE = 1; // units of the picture for one pixel, at most, or its letters are too small
let at = -1, timer = 0, asked = null, cameFrom = null, moving = 0, zoomed = false;

// -- a stop

function show(stop, aloud) {
  at = Math.max(0, Math.min(end, stop));
  const step = at - 1, [from, to] = data.boxes[step] || ["", ""];
  told.forEach((item, i) => item.classList.toggle("now", i === at));
  data.values.forEach((value, i) => {
    let k = value.stops.length - 1;
    while (value.stops[k] > at) k--;
    const fresh = at > 0 && value.stops[k] === at, pending = k === 0 && value.count > 0;
    for (const part of [get("v" + i), value.place && get(value.place)]) {
      if (!part) continue;
      part.textContent = value.texts[k];
      part.classList.toggle("pending", pending);
      part.classList.toggle("fresh", fresh);
    }
    get("v" + i).parentElement.classList.toggle("now", fresh);
    const box = value.place && get(value.box);
    if (box) box.setAttribute("aria-label", value.name + ": gradient " + value.texts[k]);
  });
  data.edges.forEach((id, i) => {
    if (!id) return;
    get(id).classList.toggle("done", i < step);
    get(id).classList.toggle("now", i === step);
  });
  for (const [name, id] of [["from", from], ["to", to]]) {
    for (const part of picture.querySelectorAll(".node." + name)) part.classList.remove(name);
    if (id) get(id).classList.add(name);
  }
  for (const line of document.querySelectorAll(".listing .now")) line.classList.remove("now");
  for (const id of data.lines[step] || []) if (get(id)) get(id).classList.add("now");
  for (const list of document.querySelectorAll(".listing pre")) {
    const line = list.querySelector(".now");
    if (line) list.scrollTop = Math.max(0, line.offsetTop - list.clientHeight / 2);
  }
  follow([from, to].filter(Boolean));
  get("slider").value = at;
  get("slider").setAttribute("aria-valuetext", "step " + data.stops[at] + " of " + data.stops[end]);
  get("count").textContent = data.stops[at].toLocaleString("en") + " / " + data.stops[end].toLocaleString("en");
  get("first").disabled = get("back").disabled = at === 0;
  get("next").disabled = get("last").disabled = at === end;
  if (aloud) get("spoken").textContent = told[at].dataset.said;
  try { history.replaceState(null, "", location.href.split("#")[0] + "#step=" + data.stops[at]); } catch { /* inside a frame */ }
}
function stopOf(hash) {
  const asks = /^#step=(\d+)$/.exec(hash);
  if (!asks) return null;
  let stop = end;
  while (data.stops[stop] > Number(asks[1])) stop--;
  return stop;
}
const go = stop => { pause(); show(stop, true); };

// -- playing

function pause() { clearTimeout(timer); timer = 0; get("play").textContent = "Play"; }
function later() { timer = setTimeout(() => { show(at + 1, true); at < end ? later() : pause(); }, SECONDS * 1000 * get("speed").value); }
function play() {
  if (timer) { pause(); return; }
  if (!end) return;
  show(at === end ? 0 : at + 1, true);
  if (at === end) return;
  get("play").textContent = "Pause";
  later();
}

// -- the picture goes where the step is, if it is too large to be seen at once

function follow(ids) {
  cancelAnimationFrame(moving);
  if (!picture.clientWidth) return;
  const all = whole();
  let goal = all;
  if (zoomed || scaleOf(all) > LEGIBLE) {
    const shape = picture.getBoundingClientRect(), scale = zoomed ? scaleOf(box) : LEGIBLE;
    const wide = shape.width * scale, high = shape.height * scale;
    const parts = ids.map(id => get(id).getBoundingClientRect());
    const corners = parts.flatMap(r => [under(r.left, r.top), under(r.right, r.bottom)]);
    if (!corners.length) corners.push([full[0] + full[2], full[1] + full[3] / 2]); // the loss is at the right
    const span = k => [Math.min(...corners.map(c => c[k])), Math.max(...corners.map(c => c[k]))];
    const place = (k, size) => {
      const [low, high] = span(k), margin = size * 0.08;
      if (full[2 + k] <= size) return full[k] - (size - full[2 + k]) / 2;
      const wanted = high - low > size - 2 * margin ? low - margin : (low + high - size) / 2; // what gets gradient is at the left
      return Math.max(full[k], Math.min(full[k] + full[2 + k] - size, wanted));
    };
    goal = [place(0, wide), place(1, high), wide, high];
  }
  const start = [...box], began = performance.now();
  if (still.matches || at < 0 || start.every((x, k) => Math.abs(x - goal[k]) < 1)) { see(goal); return; }
  const frame = now => {
    const t = Math.max(0, Math.min(1, (now - began) / 320)), eased = 1 - (1 - t) ** 3;
    see(start.map((x, k) => x + (goal[k] - x) * eased));
    if (t < 1) moving = requestAnimationFrame(frame);
  };
  moving = requestAnimationFrame(frame);
}

// -- where a gradient came from

function ask(i, by) {
  answerless();
  asked = i; cameFrom = by || null;
  const why = get("why-" + i), box = data.values[i].box && get(data.values[i].box);
  why.classList.add("now");
  if (box) box.classList.add("chosen");
  for (const id of data.values[i].way) get(id).classList.add("chosen");
  why.focus({ preventScroll: true });
  why.scrollIntoView({ block: "nearest" });
}
function answerless() {
  if (asked === null) return;
  get("why-" + asked).classList.remove("now");
  for (const part of picture.querySelectorAll(".chosen")) part.classList.remove("chosen");
  asked = null;
  if (cameFrom) cameFrom.focus({ preventScroll: true });
}
const valueIn = part => { const own = data.values.findIndex(v => v.box === part.id && v.place); return own >= 0 ? own : data.values.findIndex(v => v.box === part.id); };

for (const why of document.querySelectorAll(".why")) {
  const close = element("button", "×");
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", answerless);
  why.append(close);
}
for (const part of picture.querySelectorAll(".node")) if (valueIn(part) >= 0) reachable(part, part.querySelector("a") ? part.querySelector("a").getAttribute("xlink:title") : part.id);
picture.addEventListener("click", e => {
  const part = e.target.closest(".node");
  if (part && moved <= 4 && valueIn(part) >= 0) ask(valueIn(part), part);
});
for (const name of ["pointerup", "wheel"]) picture.addEventListener(name, () => { if (name === "wheel" || moved > 4) zoomed = true; });
for (const name of ["in", "out"]) get(name).addEventListener("click", () => { zoomed = true; });
get("fit").addEventListener("click", () => { zoomed = false; });

// -- keys, buttons, links

addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const here = document.activeElement, part = here && here.closest ? here.closest(".node") : null;
  if (e.key === "Escape") answerless();
  else if (part && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); if (valueIn(part) >= 0) ask(valueIn(part), part); }
  else if (here && here.matches("input, select")) return; // which know these keys themselves
  else if (e.key === " " && here && here.matches("button, a")) return;
  else {
    const does = { ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(end), " ": play }[e.key];
    if (does) { e.preventDefault(); does(); }
  }
});
get("controls").addEventListener("click", e => {
  const button = e.target.closest("button");
  if (!button) return;
  ({ first: () => go(0), back: () => go(at - 1), play, next: () => go(at + 1), last: () => go(end) })[button.id]();
  if (e.detail) button.blur(); // clicked: then Space plays, and does not press the button again
});
get("slider").addEventListener("input", e => go(Number(e.target.value)));
get("speed").addEventListener("change", () => { if (timer) { clearTimeout(timer); later(); } });
document.addEventListener("click", e => {
  const link = e.target.closest("a[href^='#']");
  if (!link) return;
  e.preventDefault();
  const href = link.getAttribute("href"), stop = stopOf(href);
  if (stop !== null) go(stop);
  else ask(Number(href.slice("#why-".length)), link);
});
addEventListener("hashchange", () => { const stop = stopOf(location.hash); if (stop !== null && location.hash !== "#step=" + data.stops[at]) go(stop); });
addEventListener("resize", () => follow([...picture.querySelectorAll(".from, .to")].map(part => part.id)));

for (const item of told) item.removeAttribute("id"); // or the browser goes there, when the address says so
get("controls").hidden = false;
document.querySelector("main").classList.toggle("alone", !document.querySelector(".listing"));
framed();
const asks = stopOf(location.hash);
fit();
show(asks === null ? data.start : asks, false);
