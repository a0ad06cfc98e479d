// The picture's nodes, what is known of them, and which layers stand open.
const details = document.getElementById("details");
const views = new Map([...document.querySelectorAll("template[data-open]")].map(t => [t.dataset.open, t]));
let open = new Set(), chosen = null;

const keyOf = set => [...set].sort().join(" ");

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
  framed();
  for (const part of picture.querySelectorAll(".node, .cluster.layer")) if (data.nodes[part.id]) reachable(part, data.nodes[part.id].statement);
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
});
document.getElementById("closer").addEventListener("click", () => show(nearest(new Set())));
document.getElementById("opener").addEventListener("click", () => show(nearest(new Set(Object.keys(data.groups)))));
addEventListener("resize", () => fit());

const hasLayers = Object.keys(data.groups).length > 0;
document.getElementById("closer").hidden = document.getElementById("opener").hidden = !hasLayers;
show(views.keys().next().value);
