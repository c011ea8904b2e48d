// Brings a panel up to date with its state.

// Gives whether everything could be drawn; false while a part is awaited.
function drawPanel(panel) {
  const shown = panel.shown();
  panel.root.classList.toggle("waiting", !shown || Boolean(panel.awaited));
  if (!shown) {
    panel.note.textContent = "waiting for the kernel …";
    return false;
  }
  const painted = shown.view === "strongest" ? paintTiles(panel, shown) : paintMap(panel, shown);
  const seen = windowOf(shown.layer, shown.cell);
  drawCrop(panel.crop, panel.photo, seen, CROP);
  showControls(panel, shown);
  const lines = cellLines(shown.cell, seen);
  panel.cellText.replaceChildren(...lines.map((line) => element("div", "", null, line)));
  panel.legend.replaceChildren(...legendParts(panel, shown));
  panel.picture.setAttribute("aria-label", pictureLabel(shown));
  if (panel.spoken.textContent !== lines.join(", ")) panel.spoken.textContent = lines.join(", ");
  return painted && !panel.awaited;
}

// What a cell sees: x1, y1, x2, y2 in pixels of the picture.
function windowOf(layer, [row, column]) {
  const [x1, x2] = layer.columns[column], [y1, y2] = layer.rows[row];
  return [x1, y1, x2, y2];
}

function paintMap(panel, shown) {
  const { layer, view, channel, opacity, cell } = shown;
  const bytes = { mean: layer.mean, pca: layer.pca }[view] ?? panel.store.channel(layer, channel);
  const coloured = panel.colours(view === "channel" ? channel : view, layer, bytes, view === "pca" ? null : panel.table);
  const context = panel.canvas.getContext("2d"), scale = panel.scale;
  if (!coloured) return false;
  layMap(context, panel.base, coloured, layer.place, opacity, [0, 0, panel.canvas.width, panel.canvas.height], scale);
  const thin = panel.canvas.width / panel.picture.clientWidth || 1; // canvas pixels for one of the screen
  const frame = (box, width, colour) => frameBox(context, box.map((edge) => edge * scale), width * thin, colour, 8 * thin);
  frame(windowOf(layer, cell), 3, MARK);
  frame(cellBox(layer.place, cell), 1, MARK);
  if (panel.hovered) frame(cellBox(layer.place, panel.hovered), 1, "black");
  return true;
}

function paintTiles(panel, shown) {
  const { layer, opacity } = shown, context = panel.canvas.getContext("2d");
  const { width, height } = panel.canvas;
  context.fillStyle = GREY;
  context.fillRect(0, 0, width, height);
  let complete = true;
  layer.order.slice(0, TILES * TILES).forEach((channel, k) => {
    const coloured = panel.colours(channel, layer, panel.store.channel(layer, channel), panel.table);
    const box = tileBox(panel, k), [x, y, w, h] = box;
    if (!coloured) complete = false;
    else layMap(context, panel.base, coloured, layer.place, opacity, box, (panel.scale * w) / width);
    labelPlate(context, String(channel), x, y, (11 * width) / SHOWN);
    if (k === panel.tile) frameBox(context, [x, y, x + w, y + h], 2, MARK, 8);
  });
  return complete;
}

// Of tile k: x, y, width, height, in canvas pixels.
function tileBox(panel, k) {
  const { width, height } = panel.canvas;
  const at = (position, side) => Math.round((position * side) / TILES);
  const column = k % TILES, row = Math.floor(k / TILES);
  const x = at(column, width) + 1, y = at(row, height) + 1;
  return [x, y, Math.max(1, at(column + 1, width) - x - 1), Math.max(1, at(row + 1, height) - y - 1)];
}

function showControls(panel, shown) {
  const { layer, view, channel, opacity, cell } = shown;
  const line = panel.about.layers.find((other) => other.layer === layer.layer);
  const name = element("b", "", null, layer.layer);
  panel.caption.replaceChildren(name, `: ${line?.words ?? ""}`);
  if (panel.listedFor !== layer.layer) {
    // another layer: a list that has it
    panel.listedFor = layer.layer;
    panel.listed ??= firstList(panel.lists);
    if (!panel.lists[panel.listed].includes(line)) panel.listed = panel.lists.blocks.includes(line) ? "blocks" : "all";
  }
  panel.detail.show(panel.listed);
  panel.detail.element.hidden = panel.lists.all.length === panel.lists.blocks.length; // no choice to be made
  panel.layers.show(panel.lists[panel.listed], panel.awaited?.layer ?? layer.layer);
  panel.note.textContent = panel.awaited ? "waiting for the kernel …" : panel.said || rimNote(panel.about, layer);
  panel.views.show(view);
  panel.channel.show(channel, layer.channels - 1, String(channel));
  panel.opacity.show(opacity, 1, opacity.toFixed(2));
  const bars = panel.store.strongest(layer, cell, BARS);
  const ranges = (bars ?? []).map(([own]) => layer.high[own] - layer.low[own]);
  panel.bars.show(bars, view === "channel" ? channel : -1, digitsFor(Math.max(...ranges)));
}

// Where there is more padding on one side than on the other, the map is not in the middle of the picture.
function rimNote({ height, width }, layer) {
  const rim = ([begin, stride], cells, pixels) => Math.max(begin, pixels - begin - cells * stride);
  if (Math.max(rim(layer.place.y, layer.height, height), rim(layer.place.x, layer.width, width)) < 2) return "";
  return "Each cell is drawn around the middle of what it sees; the outermost also fill the rest up to the picture's "
    + "edge, so the first or the last can be wider.";
}

// All, if there are no inner layers; stages, if there are several sizes.
function firstList({ stages, blocks, all }) {
  if (all.length === blocks.length) return "all";
  return stages.length > 1 ? "stages" : "blocks";
}

function cellLines([row, column], [x1, y1, x2, y2]) {
  const cell = `cell: row ${row}, column ${column}`;
  if (x2 <= x1 || y2 <= y1) return [cell, "sees nothing but padding"];
  return [cell, `sees ${y2 - y1}×${x2 - x1} pixels`, `rows ${y1}–${y2 - 1}`, `columns ${x1}–${x2 - 1}`];
}

// What the colours mean, and what lies under the pointer.
function legendParts(panel, shown) {
  const { layer, view, channel } = shown;
  const small = (...parts) => {
    const made = element("small");
    made.append(...parts);
    return made;
  };
  if (view === "strongest") return [small("each from its lowest to its highest; click one")];
  if (view === "pca") return [small("like colours: like features"), small(pointed(panel, shown) || "click, drag or arrow keys")];
  const [low, high] = view === "channel" ? [layer.low[channel], layer.high[channel]] : layer.mean_range;
  const scale = small(numberText(low, 2), element("span", "explorer-scale"), numberText(high, 2));
  const strange = layer.strange ? `${layer.strange} values of this layer are NaN or infinite: grey` : "";
  return [scale, small(pointed(panel, shown) || strange || "click, drag or arrow keys")];
}

// The cell under the pointer and its number.
function pointed(panel, { layer, view, channel }) {
  if (!panel.hovered) return "";
  const [row, column] = panel.hovered, at = row * layer.width + column, place = `row ${row}, column ${column}`;
  if (view === "pca") return place;
  const [low, high] = view === "mean" ? layer.mean_range : [layer.low[channel], layer.high[channel]];
  const level = (view === "mean" ? layer.mean : layer.channelLevels[channel])?.[at];
  if (level === undefined) return place;
  const number = level === NO_NUMBER ? NaN : low + (level / TOP) * (high - low);
  return `${place}: ${numberText(number, digitsFor(high - low))}`;
}

function pictureLabel({ layer, view, channel }) {
  const name = { channel: `channel ${channel}`, strongest: "the strongest channels", mean: "the mean of all channels",
    pca: "PCA as colours" }[view];
  return `Picture with ${name} of ${layer.layer}. Arrow keys move the cell, Shift with an arrow key moves it by five.`;
}
