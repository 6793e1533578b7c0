// The explorer's page: native controls that pass on what is done to them. All words come from Python.

const SEND_EVERY = 60; // milliseconds between two values of a slider that is being dragged
const ALIVE_EVERY = 20000;
const LARGEST_WHOLE = 6e6; // bytes; larger pictures are made smaller here, before they travel
const UPLOADED_SIDE = 1600;
const FRAMES_SHOWN = 9;
const FOCUSABLE = new Set(["button", "input", "select", "summary"]);

let panels = 0;

/** Returns an element; attributes beginning with "on" are listeners. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  // JupyterLab's shortcuts are for whatever has the focus, so each control has to hold them off
  // itself: on an element around it the attribute would be looked for too late.
  if (FOCUSABLE.has(tag)) element.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Sets an element's text only when it is another, so that a screen reader is not told twice. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Returns whether what lies behind the panel is dark. */
function isDarkBehind(element) {
  for (let parent = element.parentElement; parent; parent = parent.parentElement) {
    const colour = getComputedStyle(parent).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (colour && (colour.length < 4 || colour[3] > 0.5)) {
      return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 128;
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Folds the atlas for pages without controls, which is an output after this one. */
function foldAtlas(element) {
  const area = element.closest(".jp-OutputArea, .output, .cell-output") ?? document;
  for (const atlas of area.querySelectorAll("details.nst-atlas:not([data-folded])")) {
    atlas.open = false;
    atlas.dataset.folded = "once"; // whoever unfolds it wants to see it
  }
}

/** Keeps one object URL an image, and frees the one before. */
function showBytes(image, bytes) {
  const before = image.dataset.url;
  image.src = image.dataset.url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  if (before) URL.revokeObjectURL(before);
}

/** Returns a picture's bytes, made smaller if they are very many; null where that is impossible. */
async function bytesOf(file) {
  if (file.size > LARGEST_WHOLE) {
    try {
      const bitmap = await createImageBitmap(file);
      const scale = Math.min(1, UPLOADED_SIDE / Math.max(bitmap.width, bitmap.height));
      const canvas = make("canvas", { width: bitmap.width * scale, height: bitmap.height * scale });
      const context = canvas.getContext("2d");
      context.fillStyle = "white";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
      return await blob.arrayBuffer();
    } catch {
      return null; // no picture, or of a kind that browsers do not read
    }
  }
  return await file.arrayBuffer();
}

function render({ model, el }) {
  const id = `nst-${++panels}`;
  const send = (content, buffers) => model.send(content, undefined, buffers);
  let number = 0; // of the values sent so far

  // --- buttons ---

  const press = (what) => send({ kind: "do", what });
  const faces = {
    start: ["▶", "Start"],
    pause: ["❚❚", "Pause"],
    step: ["❯", "Step"],
    restart: ["↺", "Restart"],
    stop: ["■", "Stop"],
  };
  const buttons = {};
  for (const [what, [sign, name]] of Object.entries(faces)) {
    const press_ = () => buttons[what].getAttribute("aria-disabled") !== "true" && press(what);
    buttons[what] = make("button", { type: "button", onclick: press_ });
    buttons[what].append(make("span", { "aria-hidden": "true" }, sign), name);
  }
  buttons.start.classList.add("nst-first");
  const pinButton = make("button", { type: "button" }, "Pin");
  pinButton.addEventListener("click", () => send({ kind: "pin", key: shownKey() }));

  // --- the picture, and pinned ones ---

  const picture = make("img", { alt: "No picture yet." });
  const caption = make("figcaption", {}, "No picture yet.");
  const live = make("figure", { class: "nst-live" }, make("div", { class: "nst-mat" }, picture), caption);
  const stage = make("div", { class: "nst-stage" }, live);
  const status = make("p", { class: "nst-status", role: "status", "aria-live": "polite" });
  const progress = make("p", { class: "nst-progress" });

  function pinned(pin, index) {
    const image = make("img", { alt: pin.caption });
    showBytes(image, pin.image);
    const remove = make("button", { type: "button", class: "nst-small" }, "Remove");
    remove.setAttribute("aria-label", `Remove pinned picture ${index + 1}`);
    remove.addEventListener("click", () => {
      send({ kind: "unpin", index });
      pinButton.focus();
    });
    const words = make("figcaption", {}, make("span", {}, pin.facts), remove);
    return make("figure", { class: "nst-pin" }, make("div", { class: "nst-mat" }, image), words);
  }

  function showPins() {
    const pins = model.get("pins");
    stage.replaceChildren(live, ...pins.map(pinned));
    stage.dataset.pins = pins.length;
  }

  // --- the film ---

  let frames = []; // {key, step, caption, url}
  let scrubbed = null; // the key of the frame that is looked at, or null for the present picture
  const film = make("input", { type: "range", id: `${id}-film`, min: 0, max: 0, value: 0 });
  const filmStep = make("span", { class: "nst-value", "aria-hidden": "true" });
  const strip = make("div", { class: "nst-frames", "aria-hidden": "true" });
  film.addEventListener("input", () => {
    const index = Number(film.value);
    scrubbed = index < frames.length - 1 ? frames[index].key : null;
    showFilm();
    showPicture();
  });
  const shownKey = () => scrubbed ?? model.get("shown").key ?? null;

  function showFilm() {
    const last = Math.max(0, frames.length - 1);
    const at = scrubbed === null ? last : frames.findIndex((frame) => frame.key === scrubbed);
    film.max = last;
    film.value = at;
    film.style.setProperty("--part", `${last ? (100 * at) / last : 0}%`);
    const frame = frames[at];
    const words = frame ? `step ${frame.step}` : "no film yet";
    film.setAttribute("aria-valuetext", scrubbed === null && frame ? "the present picture" : words);
    say(filmStep, scrubbed === null ? (frame ? "now" : "") : words);
    const count = Math.min(FRAMES_SHOWN, frames.length);
    const indices = Array.from({ length: count }, (_, i) =>
      count < 2 ? last : Math.round((i * last) / (count - 1)),
    );
    while (strip.children.length > count) strip.lastChild.remove();
    indices.forEach((index, i) => {
      const image = strip.children[i] ?? strip.appendChild(make("img", { alt: "" }));
      if (image.src !== frames[index].url) image.src = frames[index].url;
      image.toggleAttribute("data-here", index === at);
      image.onclick = () => {
        film.value = index;
        film.dispatchEvent(new Event("input"));
      };
    });
  }

  function showPicture() {
    const frame = frames.find((each) => each.key === scrubbed);
    if (frame) {
      picture.src = frame.url;
      picture.alt = frame.caption;
      say(caption, frame.caption);
      return;
    }
    const shown = model.get("shown");
    if (!shown.image) return;
    showBytes(picture, shown.image);
    picture.alt = shown.caption;
    say(caption, shown.caption);
  }

  function takeFrames(message, buffers) {
    const fresh = message.frames.map((frame, i) => ({
      ...frame,
      url: URL.createObjectURL(new Blob([buffers[i]], { type: "image/jpeg" })),
    }));
    const all = new Map([...frames, ...fresh].map((frame) => [frame.key, frame]));
    frames = message.keep.map((key) => all.get(key)).filter(Boolean);
    const kept = new Set(frames.map((frame) => frame.url));
    for (const frame of all.values()) if (!kept.has(frame.url)) URL.revokeObjectURL(frame.url);
    if (scrubbed !== null && !message.keep.includes(scrubbed)) {
      // In the atlas another row has other pictures of the same steps.
      const step = all.get(scrubbed)?.step;
      const same = scrubbed.startsWith("atlas") ? frames.find((each) => each.step === step) : null;
      scrubbed = same && same !== frames.at(-1) ? same.key : null;
      showPicture();
    }
    showFilm();
  }

  // --- which pictures ---

  function chooser(kind, title) {
    const chosen = make("span");
    const thumbs = make("div", { class: "nst-thumbs" });
    const radios = new Map();
    const add = (name, words, bytes, alt) => {
      const radio = make("input", { type: "radio", name: `${id}-${kind}`, value: name });
      const image = make("img", { alt: "" });
      showBytes(image, bytes);
      radio.setAttribute("aria-label", words);
      if (alt) radio.setAttribute("aria-description", alt);
      radio.addEventListener("change", () => name !== "own" && set(kind, name));
      thumbs.append(make("label", { class: "nst-thumb", title: words }, radio, make("span", {}, image)));
      radios.set(name, { radio, image });
    };
    for (const each of model.get("thumbnails")[kind]) add(each.name, each.title, each.thumb, each.alt);

    const file = make("input", { type: "file", accept: "image/*" });
    file.setAttribute("aria-label", `Upload a ${kind} picture`);
    file.addEventListener("change", async () => {
      const [first] = file.files;
      if (!first) return;
      const bytes = await bytesOf(first);
      if (bytes) send({ kind: "upload", role: kind, name: first.name }, [bytes]);
      else send({ kind: "too large", name: first.name, size: first.size });
      file.value = "";
    });
    const url = make("input", { type: "url", placeholder: "https://…" });
    url.setAttribute("aria-label", `Web address of a ${kind} picture`);
    const fetchIt = () => send({ kind: "url", role: kind, url: url.value });
    url.addEventListener("keydown", (event) => event.key === "Enter" && fetchIt());
    const load = make("button", { type: "button", onclick: fetchIt }, "Load");
    load.setAttribute("aria-label", `Load the ${kind} picture from the web`);
    const own = make(
      "details",
      { class: "nst-own" },
      make("summary", {}, `Another ${kind} picture`),
      make("div", { class: "nst-row" }, make("label", { class: "nst-file" }, "Upload", file), url, load),
    );
    const box = make(
      "fieldset",
      {},
      make("legend", {}, make("b", {}, `${title}: `), chosen),
      thumbs,
      own,
    );
    const show = (picture, settled) => {
      say(chosen, picture.title);
      if (picture.name === "own" && picture.thumb) {
        if (!radios.has("own")) add("own", picture.title, picture.thumb);
        const { radio, image } = radios.get("own");
        radio.setAttribute("aria-label", picture.title);
        showBytes(image, picture.thumb);
      }
      const current = radios.get(picture.name);
      if (current && settled) current.radio.checked = true;
    };
    return { box, show };
  }

  // --- sliders and lists ---

  const controls = {};

  function set(name, value) {
    send({ kind: "set", name, value, number: ++number });
  }

  function slider(name) {
    const about = () => model.get("sliders").find((each) => each.name === name);
    const [title, ...rest] = about().label.split(", ");
    const input = make("input", { type: "range", id: `${id}-${name}`, min: 0, step: 1 });
    const output = make("span", { class: "nst-value", "aria-hidden": "true" });
    const label = make("label", { for: `${id}-${name}` }, title);
    if (rest.length) label.append(make("small", {}, ` ${rest.join(", ")}`));
    let timer = null;
    let last = 0;
    const tell = () => {
      const { stops, texts, short } = about();
      const index = Number(input.value);
      input.setAttribute("aria-valuetext", texts[index]);
      input.style.setProperty("--part", `${(100 * index) / (stops.length - 1)}%`);
      say(output, short[index]);
    };
    const pass = () => {
      timer = null;
      last = performance.now();
      set(name, about().stops[Number(input.value)]);
    };
    input.addEventListener("input", () => {
      tell();
      number += 1; // what Python still believes is out of date from now on
      timer ??= setTimeout(pass, Math.max(0, SEND_EVERY - (performance.now() - last)));
    });
    const show = (value, settled) => {
      const { stops } = about();
      input.max = stops.length - 1;
      if (settled && timer === null) input.value = stops.indexOf(value);
      tell();
    };
    controls[name] = { show };
    return make("div", { class: "nst-control" }, label, input, output);
  }

  function list(name) {
    const { label, options } = model.get("choices").find((each) => each.name === name);
    const select = make("select", { id: `${id}-${name}` });
    for (const [value, words] of options) select.append(make("option", { value }, words));
    select.addEventListener("change", () => set(name, select.value));
    controls[name] = { show: (value, settled) => settled && (select.value = value) };
    return make(
      "div",
      { class: "nst-control" },
      make("label", { for: `${id}-${name}` }, label),
      select,
    );
  }

  const atlas = make("input", { type: "checkbox", id: `${id}-atlas` });
  atlas.addEventListener("change", () => send({ kind: "atlas", on: atlas.checked, number: ++number }));
  const atlasLine = make("label", { class: "nst-check" }, atlas, "Show the atlas: nothing is computed");
  const ratio = make("p", { class: "nst-ratio", id: `${id}-ratio` });
  const layers = model
    .get("sliders")
    .map((each) => each.name)
    .filter((name) => /^(conv|relu)/.test(name));
  const section = (title, ...children) =>
    make("details", {}, make("summary", {}, title), make("div", { class: "nst-inside" }, ...children));

  // --- keeping ---

  const keep = (what, name) =>
    make("button", { type: "button", onclick: () => send({ kind: "save", what }) }, name);
  const loader = make("input", { type: "file", accept: ".json,application/json" });
  loader.setAttribute("aria-label", "Load settings");
  loader.addEventListener("change", async () => {
    const [first] = loader.files;
    if (first) send({ kind: "load", text: await first.text() });
    loader.value = "";
  });

  function download(message, buffers) {
    const url = URL.createObjectURL(new Blob(buffers, { type: message.type }));
    const link = make("a", { href: url, download: message.name });
    root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // --- all together ---

  const content = chooser("content", "Content");
  const style = chooser("style", "Style");
  const plot = make("div", { class: "nst-plot" });
  const weights = ["alpha", "beta"].map(slider);
  const root = make(
    "section",
    { class: "nst", "aria-label": "Style transfer explorer" },
    make(
      "div",
      { class: "nst-columns" },
      make(
        "div",
        { class: "nst-column" },
        stage,
        make("div", { class: "nst-row", role: "group", "aria-label": "Run" }, ...Object.values(buttons)),
        make("div", {}, status, progress),
        make(
          "div",
          {},
          make("div", { class: "nst-film" }, make("label", { for: film.id }, "film"), film, filmStep),
          strip,
        ),
        make(
          "div",
          { class: "nst-row nst-keep", role: "group", "aria-label": "Keep" },
          pinButton,
          keep("picture", "Save picture"),
          keep("film", "Save film"),
          keep("settings", "Save settings"),
          make("label", { class: "nst-file" }, "Load settings", loader),
        ),
      ),
      make(
        "div",
        { class: "nst-column" },
        content.box,
        style.box,
        make("div", {}, ...weights, ratio, slider("tv_weight")),
        plot,
        section("Layers", list("content_layer"), ...layers.map(slider)),
        section("How it is computed", ...["start", "optimizer", "colours"].map(list), slider("size"), atlasLine),
      ),
    ),
  );
  for (const name of ["alpha", "beta"]) {
    root.querySelector(`#${id}-${name}`).setAttribute("aria-describedby", ratio.id);
  }

  function showState() {
    const state = model.get("state");
    const settled = state.handled >= number;
    say(status, state.status);
    say(progress, state.progress);
    say(ratio, state.ratio);
    content.show(state.pictures.content, settled);
    style.show(state.pictures.style, settled);
    for (const [name, { show }] of Object.entries(controls)) show(state.values[name], settled);
    for (const [what, useful] of Object.entries(state.useful)) {
      buttons[what].setAttribute("aria-disabled", String(!useful));
    }
    if (settled) atlas.checked = state.atlas;
    root.dataset.phase = state.phase;
  }

  const showPlot = () => (plot.innerHTML = model.get("plot"));
  const hear = (message, buffers) => {
    if (message.kind === "film") takeFrames(message, buffers);
    if (message.kind === "download") download(message, buffers);
  };
  const showTheme = () => (root.dataset.theme = isDarkBehind(el) ? "dark" : "light");
  const alive = setInterval(() => send({ kind: "alive" }), ALIVE_EVERY);
  const bye = () => send({ kind: "bye" });
  const back = () => document.visibilityState === "visible" && send({ kind: "alive" });
  const themes = new MutationObserver(() => setTimeout(showTheme, 50));
  const listened = {
    "change:state": showState,
    "change:sliders": showState,
    "change:shown": () => scrubbed === null && showPicture(),
    "change:plot": showPlot,
    "change:pins": showPins,
    "msg:custom": hear,
  };

  el.append(root);
  for (const [event, listener] of Object.entries(listened)) model.on(event, listener);
  addEventListener("pagehide", bye);
  document.addEventListener("visibilitychange", back);
  for (const node of [document.documentElement, document.body, document.head]) {
    themes.observe(node, { attributes: true, childList: node === document.head });
  }
  showTheme();
  requestAnimationFrame(showTheme);
  number = model.get("state").handled;
  showState();
  showPicture();
  showPins();
  showPlot();
  showFilm();
  for (const milliseconds of [0, 300, 1500, 5000]) setTimeout(() => foldAtlas(el), milliseconds);
  send({ kind: "hello" });

  return () => {
    for (const [event, listener] of Object.entries(listened)) model.off(event, listener);
    clearInterval(alive);
    removeEventListener("pagehide", bye);
    document.removeEventListener("visibilitychange", back);
    themes.disconnect();
  };
}

export default { render };
