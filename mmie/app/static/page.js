"use strict";

const EXAMPLES = [
  "Just saw #Amazon and #Washington 😂",
  "Jordan lands in Phoenix with the Bulls",
  "Taylor Swift sings at Wembley Stadium tonight",
];
const COLOURS = 10;
const at = (id) => document.getElementById(id);
let picture = null;
let asking = null;
let types = [];
let findsRelations = false;

function element(tag, content = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}

function percent(probability) {
  if (probability > 0.999) return "> 99.9 %";
  return `${(100 * probability).toFixed(probability > 0.99 ? 1 : 0)} %`;
}

function colourOf(type) {
  if (!types.includes(type)) types.push(type);
  return `var(--c${types.indexOf(type) % COLOURS})`;
}

function marked(text, type, note) {
  const mark = element("mark", text);
  mark.style.setProperty("--tone", colourOf(type));
  if (note) mark.append("\u00a0", element("small", note));
  return mark;
}

function showEntities(post) {
  const characters = Array.from(post.text); // the server counts characters, not UTF-16 units
  const parts = [];
  let place = 0;
  for (const entity of [...post.entities].sort((one, other) => one.start - other.start)) {
    parts.push(characters.slice(place, entity.start).join(""));
    parts.push(marked(entity.text, entity.type, `${entity.type} ${percent(entity.probability)}`));
    place = entity.end;
  }
  parts.push(characters.slice(place).join(""));
  at("found").replaceChildren(...parts);
}

function showRelations(post) {
  const rows = post.relations.map((relation) => {
    const row = element("li");
    const sure = element("span", "", "sure");
    const bar = element("i");
    bar.style.setProperty("--share", `${100 * relation.probability}%`);
    bar.setAttribute("aria-hidden", "true");
    sure.append(bar, percent(relation.probability));
    row.append(
      marked(relation.head.text, relation.head.type, relation.head.type),
      element("span", relation.label, "arrow"),
      marked(relation.tail.text, relation.tail.type, relation.tail.type),
      sure,
    );
    return row;
  });
  at("triples").replaceChildren(...rows);
  if (rows.length === 0) at("triples").append(element("li", "None found.", "quiet"));
  at("relations").hidden = !findsRelations;
}

function shadedWords(words, weights, most) {
  const line = element("p", "", "shaded");
  words.forEach((word, place) => {
    const span = element("span", word);
    span.style.setProperty("--share", `${Math.round((75 * weights[place]) / most)}%`);
    span.title = `attention ${(weights[place] ?? 0).toFixed(3)}`;
    line.append(span, " ");
  });
  return line;
}

function viewCard(view, effect, answer, most) {
  const figure = element("figure");
  const image = element("img");
  image.src = view.image;
  image.alt = `${view.name} as the method saw it`;
  figure.append(image, element("figcaption", view.name));
  if (!effect) return figure;
  const numbers = element("dl");
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  const rows = [["support", signed(effect.support)], ["change", effect.change.toFixed(3)]];
  if (effect.attention !== null) rows.push(["attention", effect.attention.toFixed(3)]);
  for (const [name, value] of rows) numbers.append(element("dt", name), element("dd", value));
  figure.append(numbers);
  if (effect.words) figure.append(shadedWords(answer.words, effect.words, most));
  return figure;
}

function showCards(explanation, chosen) {
  const answer = explanation.answers[chosen];
  const effects = answer ? answer.effects : [];
  const most = Math.max(1e-9, ...effects.flatMap((effect) => effect.words ?? []));
  const cards = explanation.views.map((view, place) =>
    viewCard(view, effects.find((effect) => effect.view === place), answer, most));
  at("cards").replaceChildren(...cards);
}

function showViews(explanation) {
  at("views").hidden = !explanation || explanation.views.length === 0;
  if (at("views").hidden) return;
  const options = explanation.answers.map((answer, place) => new Option(answer.about, place));
  at("about").replaceChildren(...options);
  at("about-row").hidden = options.length === 0;
  at("about").onchange = () => showCards(explanation, Number(at("about").value));
  showCards(explanation, 0);
}

function showProblems(problems) {
  at("problems").replaceChildren(...problems.map((problem) => element("li", problem)));
  at("problems").hidden = problems.length === 0;
}

function counted(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

function show(post, seconds) {
  showEntities(post);
  showRelations(post);
  showViews(post.explanation);
  showProblems(post.problems);
  const { explanation, ...plain } = post;
  at("json").textContent = JSON.stringify(plain, null, 2);
  const found = [counted(post.entities.length, "entity", "entities")];
  if (findsRelations) found.push(counted(post.relations.length, "relation", "relations"));
  at("status").textContent = `Found ${found.join(" and ")} in ${seconds.toFixed(2)} s`;
  at("result").hidden = false;
}

function complain(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
  if (message) at("status").textContent = "";
}

function setBusy(busy) {
  at("send").setAttribute("aria-disabled", String(busy));
  at("result").classList.toggle("stale", busy);
  if (busy) at("status").textContent = "Reading …";
}

async function ask(signal) {
  const form = new FormData();
  form.append("text", at("text").value);
  form.append("explain", String(at("explain").checked));
  if (picture) form.append("image", picture, picture.name || "picture");
  const response = await fetch("/api/upload", { method: "POST", body: form, signal });
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function send() {
  if (!at("post").reportValidity()) return;
  if (asking) asking.abort();
  const own = new AbortController();
  asking = own;
  complain("");
  setBusy(true);
  const start = performance.now();
  try {
    show(await ask(own.signal), (performance.now() - start) / 1000);
  } catch (error) {
    if (own.signal.aborted) return;
    at("result").hidden = true;
    complain(error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    if (asking === own) {
      asking = null;
      setBusy(false);
    }
  }
}

function setPicture(file) {
  if (at("preview").src) URL.revokeObjectURL(at("preview").src);
  picture = file;
  at("preview").hidden = at("remove").hidden = !file;
  if (file) {
    at("preview").src = URL.createObjectURL(file);
    at("preview").alt = `The chosen picture, ${file.name || "pasted"}`;
  } else {
    at("preview").removeAttribute("src");
    at("file").value = "";
  }
  at("drop-text").hidden = Boolean(file);
}

function pictureOf(transfer) {
  return Array.from(transfer?.files ?? []).find((file) => file.type.startsWith("image/")) ?? null;
}

async function describeServer() {
  const health = await (await fetch("/health")).json();
  const entities = health.methods.find((method) => method.task === "ner");
  types = entities ? [...entities.labels] : [];
  findsRelations = health.methods.some((method) => method.task === "re");
  at("text").maxLength = health.limits.max_characters;
  at("methods").textContent = health.methods
    .map((method) => `${method.name} finds ${method.task === "ner" ? method.labels.join(", ") : "relations"}`)
    .join("; ");
}

at("post").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.preventDefault();
    send();
  }
});
at("file").addEventListener("change", () => {
  if (at("file").files.length) setPicture(at("file").files[0]);
});
at("remove").addEventListener("click", () => {
  setPicture(null);
  at("file").focus();
});
document.addEventListener("paste", (event) => {
  const file = pictureOf(event.clipboardData);
  if (file) {
    event.preventDefault();
    setPicture(file);
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const file = pictureOf(event.dataTransfer);
  if (file) setPicture(file);
  else if (event.dataTransfer.files.length) complain("That file is no picture.");
});
for (const text of EXAMPLES) {
  const button = element("button", text);
  button.type = "button";
  button.addEventListener("click", () => {
    at("text").value = text;
    send();
  });
  at("examples").append(button);
}
describeServer().catch(() => complain("The server cannot be reached."));
