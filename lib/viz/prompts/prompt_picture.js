// A picture that Python draws, on which somebody prompts: clicks, right clicks, dragged boxes, and a cross for keys.
// In the PNG the same picture stands several times; a prompt may be given on any of these panels.
const STEPS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const KEYS = { Enter: "point", Backspace: "undo", Delete: "clear" };
const DRAG = 4; // pixels of the screen: who moves the pointer farther draws a box

function render({ model, el }) {
  const part = (tag, className, parent) => {
    const made = document.createElement(tag);
    made.className = className;
    parent.append(made);
    return made;
  };
  const frame = part("div", "prompt-picture", el);
  const image = part("img", "widget-image", frame);
  const band = part("div", "prompt-picture-band", frame);
  const words = part("div", "prompt-picture-words", el);
  const spoken = part("div", "prompt-picture-spoken", el);
  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", model.get("label"));
  words.setAttribute("role", "status");
  spoken.setAttribute("role", "status");
  image.draggable = false;
  band.hidden = true;

  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const [width, height] = model.get("size"); // of the picture, in its own pixels
  const cross = { x: Math.floor(width / 2), y: Math.floor(height / 2), shown: false };
  let down = null; // where the pointer went down

  const shares = (event) => {
    const box = image.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const panelAt = ([across, below]) =>
    model.get("panels").find(([x, y, w, h]) => across >= x && across < x + w && below >= y && below < y + h);
  const place = (event, [left, top, wide, high]) => {
    const [across, below] = shares(event);
    return [clamp((across - left) / wide, 1) * width, clamp((below - top) / high, 1) * height];
  };
  const pixel = ([x, y]) => [Math.min(Math.floor(x), width - 1), Math.min(Math.floor(y), height - 1)];
  const say = (what, where = [], other = false) => model.send({ what, where, other });

  const drawBand = ([left, top, wide, high], [x1, y1, x2, y2]) => {
    const percent = (share) => `${100 * share}%`;
    band.style.left = percent(left + (wide * x1) / width);
    band.style.top = percent(top + (high * y1) / height);
    band.style.width = percent((wide * (x2 - x1)) / width);
    band.style.height = percent((high * (y2 - y1)) / height);
    band.hidden = false;
  };
  const dragged = (event) => {
    const [from, to] = [down.start, place(event, down.panel)];
    return [0, 1].map((axis) => Math.min(from[axis], to[axis])).concat([0, 1].map((axis) => Math.max(from[axis], to[axis])));
  };
  const drawCross = () => {
    frame.querySelectorAll(".prompt-picture-cross").forEach((old) => old.remove());
    if (!cross.shown) return;
    for (const [left, top, wide, high] of model.get("panels")) {
      const mark = part("div", "prompt-picture-cross", frame);
      mark.style.left = `${100 * (left + (wide * (cross.x + 0.5)) / width)}%`;
      mark.style.top = `${100 * (top + (high * (cross.y + 0.5)) / height)}%`;
    }
  };

  frame.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    event.stopPropagation(); // no menu of the notebook either
  });
  frame.addEventListener("pointerdown", (event) => {
    const panel = panelAt(shares(event));
    if (!panel || ![0, 2].includes(event.button)) return;
    frame.setPointerCapture(event.pointerId);
    const other = event.button === 2 || event.shiftKey || event.ctrlKey; // Ctrl and click is a Mac's right click
    down = { panel, other, right: event.button === 2, start: place(event, panel), x: event.clientX, y: event.clientY };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!down || down.right) return;
    const far = Math.hypot(event.clientX - down.x, event.clientY - down.y) > DRAG;
    if (far || !band.hidden) drawBand(down.panel, dragged(event));
  });
  frame.addEventListener("pointerup", (event) => {
    if (!down) return;
    if (band.hidden) {
      [cross.x, cross.y] = pixel(down.start);
      cross.shown = false;
      drawCross();
      say("point", [cross.x, cross.y], down.other);
    } else {
      say("box", dragged(event).map(Math.round));
    }
    band.hidden = true;
    down = null;
  });
  frame.addEventListener("pointercancel", () => {
    band.hidden = true;
    down = null;
  });
  frame.addEventListener("keydown", (event) => {
    const step = STEPS[event.key], what = KEYS[event.key];
    if (!(step || what) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // to the notebook, Enter and Backspace mean something else
    if (!step) {
      say(what, what === "point" ? [cross.x, cross.y] : [], event.shiftKey);
      return;
    }
    const far = Math.max(1, Math.round(Math.max(width, height) / 100)) * (event.shiftKey ? 5 : 1);
    cross.x = clamp(cross.x + step[0] * far, width - 1);
    cross.y = clamp(cross.y + step[1] * far, height - 1);
    cross.shown = true;
    drawCross();
    spoken.textContent = `row ${cross.y}, column ${cross.x}`;
  });

  const show = () => {
    const old = image.src;
    image.src = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
    image.style.width = `${model.get("width")}px`;
    if (old) URL.revokeObjectURL(old);
    drawCross();
  };
  const speak = () => {
    image.alt = words.textContent = model.get("words");
  };
  model.on("change:value", show);
  model.on("change:words", speak);
  show();
  speak();
  return () => {
    model.off("change:value", show);
    model.off("change:words", speak);
    URL.revokeObjectURL(image.src);
  };
}

export default { render };
