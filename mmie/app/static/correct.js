// Correction of what was found: entities and relations are changed here, and saved by the browser.
const corrected = new Map(); // lines of corrected.jsonl by post
let correction = null; // post being corrected, its entities and relations, and what is chosen
let lastPost = null;
let relationLabels = [];

function beginCorrection() {
  const entities = lastPost.entities.map(({ type, start, end }) => ({ type, start, end }));
  const entityAt = (span) =>
    entities.find((entity) => entity.start === span.start && entity.end === span.end);
  const relations = lastPost.relations
    .map(({ head, label, tail }) => ({ head: entityAt(head), label, tail: entityAt(tail) }))
    .filter(({ head, tail }) => head && tail);
  correction = { entities, relations, entity: null, first: null, last: null };
  showCorrection();
}

function endCorrection() {
  correction = null;
  showEntities(lastPost);
  showRelations(lastPost);
  showControls();
}

function textOf({ start, end }) {
  return Array.from(lastPost.text).slice(start, end).join("");
}

function chosenSpan() {
  if (correction.entity) return correction.entity;
  if (correction.first === null) return null;
  return { start: lastPost.offsets[correction.first][0], end: lastPost.offsets[correction.last][1] };
}

function chooseEntity(entity) {
  const same = correction.entity === entity;
  Object.assign(correction, { entity: same ? null : entity, first: null, last: null });
  showCorrection(entity.start);
}

function chooseWord(index) {
  const { first, last } = correction;
  correction.entity = null;
  if (first === index && last === index) {
    correction.first = correction.last = null;
  } else if (first === null || isTaken(Math.min(first, index), Math.max(last, index))) {
    correction.first = correction.last = index;
  } else {
    correction.first = Math.min(first, index);
    correction.last = Math.max(last, index);
  }
  showCorrection(lastPost.offsets[index][0]);
}

function isTaken(first, last) {
  const [start, end] = [lastPost.offsets[first][0], lastPost.offsets[last][1]];
  return correction.entities.some((entity) => entity.start < end && start < entity.end);
}

function asButton(node, start, pressed, action) {
  node.setAttribute("role", "button");
  node.setAttribute("aria-pressed", String(pressed));
  node.tabIndex = 0;
  node.dataset.start = start;
  node.addEventListener("click", action);
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    if (event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  });
  return node;
}

function correctionParts() {
  const characters = Array.from(lastPost.text);
  const parts = [];
  let end = 0;
  const append = (node, span) => {
    parts.push(characters.slice(end, span.start).join(""), node);
    end = span.end;
  };
  lastPost.offsets.forEach(([start, stop], index) => {
    if (start < end) return;
    const entity = correction.entities.find((item) => item.start <= start && start < item.end);
    if (entity) {
      const mark = mentionMark(textOf(entity), entity.type, entity.type);
      const choose = () => chooseEntity(entity);
      append(asButton(mark, entity.start, entity === correction.entity, choose), entity);
    } else {
      const { first, last } = correction;
      const isChosen = first !== null && first <= index && index <= last;
      const word = element("span", characters.slice(start, stop).join(""), "word");
      append(asButton(word, start, isChosen, () => chooseWord(index)), { start, end: stop });
    }
  });
  return [...parts, characters.slice(end).join("")];
}

function optionsOf(values, chosen) {
  const all = values.includes(chosen) || !chosen ? values : [...values, chosen];
  return all.map((value) => new Option(value, value, false, value === chosen));
}

function selectOf(name, values, chosen, action) {
  const select = element("select");
  select.setAttribute("aria-label", name);
  select.append(...optionsOf(values, chosen));
  select.addEventListener("change", () => action(select.value));
  return select;
}

function buttonOf(text, action, label) {
  const button = element("button", text, "small-button");
  button.type = "button";
  if (label) button.setAttribute("aria-label", label);
  button.addEventListener("click", action);
  return button;
}

function showCorrection(focus) {
  byId("found").replaceChildren(...correctionParts());
  if (focus !== undefined) byId("found").querySelector(`[data-start="${focus}"]`)?.focus();
  showEditor();
  showRelationEditor();
  showControls();
}

function showEditor() {
  const span = chosenSpan();
  const editor = byId("editor");
  if (!span) {
    const help = "Press an entity to change it, or the first and the last word of a new one.";
    editor.replaceChildren(element("span", help, "quiet"));
    return;
  }
  const { entity } = correction;
  const name = element("b", textOf(span));
  const type = selectOf("Type", types, entity?.type, (value) => {
    if (!entity) return;
    entity.type = value;
    showCorrection();
    byId("editor").querySelector("select").focus();
  });
  const action = entity
    ? buttonOf("Remove", () => removeEntity(entity))
    : buttonOf("Add", () => addEntity(span, type.value));
  editor.replaceChildren(name, type, action);
}

function addEntity({ start, end }, type) {
  const entity = { type, start, end };
  correction.entities.push(entity);
  correction.entities.sort((left, right) => left.start - right.start);
  Object.assign(correction, { entity: null, first: null, last: null });
  showCorrection(start);
}

function removeEntity(entity) {
  correction.entities = correction.entities.filter((item) => item !== entity);
  correction.relations = correction.relations.filter(
    (relation) => relation.head !== entity && relation.tail !== entity,
  );
  correction.entity = null;
  showCorrection(entity.start);
}

function showRelationEditor() {
  if (!relationLabels.length) return;
  const rows = correction.relations.map((relation) => {
    const row = element("li");
    const label = selectOf("Label", relationLabels, relation.label, (value) => {
      relation.label = value;
    });
    const name = `${textOf(relation.head)} ${relation.label} ${textOf(relation.tail)}`;
    const remove = () => {
      correction.relations = correction.relations.filter((item) => item !== relation);
      showCorrection();
      byId("relations-title").focus();
    };
    row.append(
      mentionMark(textOf(relation.head), relation.head.type, relation.head.type),
      label,
      mentionMark(textOf(relation.tail), relation.tail.type, relation.tail.type),
      buttonOf("Remove", remove, `Remove ${name}`),
    );
    return row;
  });
  if (correction.entities.length > 1) rows.push(newRelationRow());
  byId("triples").replaceChildren(...rows);
}

function newRelationRow() {
  const row = element("li", "", "new");
  const names = correction.entities.map((entity) => `${textOf(entity)} ${entity.type}`);
  const ends = ["Head", "Tail"].map((name, index) => {
    const select = selectOf(name, [], undefined, () => {});
    select.append(...names.map((text, number) => new Option(text, number)));
    select.selectedIndex = index;
    return select;
  });
  const label = selectOf("Label of the new relation", relationLabels, undefined, () => {});
  const add = () => {
    const [head, tail] = ends.map((select) => correction.entities[Number(select.value)]);
    if (head === tail) {
      byId("saved").textContent = "A relation needs two entities.";
      return;
    }
    correction.relations.push({ head, label: label.value, tail });
    showCorrection();
    byId("triples").querySelector(".new button").focus();
  };
  row.append(ends[0], label, ends[1], buttonOf("Add relation", add));
  return row;
}

function correctedLine() {
  const span = (entity) => ({ text: textOf(entity), ...entity });
  const line = { id: lastPost.name, text: lastPost.text };
  if (lastPost.imageName) line.image = lastPost.imageName;
  line.entities = correction.entities.map(span);
  line.relations = correction.relations.map(({ head, label, tail }) => ({
    head: span(head),
    label,
    tail: span(tail),
  }));
  return JSON.stringify(line);
}

function saveCorrection() {
  corrected.set(lastPost.name, correctedLine());
  const content = [...corrected.values()].map((line) => `${line}\n`).join("");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/x-ndjson" }));
  link.download = "corrected.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  byId("saved").textContent = `${formatCount(corrected.size, "post", "posts")} in corrected.jsonl`;
}

function showControls() {
  const active = correction !== null;
  byId("correct").hidden = !lastPost || types.length === 0;
  byId("correct").textContent = active ? "Discard corrections" : "Correct";
  byId("editor").hidden = byId("save-row").hidden = !active;
  byId("saved").textContent = "";
}

function offerCorrection(post) {
  const name = `post-${Date.now().toString(36)}`;
  lastPost = { ...post, name, imageName: picture ? picture.name || "picture" : null };
  correction = null;
  showControls();
}

byId("correct").addEventListener("click", () => (correction ? endCorrection() : beginCorrection()));
byId("save").addEventListener("click", saveCorrection);
