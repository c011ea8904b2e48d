// The layers that were sent, and what is asked for when something of one is needed. Everything seen is kept.
const TOP = 254, NO_NUMBER = 255;
const IN_ADVANCE = 2 ** 24; // levels of a layer up to which all its channels are fetched as soon as it is looked at

const bytesOf = (view) => new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);

class LayerStore {
  // `ask(question)`: { layer }, { layer, first } or { layer, cell }; the answers come through `put`.
  constructor(ask) {
    this.layers = new Map();
    this.ask = ask;
    this.asked = new Set();
  }

  // An answer: the head of a layer, some of its channels, or one cell's numbers.
  put(packet) {
    if (!packet?.layer) return;
    if (packet.order && !this.layers.has(packet.layer)) {
      const layer = { ...packet, channelLevels: new Array(packet.channels), here: 0, cellLevels: new Map() };
      layer.place = { y: packet.y, x: packet.x };
      layer.mean = bytesOf(packet.mean);
      layer.pca = bytesOf(packet.pca);
      this.layers.set(packet.layer, layer);
    }
    const layer = this.layers.get(packet.layer);
    if (!layer) return;
    if (packet.column) layer.cellLevels.set(String(packet.cell), bytesOf(packet.column));
    if (!packet.levels) return;
    const cells = layer.height * layer.width, bytes = bytesOf(packet.levels);
    for (let k = 0; k * cells < bytes.length; k++) {
      const channel = layer.order[packet.first + k];
      if (!layer.channelLevels[channel]) layer.here++;
      layer.channelLevels[channel] = bytes.subarray(k * cells, (k + 1) * cells);
    }
    layer.piece ??= bytes.length / cells;
  }

  askOnce(question) {
    const key = JSON.stringify(question);
    if (this.asked.has(key)) return;
    this.asked.add(key);
    this.ask(question);
  }

  // A layer, or null until it is here.
  layer(name) {
    const layer = this.layers.get(name);
    if (!layer) this.askOnce({ layer: name });
    else if (layer.channels * layer.height * layer.width <= IN_ADVANCE) this.fetchRest(layer);
    return layer ?? null;
  }

  fetchRest(layer) {
    if (layer.here === layer.channels) return;
    for (let first = layer.piece; first < layer.channels; first += layer.piece) this.askOnce({ layer: layer.layer, first });
  }

  // The levels of one channel, or null until they are here.
  channel(layer, channel) {
    const levels = layer.channelLevels[channel];
    if (!levels) {
      const position = layer.order.indexOf(channel);
      this.askOnce({ layer: layer.layer, first: position - (position % layer.piece) });
    }
    return levels ?? null;
  }

  // The levels of all channels in one cell, or null until they are here.
  cell(layer, [row, column]) {
    if (layer.here === layer.channels) {
      const at = row * layer.width + column;
      return layer.channelLevels.map((levels) => levels[at]);
    }
    const found = layer.cellLevels.get(String([row, column]));
    if (!found) this.askOnce({ layer: layer.layer, cell: [row, column] });
    return found ?? null;
  }

  // The number that a level of a channel stands for, NaN if it is none.
  number(layer, channel, level) {
    const low = layer.low[channel], high = layer.high[channel];
    return level === NO_NUMBER ? NaN : low + (level / TOP) * (high - low);
  }

  // The channels of a cell with the largest numbers, as [channel, number]; null until they are here.
  strongest(layer, cell, count) {
    const levels = this.cell(layer, cell);
    if (!levels) return null;
    const numbers = Array.from(levels, (level, channel) => [channel, this.number(layer, channel, level)]);
    const size = ([, number]) => (Number.isNaN(number) ? -1 : Math.abs(number));
    return numbers.sort((a, b) => size(b) - size(a) || a[0] - b[0]).slice(0, count);
  }
}

// How many digits after the point eight bits leave to numbers of this range: the last one may be wrong by one.
function digitsFor(range) {
  return range > 0 ? Math.min(Math.max(Math.floor(-Math.log10(range / TOP / 2)), 0), 6) : 2;
}
