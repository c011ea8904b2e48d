// What a reader does on the picture: click or drag picks a cell, arrow keys move it (Shift: by five), hovering points.
function listenToHands(panel) {
  const { picture, canvas } = panel;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (value, side) => Math.min(Math.max(value / side, 0), 0.999999);
    return [share(event.clientY - box.top, box.height), share(event.clientX - box.left, box.width)]; // down, across
  };
  const under = (shown, [down, across]) => {
    const { layer } = shown;
    return cellAt(layer.place, layer.height, layer.width, down * panel.about.height, across * panel.about.width);
  };
  const tile = ([down, across]) => Math.floor(down * TILES) * TILES + Math.floor(across * TILES);

  const pick = (what, event) => {
    const shown = panel.shown();
    if (!shown) return;
    if (shown.view === "strongest") {
      const channel = shown.layer.order[tile(place(event))]; // a tile: look at its channel
      if (what === "click" && channel !== undefined) panel.choose("click", event, { channel, view: "channel" });
      return;
    }
    const cell = under(shown, place(event));
    if (cell && String(cell) !== String(shown.cell)) panel.choose(what, event, { cell });
  };
  const hover = (event) => {
    const shown = panel.shown();
    if (!shown) return;
    const tiles = shown.view === "strongest";
    point(event, tiles ? null : under(shown, place(event)), tiles ? tile(place(event)) : null);
  };
  const point = (event, cell, k) => {
    if (String(panel.hovered) === String(cell) && panel.tile === k) return;
    [panel.hovered, panel.tile] = [cell, k];
    panel.pending.push(["hover", event.timeStamp]);
    panel.refresh();
  };

  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    picture.setPointerCapture(event.pointerId);
    point(event, null, null);
    pick("click", event);
  });
  picture.addEventListener("pointermove", (event) => (event.buttons & 1 ? pick("drag", event) : hover(event)));
  picture.addEventListener("pointerleave", (event) => point(event, null, null));
  picture.addEventListener("keydown", (event) => {
    const step = STEPS[event.key], shown = panel.shown();
    if (!step || !shown) return;
    event.preventDefault();
    const size = event.shiftKey ? 5 : 1;
    const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
    const cell = [
      within(shown.cell[0] + step[0] * size, shown.layer.height),
      within(shown.cell[1] + step[1] * size, shown.layer.width),
    ];
    if (String(cell) !== String(shown.cell)) panel.choose("arrow key", event, { cell });
  });
}
