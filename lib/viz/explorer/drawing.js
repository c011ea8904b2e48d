// A map over a picture, on a canvas. No state and no Jupyter: levels, places and sizes in, pixels out.
// A level is a byte: 0 to 254 from lowest to highest, 255 for what is no number; `table` has a colour for each.
// A `place` is { y: [begin, stride], x: [begin, stride] } in pixels of the picture: where cell 0 begins, and the way from
// one cell to the next.
const MARK = "rgb(255, 59, 107)";
const GREY = "rgb(128, 128, 128)";

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  return canvas;
}

// A small canvas of one pixel for each cell, and one more on each side: the outermost cells reach one cell further.
// `bytes` are levels (height * width) or, with `table` null, colours (height * width * 3).
function colourMap(bytes, height, width, table) {
  const canvas = newCanvas(width + 2, height + 2);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width + 2, height + 2);
  const pixels = image.data;
  let to = 0;
  for (let y = -1; y <= height; y++) {
    const row = Math.min(Math.max(y, 0), height - 1) * width;
    for (let x = -1; x <= width; x++, to += 4) {
      const cell = row + Math.min(Math.max(x, 0), width - 1);
      const colours = table ?? bytes;
      const from = 3 * (table ? bytes[cell] : cell);
      pixels[to] = colours[from];
      pixels[to + 1] = colours[from + 1];
      pixels[to + 2] = colours[from + 2];
      pixels[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The photo at the size at which it is shown: large pixels stay square.
function scalePhoto(photo, width, height) {
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = canvas.width < 3 * photo.width;
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// The photo with a coloured map over it, within `box` = [x, y, width, height] of the canvas. `scale` is canvas pixels for
// one pixel of the picture. Grey where there is no cell.
function layMap(context, photo, coloured, place, opacity, box, scale) {
  const [left, top, width, height] = box;
  const sheet = newCanvas(width, height);
  const laid = sheet.getContext("2d");
  laid.fillStyle = GREY;
  laid.fillRect(0, 0, width, height);
  laid.imageSmoothingEnabled = false;
  const [y, down] = place.y, [x, across] = place.x;
  laid.drawImage(coloured, (x - across) * scale, (y - down) * scale, coloured.width * across * scale,
    coloured.height * down * scale);
  context.drawImage(photo, left, top, width, height);
  context.globalAlpha = opacity;
  context.drawImage(sheet, left, top);
  context.globalAlpha = 1;
}

// A frame around [x1, y1, x2, y2], within the canvas, white around a line of `width`. One of less than `least` canvas
// pixels is framed as if it had so many, so that it can be found.
function frameBox(context, box, width, colour, least) {
  const { width: most, height: highest } = context.canvas;
  const ends = (from, to, side) => {
    const grow = Math.max(0, least - (to - from)) / 2;
    return [Math.round(Math.min(Math.max(from - grow, 0), side - least)),
      Math.round(Math.min(Math.max(to + grow, least), side))];
  };
  const [x1, x2] = ends(box[0], box[2], most), [y1, y2] = ends(box[1], box[3], highest);
  const inset = width / 2;
  for (const [line, stroke] of [[width + 2, "white"], [width, colour]]) {
    context.lineWidth = line;
    context.strokeStyle = stroke;
    context.strokeRect(x1 + inset, y1 + inset, x2 - x1 - width, y2 - y1 - width);
  }
}

// White text on a dark plate, its upper left corner at (x, y).
function labelPlate(context, text, x, y, size) {
  context.font = `${size}px sans-serif`;
  context.textBaseline = "top";
  context.fillStyle = "black";
  context.fillRect(x, y, context.measureText(text).width + 0.5 * size, 1.3 * size);
  context.fillStyle = "white";
  context.fillText(text, x + 0.25 * size, y + 0.2 * size);
}

// A part [x1, y1, x2, y2] of the photo, enlarged to fit in the canvas, which takes its shape.
function drawCrop(canvas, photo, window, size) {
  const [x1, y1, x2, y2] = window;
  const empty = x2 <= x1 || y2 <= y1; // it sees nothing but padding
  const scale = empty ? 1 : size / Math.max(x2 - x1, y2 - y1);
  canvas.width = empty ? size : Math.max(1, Math.round((x2 - x1) * scale));
  canvas.height = empty ? size : Math.max(1, Math.round((y2 - y1) * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = GREY;
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (empty) return;
  context.imageSmoothingEnabled = scale < 3;
  context.drawImage(photo, x1, y1, x2 - x1, y2 - y1, 0, 0, canvas.width, canvas.height);
}

// The cell at a place of the picture, [row, column], or null outside the map and its rim of one cell.
function cellAt(place, height, width, down, across) {
  const row = Math.floor((down - place.y[0]) / place.y[1]), column = Math.floor((across - place.x[0]) / place.x[1]);
  if (row < -1 || row > height || column < -1 || column > width) return null;
  return [Math.min(Math.max(row, 0), height - 1), Math.min(Math.max(column, 0), width - 1)];
}

// Where a cell lies on the picture: [x1, y1, x2, y2].
function cellBox(place, [row, column]) {
  const [y, down] = place.y, [x, across] = place.x;
  return [x + column * across, y + row * down, x + (column + 1) * across, y + (row + 1) * down];
}
