// A picture that can be pointed at: click or drag picks a place, arrow keys move by cells (Shift: by five).
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function render({ model, el }) {
  const frame = document.createElement("div");
  frame.className = "explorer-picture";
  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("data-lm-suppress-shortcuts", "true"); // arrow keys are ours, not the notebook's
  const image = document.createElement("img");
  image.draggable = false;
  image.alt = "";
  const spoken = document.createElement("div"); // read aloud when it changes
  spoken.className = "explorer-spoken";
  spoken.setAttribute("aria-live", "polite");
  frame.append(image);
  el.append(frame, spoken);

  let address = null;
  const show = () => {
    const next = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    image.src = next;
    if (address) URL.revokeObjectURL(address);
    address = next;
  };
  const speak = () => {
    frame.setAttribute("aria-label", model.get("label"));
    spoken.textContent = model.get("spoken");
  };

  let waiting = false; // at most one place a frame while dragging
  const pick = (event) => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => (waiting = false));
    const box = image.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    model.send({ pick: [Math.min(Math.max(across, 0), 1), Math.min(Math.max(down, 0), 1)] });
  };
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    pick(event);
  });
  frame.addEventListener("pointermove", (event) => event.buttons & 1 && pick(event));
  frame.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const size = event.shiftKey ? 5 : 1;
    model.send({ step: [step[0] * size, step[1] * size] });
  });

  model.on("change:png", show);
  model.on("change:spoken change:label", speak);
  show();
  speak();
  return () => {
    model.off("change:png", show);
    model.off("change:spoken change:label", speak);
    URL.revokeObjectURL(address);
  };
}

export default { render };
