// The explorer: what is shown, and what the hands of a reader do to it. It knows nothing of Jupyter; `source` gives it
//   about          what never changes: photo, table of colours, lines of the list
//   state()        { layer, view, channel, opacity, cell } as they are now
//   choose(part)   the reader chose: changes of the state, all that belong together
//   ask(question)  something of a layer is missing
// and is to call `panel.refresh()` after the state changed, `panel.put(packet)` with what was asked for.
const SHOWN = 440, CROP = 168, TILES = 4, BARS = 8; // screen pixels; tiles in a row; bars
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const VIEWS = [
  ["channel", "channel", "the channel chosen below"],
  ["strongest", "strongest", "the sixteen channels that vary most"],
  ["mean", "mean", "over all channels"],
  ["pca", "PCA", "cells with like features in like colours"],
];
const LISTS = [
  ["stages", "stages", "one layer for each size of map"],
  ["blocks", "blocks", "blocks and outermost layers"],
  ["all", "all", "every module, with or without a map"],
];

class ExplorerPanel {
  constructor(place, source) {
    this.source = source;
    this.about = source.about;
    this.table = bytesOf(this.about.table);
    this.store = new LayerStore((question) => source.ask(question));
    this.about.heads.forEach((head) => this.store.put(head));
    this.lists = layerLists(this.about);
    this.pending = []; // [what, time of the event] that wait for their frame
    this.times = []; // { what, ms }: from an event to the frame in which it was drawn
    this.coloured = new Map();
    this.build(place);
    this.decodePhoto();
  }

  async decodePhoto() {
    const photo = await createImageBitmap(new Blob([bytesOf(this.about.photo)], { type: "image/png" }));
    const density = Math.min(window.devicePixelRatio || 1, 2);
    this.scale = (SHOWN * density) / Math.max(photo.width, photo.height);
    this.canvas.width = Math.max(1, Math.round(photo.width * this.scale));
    this.canvas.height = Math.max(1, Math.round(photo.height * this.scale));
    this.base = scalePhoto(photo, this.canvas.width, this.canvas.height);
    this.photo = photo;
    this.refresh();
  }

  build(place) {
    this.root = element("div", "explorer", place);
    this.root.explorerTimes = this.times;
    this.caption = element("div", "explorer-text", this.root);
    const columns = element("div", "explorer-columns", this.root);
    const left = element("div", "explorer-left", columns);
    const middle = element("div", "explorer-middle", columns);
    const right = element("div", "explorer-right", columns);
    this.detail = choiceButtons(LISTS, "which layers are listed", (value) => {
      this.listed = value;
      this.refresh();
    });
    this.layers = layerList((layer, event) => this.chooseLayer(layer, event));
    this.note = element("div", "explorer-text explorer-note");
    this.note.setAttribute("role", "status");
    left.append(this.detail.element, this.layers.element, this.note);
    this.views = choiceButtons(VIEWS, "view", (view, event) => this.choose("view", event, { view }));
    this.picture = element("div", "explorer-picture");
    this.picture.tabIndex = 0;
    this.picture.setAttribute("role", "application");
    this.canvas = element("canvas", "", this.picture);
    this.legend = element("div", "explorer-text explorer-legend");
    this.channel = slider("channel", 1, (channel, event) => this.choose("slider", event, { channel, view: "channel" }));
    this.opacity = slider("opacity", 0.05, (opacity, event) => this.choose("opacity", event, { opacity }));
    middle.append(this.views.element, this.picture, this.legend, this.channel.element, this.opacity.element);
    this.cellText = element("div", "explorer-text explorer-cell", right);
    this.crop = element("canvas", "explorer-crop", right);
    this.crop.setAttribute("role", "img");
    this.crop.setAttribute("aria-label", "what the cell sees, enlarged");
    element("div", "explorer-text explorer-small", right, "channels of this cell");
    this.bars = channelBars((channel, event) => this.choose("bar", event, { channel, view: "channel" }));
    right.append(this.bars.element);
    this.spoken = element("div", "explorer-spoken", this.root); // read aloud when it changes
    this.spoken.setAttribute("aria-live", "polite");
    listenToHands(this);
    window.addEventListener("keydown", keepKeys, true); // before the notebook hears of it
  }

  put(packet) {
    this.store.put(packet);
    if (this.awaited && this.store.layers.has(this.awaited.layer)) this.turnTo(this.awaited.layer);
    this.refresh();
  }

  choose(what, event, part) {
    this.pending.push([what, event.timeStamp]);
    this.source.choose(part);
    this.refresh();
  }

  // From the list: once the layer is here, it is shown with its strongest channel, at the same place of the picture.
  chooseLayer(name, event) {
    const without = this.about.without.find((line) => line.layer === name);
    this.said = without ? `${name} ${without.why}` : "";
    this.awaited = null;
    if (!without) {
      this.pending.push(["layer", event.timeStamp]);
      this.awaited = { layer: name };
      if (this.store.layer(name)) this.turnTo(name);
    }
    this.refresh();
  }

  turnTo(name) {
    this.awaited = null;
    const before = this.store.layers.get(this.source.state().layer), next = this.store.layers.get(name);
    let cell = [Math.floor(next.height / 2), Math.floor(next.width / 2)];
    if (before) {
      const [x1, y1, x2, y2] = cellBox(before.place, this.source.state().cell);
      cell = cellAt(next.place, next.height, next.width, (y1 + y2) / 2, (x1 + x2) / 2) ?? cell;
    }
    this.source.choose({ layer: name, channel: next.order[0], cell });
  }

  // Draw in the next frame, once, whatever changed until then.
  refresh() {
    if (this.frame || !this.photo) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      if (drawPanel(this)) {
        const now = performance.now();
        this.pending.splice(0).forEach(([what, began]) => this.times.push({ what, ms: now - began }));
        this.times.splice(0, this.times.length - 1000);
      }
    });
  }

  // What is drawn: the state, with channel and cell within the layer while one arrives after the other.
  shown() {
    const state = this.source.state(), layer = this.store.layer(state.layer);
    if (!layer) return null;
    const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
    const cell = [within(state.cell[0], layer.height), within(state.cell[1], layer.width)];
    return { ...state, layer, cell, channel: within(state.channel, layer.channels) };
  }

  // A coloured map, kept while it may be wanted again. `bytes` null: not here yet.
  colours(key, layer, bytes, table) {
    if (!bytes) return null;
    const full = `${layer.layer} ${key}`;
    if (!this.coloured.has(full)) {
      if (this.coloured.size > 64) this.coloured.clear();
      this.coloured.set(full, colourMap(bytes, layer.height, layer.width, table));
    }
    return this.coloured.get(full);
  }
}

// In JupyterLab: keys pressed in an explorer are not the notebook's, but for Ctrl+S and its like and Shift+Enter.
function keepKeys(event) {
  if (!event.target.closest?.(".explorer")) return;
  const theirs = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
  event.target.toggleAttribute("data-lm-suppress-shortcuts", !theirs);
}

function layerLists({ layers, without }) {
  const blocks = layers.filter((line) => !line.inner);
  return {
    stages: layers.filter((line) => line.stage),
    blocks: blocks.length ? blocks : layers,
    all: [...layers, ...without],
  };
}
