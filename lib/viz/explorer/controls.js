// The parts of the panel that are no canvas: list of layers, choices, sliders, bars. Each gives { element, show }.
function element(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  parent?.append(made);
  return made;
}

// Buttons of which one is pressed. `choices`: [value, text, tip]. `chosen(value, event)` is called on a click.
function choiceButtons(choices, label, chosen) {
  const group = element("div", "explorer-choice");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", label);
  const buttons = choices.map(([value, text, tip]) => {
    const button = element("button", "", group, text);
    button.type = "button";
    button.title = tip;
    button.addEventListener("click", (event) => chosen(value, event));
    return [value, button];
  });
  const show = (value) => buttons.forEach(([own, button]) => button.setAttribute("aria-pressed", own === value));
  return { element: group, show };
}

// A slider with its name on the left and its number on the right.
function slider(name, step, moved) {
  const row = element("label", "explorer-slider");
  element("span", "", row, name);
  const input = element("input", "", row);
  input.type = "range";
  input.min = 0;
  input.step = step;
  input.setAttribute("aria-label", name);
  const number = element("output", "", row);
  input.addEventListener("input", (event) => moved(Number(input.value), event));
  const show = (value, most, text) => {
    if (Number(input.max) !== most) input.max = most;
    if (Number(input.value) !== value) input.value = value;
    number.textContent = text;
  };
  return { element: row, show };
}

// The list of layers. Its lines are { layer, size } or { layer, why }, a layer without a map; `chosen(layer, event)`.
function layerList(chosen) {
  const list = element("select", "explorer-layers");
  list.size = 20;
  list.setAttribute("aria-label", "layer");
  list.addEventListener("change", (event) => chosen(list.value, event));
  let shown = null;
  const show = (lines, layer) => {
    if (shown !== lines) {
      shown = lines;
      list.replaceChildren(...lines.map((line) => layerLine(line)));
    }
    if (list.value !== layer) list.value = layer; // none is marked if it is not among them
  };
  return { element: list, show };
}

const LINE = 24; // characters

function layerLine({ layer, size, why }) {
  const end = size ?? "no map", room = LINE - end.length - 1;
  const name = layer.length <= room ? layer : "…" + layer.slice(1 - room);
  const option = element("option", why ? "without" : "", null, `${name.padEnd(room)} ${end}`.replaceAll(" ", "\u00a0"));
  option.value = layer;
  option.title = why ? `${layer} ${why}` : layer;
  return option;
}

// The strongest channels of one cell; each bar is a button. `bars`: [channel, number], or null while they are awaited.
function channelBars(chosen) {
  const list = element("div", "explorer-bars");
  list.title = "numbers come in 8 bits, as exact as a 254th of the channel's range";
  const show = (bars, channel, digits) => {
    list.classList.toggle("waiting", bars === null);
    if (bars === null) return;
    const largest = Math.max(...bars.map(([, number]) => (Number.isNaN(number) ? 0 : Math.abs(number)))) || 1;
    bars.forEach(([own, number], k) => {
      const button = list.children[k] ?? newBar(list, chosen);
      const [name, bar, amount] = button.children;
      const text = numberText(number, digits);
      button.dataset.channel = own;
      button.className = own === channel ? "chosen" : "";
      button.setAttribute("aria-pressed", own === channel);
      button.setAttribute("aria-label", `channel ${own}, value ${text}: show it`);
      name.textContent = own;
      bar.firstChild.style.width = `${Number.isNaN(number) ? 0 : (100 * Math.abs(number)) / largest}%`;
      bar.firstChild.className = number < 0 ? "negative" : "";
      amount.textContent = text;
    });
    while (list.children.length > bars.length) list.lastChild.remove();
  };
  return { element: list, show };
}

function newBar(list, chosen) {
  const button = element("button", "", list);
  button.type = "button";
  element("span", "", button); // number of the channel
  element("b", "", element("i", "", button)); // bar
  element("span", "", button); // value
  button.addEventListener("click", (event) => chosen(Number(button.dataset.channel), event));
  return button;
}

function numberText(number, digits) {
  if (Number.isNaN(number)) return "NaN";
  return Math.abs(number) < 1e6 ? number.toFixed(digits) : number.toExponential(1);
}
