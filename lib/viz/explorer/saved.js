// The explorer on a page of its own: state and layers lie in the page.
const kept = JSON.parse(document.getElementById("data").textContent, (_, value) =>
  value?.base64 === undefined ? value : Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0)),
);
const panel = new ExplorerPanel(document.getElementById("explorer"), {
  about: kept.about,
  state: () => kept.state,
  choose: (part) => Object.assign(kept.state, part),
  ask: () => {},
});
