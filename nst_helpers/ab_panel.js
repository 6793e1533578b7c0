// The page of the blind panel: it shows two pictures and passes on what was pressed. It is never
// told how a picture was made.

let panels = 0;

/** Returns an element; attributes beginning with "on" are listeners. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  // JupyterLab's single-key shortcuts are for whatever has the focus: each control holds them off.
  if (tag === "button" || tag === "input") {
    element.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Keeps one object URL an image, and frees the one before. */
function showBytes(image, bytes) {
  if (image.dataset.url) URL.revokeObjectURL(image.dataset.url);
  const url = bytes ? URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })) : "";
  image.dataset.url = url;
  if (url) image.src = url;
  else image.removeAttribute("src");
}

function figure(label) {
  const image = make("img", { alt: label });
  return { image, element: make("figure", {}, image, make("figcaption", {}, label)) };
}

function render({ model, el }) {
  const id = `nst-ab-${++panels}`;
  const number = () => model.get("shown").number;
  const send = (content) => model.send({ ...content, number: number() });

  const question = make("p", { class: "nst-ab-question", id: `${id}-question` });
  const title = make("p", { class: "nst-ab-title" });
  const status = make("p", { class: "nst-ab-status", role: "status", "aria-live": "polite" });

  // --- who votes ---

  const start = () => {
    send({ kind: "begin", name: name.value });
    name.value = "";
  };
  const name = make("input", { type: "text", id: `${id}-name`, maxlength: 40, autocomplete: "off" });
  // JupyterLab keeps the Enter key from submitting a form, so there is none.
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.repeat) return;
    event.preventDefault(); // the focus moves on, and the key must not press what it moves to
    start();
  });
  const begin = make("button", { type: "button", class: "nst-ab-first", onclick: start }, "Begin");
  const hint = make("p", { class: "nst-ab-quiet" });
  const welcome = make("div");
  welcome.append(
    hint,
    make("label", { for: name.id }, "Your nickname (may be left empty)"),
    make("span", { class: "nst-ab-row" }, name, begin),
  );

  // --- the pair ---

  const reference = figure("For comparison");
  const left = figure("Picture A");
  const right = figure("Picture B");
  const vote = (choice) => () => send({ kind: "vote", choice });
  const chooseLeft = make("button", { type: "button", onclick: vote("left") }, "Picture A");
  const chooseRight = make("button", { type: "button", onclick: vote("right") }, "Picture B");
  const chooseNone = make("button", { type: "button", onclick: vote("undecided") }, "I cannot decide");
  const answers = make("div", { class: "nst-ab-row", role: "group" });
  answers.setAttribute("aria-labelledby", question.id);
  answers.append(chooseLeft, chooseRight, chooseNone);
  const pictures = make("div", { class: "nst-ab-pictures" }, left.element, right.element);
  const pair = make("div", {}, title, reference.element, pictures, question, answers);
  reference.element.classList.add("nst-ab-reference");

  // --- the end ---

  const next = make("button", { type: "button", onclick: () => send({ kind: "next" }) }, "Next voter");
  const done = make("div", {}, next);

  const phases = { welcome, vote: pair, done };
  const first = { welcome: name, vote: chooseLeft, done: next };
  let phase = "";

  function show() {
    const shown = model.get("shown");
    const moved = phase && phase !== shown.phase;
    const inside = root.contains(root.ownerDocument.activeElement);
    for (const [name, element] of Object.entries(phases)) element.hidden = name !== shown.phase;
    phase = shown.phase;
    if (phase === "welcome") {
      hint.textContent =
        `You will see ${shown.pairs} pairs of pictures, one after the other. ` +
        "Which is which is left to chance. Each answer is kept at once.";
    }
    title.textContent = shown.title ?? "";
    const [a, b] = shown.pictures ?? [];
    showBytes(left.image, a);
    showBytes(right.image, b);
    showBytes(reference.image, shown.reference);
    reference.element.hidden = !shown.reference;
    // The control that had the focus is gone: whoever uses the keyboard goes on at the next one.
    if (moved && inside) first[phase].focus();
  }

  function say() {
    question.textContent = model.get("question");
    status.textContent = model.get("status");
  }

  const root = make("section", { class: "nst-ab", "aria-label": "Blind comparison" });
  root.append(welcome, pair, done, status);
  // A key that is held down would press one button after the other: that is no vote.
  root.addEventListener("keydown", (event) => {
    if (event.repeat && event.target.tagName === "BUTTON") event.preventDefault();
  });
  el.append(root);
  show();
  say();
  model.on("change:shown", show);
  model.on("change:status", say);
  model.on("change:question", say);
  return () => {
    model.off("change:shown", show);
    model.off("change:status", say);
    model.off("change:question", say);
    for (const each of [left, right, reference]) showBytes(each.image, null);
  };
}

export default { render };
