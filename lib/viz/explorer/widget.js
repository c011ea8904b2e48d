// The explorer in Jupyter: its state lives in the widget's model, what it lacks is asked of the kernel.
const STATE = ["layer", "view", "channel", "opacity", "cell"];

function render({ model, el }) {
  const panel = new ExplorerPanel(el, {
    about: model.get("_about"),
    state: () => Object.fromEntries(STATE.map((name) => [name, model.get(name)])),
    choose: (part) => {
      Object.entries(part).forEach(([name, value]) => model.set(name, value));
      model.save_changes();
    },
    ask: (question) => model.send(question),
  });
  const arrived = (content, buffers) =>
    panel.put({ ...content, ...Object.fromEntries(content.parts.map((name, k) => [name, buffers[k]])) });
  const turned = () => panel.put(model.get("_shown"));
  const changed = () => panel.refresh();
  const changes = STATE.map((name) => `change:${name}`).join(" ");
  model.on("msg:custom", arrived);
  model.on("change:_shown", turned);
  model.on(changes, changed);
  turned();
  return () => {
    model.off("msg:custom", arrived);
    model.off("change:_shown", turned);
    model.off(changes, changed);
  };
}

export default { render };
