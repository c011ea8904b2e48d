// The loss curve of a training run: redrawn in place as numbers arrive; pointing at it reads them.
const WIDTH = 640, HEIGHT = 230, LEFT = 48, RIGHT = 48, TOP = 26, BOTTOM = 30;

function node(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Round numbers that part 0..top into a few steps.
function ticks(top, count) {
  const rough = top / count, power = 10 ** Math.floor(Math.log10(rough));
  const apart = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const places = [];
  for (let index = 0; index * apart <= top * 1.0001; index++) places.push(+(index * apart).toPrecision(6));
  return places;
}

function render({ model, el }) {
  const figure = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img" });
  const drawing = node("g", {}), hand = node("g", { class: "curve-hand" });
  figure.append(drawing, hand);
  el.append(figure);
  let across, loss, right, pointer = null;

  const draw = () => {
    const data = model.get("curve"), [blue, orange] = data.colours;
    const highest = Math.max(...data.loss, 0), end = Math.max(data.end, ...data.x);
    const top = highest > 0 ? highest * 1.12 : 1, low = Math.min(...data.loss, 0);
    const best = Math.max(1, ...data.metricY), worst = Math.min(0, ...data.metricY);
    across = (x) => LEFT + ((WIDTH - LEFT - RIGHT) * x) / end;
    loss = (y) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (Math.min(y, top) - low) / (top - low));
    right = (y) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (y - worst) / (best - worst));
    const path = (xs, ys, place) => xs.map((x, i) => `${i ? "L" : "M"}${across(x).toFixed(1)} ${place(ys[i]).toFixed(1)}`).join("");
    const base = HEIGHT - BOTTOM, made = [];
    const write = (x, y, text, more = {}) => made.push(node("text", { x, y, ...more }, text));

    for (const tick of ticks(top, 4)) {
      made.push(node("line", { class: "curve-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: loss(tick), y2: loss(tick) }));
      write(LEFT - 7, loss(tick) + 4, tick, { "text-anchor": "end", fill: blue });
    }
    for (const tick of ticks(end, 6)) write(across(tick), base + 16, tick, { "text-anchor": "middle" });
    write(WIDTH - RIGHT, HEIGHT - 1, data.unit === "s" ? "seconds" : "steps", { "text-anchor": "end" });
    write(LEFT, 14, "loss", { fill: blue, class: "curve-name" });
    made.push(node("path", { d: path(data.x, data.single, loss), stroke: blue, class: "curve-single" }));
    made.push(node("path", { d: path(data.x, data.loss, loss), stroke: blue, class: "curve-line" }));
    if (data.metric) {
      for (const tick of ticks(best, 4)) write(WIDTH - RIGHT + 7, right(tick) + 4, tick, { fill: orange });
      write(WIDTH - RIGHT, 14, data.metric, { fill: orange, class: "curve-name", "text-anchor": "end" });
      made.push(node("path", { d: path(data.metricX, data.metricY, right), stroke: orange, class: "curve-line" }));
      data.metricX.forEach((x, i) => made.push(node("circle", { cx: across(x), cy: right(data.metricY[i]), r: 3.5, fill: orange })));
    }
    const last = data.x.length - 1;
    if (last >= 0 && data.state === "running")
      made.push(node("circle", { class: "curve-head", cx: across(data.x[last]), cy: loss(data.loss[last]), r: 4.5, fill: blue }));
    const now = last < 0 ? "starting" : `step ${data.steps[last]}   loss ${data.loss[last].toFixed(3)}` +
      (data.metricY.length ? `   ${data.metric} ${data.metricY.at(-1).toFixed(3)}` : "");
    const said = data.state === "interrupted" ? `stopped: ${now}` : now;
    write(WIDTH / 2, 14, said, { "text-anchor": "middle", class: "curve-now" });
    figure.setAttribute("aria-label", `Training of ${data.model}: ${said}`);
    drawing.replaceChildren(...made);
    point();
  };

  // The numbers of the step under the pointer.
  const point = () => {
    const data = model.get("curve");
    if (pointer === null || !data.x.length) return hand.replaceChildren();
    let nearest = 0;
    data.x.forEach((x, i) => {
      if (Math.abs(across(x) - pointer) < Math.abs(across(data.x[nearest]) - pointer)) nearest = i;
    });
    const x = across(data.x[nearest]), flip = x > WIDTH * 0.7;
    hand.replaceChildren(
      node("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      node("circle", { cx: x, cy: loss(data.loss[nearest]), r: 4, fill: data.colours[0] }),
      node("text", { x: x + (flip ? -8 : 8), y: TOP + 12, "text-anchor": flip ? "end" : "start" },
        `step ${data.steps[nearest]}: loss ${data.loss[nearest].toFixed(3)}`),
    );
  };
  figure.addEventListener("pointermove", (event) => {
    const box = figure.getBoundingClientRect();
    pointer = ((event.clientX - box.left) / box.width) * WIDTH;
    point();
  });
  figure.addEventListener("pointerleave", () => {
    pointer = null;
    point();
  });

  model.on("change:curve", draw);
  draw();
  return () => model.off("change:curve", draw);
}

export default { render };
