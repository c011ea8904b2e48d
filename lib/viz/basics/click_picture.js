// A picture that Python draws. Clicks, drags and arrow keys are told to Python, one at a time: what is done while it
// draws waits, and of several things that wait the last one counts.
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function render({ model, el }) {
  const part = (tag, className, parent) => {
    const made = document.createElement(tag);
    made.className = className;
    parent.append(made);
    return made;
  };
  const frame = part("div", "click-picture", el);
  const image = part("img", "widget-image", frame);
  const spoken = part("div", "click-picture-spoken", el);
  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", model.get("label"));
  spoken.setAttribute("role", "status");
  image.draggable = false;

  let asked = false, waiting = null;
  const tell = (what, where) => {
    if (asked) {
      waiting = [what, where];
      return;
    }
    asked = true;
    model.send({ what, where });
  };
  const answered = () => {
    const next = waiting;
    [asked, waiting] = [false, null];
    if (next) tell(...next);
  };
  const point = (event, dragged) => {
    const box = image.getBoundingClientRect();
    tell("point", [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, dragged]);
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    frame.setPointerCapture(event.pointerId);
    point(event, false);
  });
  frame.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) point(event, true);
  });
  frame.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    tell("step", step.map((one) => one * (event.shiftKey ? 5 : 1)));
  });

  const show = () => {
    const old = image.src;
    image.src = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
    if (old) URL.revokeObjectURL(old);
  };
  const speak = () => {
    image.alt = spoken.textContent = model.get("words");
  };
  model.on("change:value", show);
  model.on("change:words", speak);
  model.on("msg:custom", answered);
  show();
  speak();
  return () => {
    model.off("change:value", show);
    model.off("change:words", speak);
    model.off("msg:custom", answered);
    URL.revokeObjectURL(image.src);
  };
}

export default { render };
