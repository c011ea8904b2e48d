// The strongest channels of one cell as bars; each bar is a button that chooses its channel.
function render({ model, el }) {
  const list = document.createElement("div");
  list.className = "explorer-bars";
  el.append(list);

  const draw = () => {
    const bars = model.get("bars");
    const largest = Math.max(...bars.map(([, value]) => Math.abs(value)), 1e-9);
    bars.forEach(([channel, value], index) => {
      let button = list.children[index];
      if (!button) {
        button = document.createElement("button");
        button.innerHTML = "<span></span><i><b></b></i><span></span>"; // number, bar, value
        button.addEventListener("click", () => model.send({ channel: Number(button.dataset.channel) }));
        list.append(button);
      }
      const chosen = channel === model.get("chosen");
      const [number, bar, amount] = button.children;
      button.dataset.channel = channel;
      button.className = chosen ? "chosen" : "";
      button.setAttribute("aria-pressed", chosen);
      button.setAttribute("aria-label", `channel ${channel}, value ${value.toFixed(2)}: show it`);
      number.textContent = channel;
      bar.firstChild.style.width = `${(100 * Math.abs(value)) / largest}%`;
      bar.firstChild.className = value < 0 ? "negative" : "";
      amount.textContent = value.toFixed(2);
    });
    while (list.children.length > bars.length) list.lastChild.remove();
  };
  model.on("change:bars change:chosen", draw);
  draw();
  return () => model.off("change:bars change:chosen", draw);
}

export default { render };
