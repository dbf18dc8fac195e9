"use strict";

const EXAMPLES = [
  "Just saw #Amazon and #Washington 😂",
  "Jordan lands in Phoenix with the Bulls",
  "Taylor Swift sings at Wembley Stadium tonight",
];
const COLOURS = 10;
const byId = (id) => document.getElementById(id);
let picture = null;
let pendingRequest = null;
let types = [];
let findsRelations = false;

function element(tag, content = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = content;
  if (className) node.className = className;
  return node;
}

function formatPercent(probability) {
  if (probability > 0.999) return "> 99.9 %";
  return `${(100 * probability).toFixed(probability > 0.99 ? 1 : 0)} %`;
}

function typeColour(type) {
  if (!types.includes(type)) types.push(type);
  return `var(--c${types.indexOf(type) % COLOURS})`;
}

function mentionMark(text, type, note) {
  const mark = element("mark", text);
  mark.style.setProperty("--tone", typeColour(type));
  if (note) mark.append("\u00a0", element("small", note));
  return mark;
}

function showEntities(post) {
  const characters = Array.from(post.text); // the server counts characters, not UTF-16 units
  const parts = [];
  let end = 0;
  for (const entity of [...post.entities].sort((left, right) => left.start - right.start)) {
    parts.push(characters.slice(end, entity.start).join(""));
    const note = `${entity.type} ${formatPercent(entity.probability)}`;
    parts.push(mentionMark(entity.text, entity.type, note));
    end = entity.end;
  }
  parts.push(characters.slice(end).join(""));
  byId("found").replaceChildren(...parts);
}

function showRelations(post) {
  const rows = post.relations.map((relation) => {
    const row = element("li");
    const probability = element("span", "", "probability");
    const bar = element("i");
    bar.style.setProperty("--share", `${100 * relation.probability}%`);
    bar.setAttribute("aria-hidden", "true");
    probability.append(bar, formatPercent(relation.probability));
    row.append(
      mentionMark(relation.head.text, relation.head.type, relation.head.type),
      element("span", relation.label, "arrow"),
      mentionMark(relation.tail.text, relation.tail.type, relation.tail.type),
      probability,
    );
    return row;
  });
  byId("triples").replaceChildren(...rows);
  if (rows.length === 0) byId("triples").append(element("li", "None found.", "quiet"));
  byId("relations").hidden = !findsRelations;
}

function shadedWords(words, weights, maxWeight) {
  const line = element("p", "", "shaded");
  words.forEach((word, index) => {
    const span = element("span", word);
    span.style.setProperty("--share", `${Math.round((75 * weights[index]) / maxWeight)}%`);
    span.title = `attention ${(weights[index] ?? 0).toFixed(3)}`;
    line.append(span, " ");
  });
  return line;
}

function viewCard(view, effect, words, maxWeight) {
  const figure = element("figure");
  const image = element("img");
  image.src = view.image;
  image.alt = `${view.name} that the method used`;
  figure.append(image, element("figcaption", view.name));
  if (!effect) return figure;
  const numbers = element("dl");
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  const rows = [["support", signed(effect.support)], ["change", effect.change.toFixed(3)]];
  if (effect.attention !== null) rows.push(["attention", effect.attention.toFixed(3)]);
  for (const [name, value] of rows) numbers.append(element("dt", name), element("dd", value));
  figure.append(numbers);
  if (effect.words) figure.append(shadedWords(words, effect.words, maxWeight));
  return figure;
}

function showCards(explanation, index) {
  const prediction = explanation.answers[index];
  const effects = prediction?.effects ?? [];
  const words = prediction?.words ?? [];
  const maxWeight = Math.max(1e-9, ...effects.flatMap((effect) => effect.words ?? []));
  const cards = explanation.views.map((view, number) => {
    const effect = effects.find((candidate) => candidate.view === number);
    return viewCard(view, effect, words, maxWeight);
  });
  byId("cards").replaceChildren(...cards);
}

function showViews(explanation) {
  byId("views").hidden = !explanation || explanation.views.length === 0;
  if (byId("views").hidden) return;
  const predictions = explanation.answers;
  const options = predictions.map((prediction, index) => new Option(prediction.about, index));
  byId("about").replaceChildren(...options);
  byId("about-row").hidden = options.length === 0;
  byId("about").onchange = () => showCards(explanation, Number(byId("about").value));
  showCards(explanation, 0);
}

function showProblems(problems) {
  byId("problems").replaceChildren(...problems.map((problem) => element("li", problem)));
  byId("problems").hidden = problems.length === 0;
}

function formatCount(count, singular, plural) {
  return `${count} ${count === 1 ? singular : plural}`;
}

function showResult(post, seconds) {
  showEntities(post);
  showRelations(post);
  showViews(post.explanation);
  showProblems(post.problems);
  offerCorrection(post);
  const { explanation, offsets, ...plain } = post;
  byId("json").textContent = JSON.stringify(plain, null, 2);
  const counts = [formatCount(post.entities.length, "entity", "entities")];
  if (findsRelations) counts.push(formatCount(post.relations.length, "relation", "relations"));
  byId("status").textContent = `Found ${counts.join(" and ")} in ${seconds.toFixed(2)} s`;
  byId("result").hidden = false;
}

function showError(message) {
  byId("error").textContent = message;
  byId("error").hidden = !message;
  if (message) byId("status").textContent = "";
}

function setBusy(busy) {
  byId("send").setAttribute("aria-disabled", String(busy));
  byId("result").classList.toggle("stale", busy);
  if (busy) byId("status").textContent = "Extracting …";
}

async function requestExtraction(signal) {
  const form = new FormData();
  form.append("text", byId("text").value);
  form.append("explain", String(byId("explain").checked));
  if (picture) form.append("image", picture, picture.name || "picture");
  const response = await fetch("/api/upload", { method: "POST", body: form, signal });
  const noJson = { error: `the server responded with status ${response.status}` };
  const content = await response.json().catch(() => noJson);
  if (!response.ok) throw new Error(content.error);
  return content;
}

async function send() {
  if (!byId("post").reportValidity()) return;
  if (pendingRequest) pendingRequest.abort();
  const controller = new AbortController();
  pendingRequest = controller;
  showError("");
  setBusy(true);
  const start = performance.now();
  try {
    const post = await requestExtraction(controller.signal);
    showResult(post, (performance.now() - start) / 1000);
  } catch (error) {
    if (controller.signal.aborted) return;
    byId("result").hidden = true;
    showError(error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    if (pendingRequest === controller) {
      pendingRequest = null;
      setBusy(false);
    }
  }
}

function setPicture(file) {
  if (byId("preview").src) URL.revokeObjectURL(byId("preview").src);
  picture = file;
  byId("preview").hidden = byId("remove").hidden = !file;
  if (file) {
    byId("preview").src = URL.createObjectURL(file);
    byId("preview").alt = `The chosen picture, ${file.name || "pasted"}`;
  } else {
    byId("preview").removeAttribute("src");
    byId("file").value = "";
  }
  byId("drop-text").hidden = Boolean(file);
}

function pictureFrom(transfer) {
  return Array.from(transfer?.files ?? []).find((file) => file.type.startsWith("image/")) ?? null;
}

async function describeServer() {
  const health = await (await fetch("/health")).json();
  const entities = health.methods.find((method) => method.task === "ner");
  types = entities ? [...entities.labels] : [];
  const relations = health.methods.find((method) => method.task === "re");
  findsRelations = Boolean(relations);
  relationLabels = relations ? relations.labels.filter((label) => label !== "None") : [];
  byId("text").maxLength = health.limits.max_characters;
  byId("methods").textContent = health.methods
    .map((method) => `${method.name} finds ${method.task === "ner" ? method.labels.join(", ") : "relations"}`)
    .join("; ");
}

byId("post").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.preventDefault();
    send();
  }
});
byId("file").addEventListener("change", () => {
  if (byId("file").files.length) setPicture(byId("file").files[0]);
});
byId("remove").addEventListener("click", () => {
  setPicture(null);
  byId("file").focus();
});
document.addEventListener("paste", (event) => {
  const file = pictureFrom(event.clipboardData);
  if (file) {
    event.preventDefault();
    setPicture(file);
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  const file = pictureFrom(event.dataTransfer);
  if (file) setPicture(file);
  else if (event.dataTransfer.files.length) showError("That file is not a picture.");
});
for (const text of EXAMPLES) {
  const button = element("button", text);
  button.type = "button";
  button.addEventListener("click", () => {
    byId("text").value = text;
    send();
  });
  byId("examples").append(button);
}
describeServer().catch(() => showError("The server cannot be reached."));
