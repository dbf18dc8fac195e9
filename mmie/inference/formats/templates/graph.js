const { nodes, edges } = JSON.parse(document.getElementById("data").content.textContent);
const svg = document.getElementById("graph"), about = document.getElementById("about");
const MAX_LABELS = 80; // relations whose labels are all shown at once
let view, selected = null, query = "";

function make(name, parent, attributes = {}, text = "") {
  const svgNames = ["g", "path", "circle", "text", "title"];
  const element = svgNames.includes(name) ? document.createElementNS(svg.namespaceURI, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return parent.appendChild(element);
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;
const radius = (node) => Math.min(26, 5 + 2.5 * Math.sqrt(node.count));
const scene = make("g", svg), lines = make("g", scene), dots = make("g", scene);

// Relations between the same two entities are bent apart.
const pairs = new Map();
for (const edge of edges) {
  const pair = [Math.min(edge.head, edge.tail), Math.max(edge.head, edge.tail)].join();
  pairs.set(pair, [...(pairs.get(pair) ?? []), edge]);
}
for (const group of pairs.values())
  group.forEach((edge, index) => { edge.bend = (index - (group.length - 1) / 2) * (edge.head < edge.tail ? 1 : -1); edge.index = index; });

for (const edge of edges) {
  edge.shape = make("g", lines, { class: "edge" });
  edge.line = make("path", edge.shape, { class: "line", "marker-end": "url(#arrow)", "stroke-width": 1 + Math.log2(edge.count) / 2 });
  edge.target = make("path", edge.shape, { class: "target" });
  edge.name = make("text", edge.shape, {}, edge.label);
}
nodes.forEach((node, number) => {
  const name = `${node.text}, ${node.type || "no type"}`;
  node.shape = make("g", dots, { class: "node", tabindex: 0, role: "button", "aria-label": name });
  make("circle", node.shape, { r: radius(node), class: `tone${node.tone}` });
  make("text", node.shape, { y: radius(node) + 12 }, node.text.length > 24 ? `${[...node.text].slice(0, 23).join("")}…` : node.text);
  node.edges = edges.filter((edge) => edge.head === number || edge.tail === number);
});

function drawEdge(edge) {
  const from = nodes[edge.head], to = nodes[edge.tail];
  let path, middle;
  if (from === to) {
    const r = radius(from), out = r + 26 + 14 * edge.index;
    path = `M${from.x - r * .6} ${from.y - r * .8} C${from.x - out} ${from.y - out * 1.6} ${from.x + out} ${from.y - out * 1.6} ${to.x + r * .6} ${to.y - r * .8}`;
    middle = [from.x, from.y - out * 1.3];
  } else {
    const dx = to.x - from.x, dy = to.y - from.y, long = Math.hypot(dx, dy) || 1, bow = 36 * edge.bend;
    const cx = (from.x + to.x) / 2 - dy / long * bow, cy = (from.y + to.y) / 2 + dx / long * bow;
    const rim = (node, gap) => { const far = Math.hypot(cx - node.x, cy - node.y) || 1, r = (radius(node) + gap) / far; return `${node.x + (cx - node.x) * r} ${node.y + (cy - node.y) * r}`; };
    path = `M${rim(from, 0)} Q${cx} ${cy} ${rim(to, 2)}`;
    middle = [(from.x + 2 * cx + to.x) / 4, (from.y + 2 * cy + to.y) / 4];
  }
  edge.line.setAttribute("d", path);
  edge.target.setAttribute("d", path);
  edge.name.setAttribute("x", middle[0]);
  edge.name.setAttribute("y", middle[1]);
}

function drawNode(node) {
  node.shape.setAttribute("transform", `translate(${node.x} ${node.y})`);
  node.edges.forEach(drawEdge);
}

function setView(next) {
  view = next;
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}

function zoom(spot, by) {
  setView({ x: spot.x + (view.x - spot.x) * by, y: spot.y + (view.y - spot.y) * by, width: view.width * by, height: view.height * by });
}

function fitView(shown) {
  if (!shown.length) return setView({ x: 0, y: 0, width: 100, height: 100 });
  const xs = shown.map((node) => node.x), ys = shown.map((node) => node.y), room = 60;
  const x = Math.min(...xs) - room, y = Math.min(...ys) - room;
  setView({ x, y, width: Math.max(300, Math.max(...xs) + room - x), height: Math.max(200, Math.max(...ys) + room - y) });
}

function describeEdge(edge, list, withPosts) {
  const item = make("li", list);
  make("bdi", item, {}, nodes[edge.head].text);
  item.append(" ");
  make("b", item, {}, edge.label);
  item.append(" ");
  make("bdi", item, {}, nodes[edge.tail].text);
  item.append(`, ${percent(edge.probability)}, ${edge.posts_count} post${edge.posts_count === 1 ? "" : "s"}`);
  if (!withPosts) return;
  const posts = make("ul", list.parentNode);
  for (const [post, probability] of edge.posts) {
    const line = make("li", posts);
    line.append("post ");
    make("bdi", line, {}, post);
    line.append(`: ${percent(probability)}`);
  }
  if (edge.posts_count > edge.posts.length) make("li", posts, { class: "quiet" }, `and ${edge.posts_count - edge.posts.length} more`);
}

function describe(item) {
  about.replaceChildren();
  const isNode = "text" in item;
  make("h2", about, { dir: "auto" }, isNode ? item.text : item.label);
  if (isNode) make("p", about, { class: "quiet" }, `${item.type || "no type"}, ${item.count} mention${item.count === 1 ? "" : "s"}`);
  const list = make("ul", about);
  for (const edge of isNode ? item.edges : [item]) describeEdge(edge, list, !isNode);
}

function show(item) {
  if (item) describe(item);
  const neighbours = new Set(!item ? [] : "text" in item ? [item, ...item.edges.flatMap((edge) => [nodes[edge.head], nodes[edge.tail]])] : [nodes[item.head], nodes[item.tail]]);
  const types = new Set([...document.querySelectorAll(".type input:checked")].map((box) => box.value));
  const matchesQuery = (node) => node.text.toLowerCase().includes(query);
  for (const node of nodes) {
    node.shape.classList.toggle("gone", !types.has(node.type));
    node.shape.classList.toggle("faint", item ? !neighbours.has(node) : !matchesQuery(node));
    node.shape.classList.toggle("chosen", node === item);
  }
  for (const edge of edges) {
    const ends = [nodes[edge.head], nodes[edge.tail]];
    const isLit = item ? edge === item || ends.includes(item) : ends.some(matchesQuery);
    edge.shape.classList.toggle("gone", !ends.every((node) => types.has(node.type)));
    edge.shape.classList.toggle("faint", !isLit);
    edge.shape.classList.toggle("chosen", edge === item);
    edge.name.classList.toggle("gone", !(isLit && (item || edges.length <= MAX_LABELS)));
  }
}

function toScene(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return { x: point.x, y: point.y };
}

function onDrag(element, start, move, end) {
  element.addEventListener("pointerdown", (down) => {
    if (down.button) return;
    down.stopPropagation();
    svg.setPointerCapture(down.pointerId);
    const state = start(toScene(down)), from = [down.clientX, down.clientY];
    let moved = false;
    const moving = (event) => {
      moved ||= Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 3;
      if (moved) move(state, toScene(event), event);
    };
    const stop = () => { svg.removeEventListener("pointermove", moving); svg.removeEventListener("pointerup", stop); svg.removeEventListener("pointercancel", stop); if (!moved) end(); };
    svg.addEventListener("pointermove", moving);
    svg.addEventListener("pointerup", stop);
    svg.addEventListener("pointercancel", stop);
  });
}

function toggleSelection(item) {
  selected = selected === item ? null : item;
  show(selected);
}

for (const item of [...nodes, ...edges]) {
  item.shape.addEventListener("pointerenter", () => { if (!selected) show(item); });
  item.shape.addEventListener("pointerleave", () => { if (!selected) show(null); });
}
for (const node of nodes) {
  onDrag(node.shape, () => null, (_, spot) => { Object.assign(node, spot); drawNode(node); }, () => toggleSelection(node));
  node.shape.addEventListener("focus", () => { if (!selected && node.shape.matches(":focus-visible")) show(node); });
  node.shape.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggleSelection(node); } });
}
for (const edge of edges) onDrag(edge.shape, () => null, () => {}, () => toggleSelection(edge));
onDrag(svg, (spot) => spot, (from, spot) => setView({ ...view, x: view.x + from.x - spot.x, y: view.y + from.y - spot.y }), () => { selected = null; show(null); });
svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(toScene(event), Math.exp(Math.max(-120, Math.min(120, event.deltaY)) / 500));
}, { passive: false });
for (const [id, by] of [["zoom-in", 1 / 1.5], ["zoom-out", 1.5]]) // for devices without a wheel
  document.getElementById(id).addEventListener("click", () => zoom({ x: view.x + view.width / 2, y: view.y + view.height / 2 }, by));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") { selected = null; show(null); } });
document.querySelectorAll(".type input").forEach((box) => box.addEventListener("change", () => show(selected)));
document.getElementById("fit").addEventListener("click", () => fitView(nodes));
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("search").addEventListener("input", (event) => {
  query = event.target.value.trim().toLowerCase();
  selected = null;
  const hits = nodes.filter((node) => node.text.toLowerCase().includes(query));
  document.getElementById("hits").textContent = query ? `${hits.length} found` : "";
  if (hits.length) fitView(query ? hits : nodes);
  show(null);
});

nodes.forEach(drawNode);
fitView(nodes);
show(null);
