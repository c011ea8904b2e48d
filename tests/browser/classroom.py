"""A learner's hands in JupyterLab: open a notebook, run all, type into a cell, use the explorer."""

import re
import time

from playwright.sync_api import Locator, Page, expect

PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
SECONDS = 1000  # Playwright counts milliseconds
NOT_RUN, RUNNING = "[ ]:", "[*]:"  # what the prompt of a code cell says
UNHEARD = 15  # seconds: cells that are run before the page has heard of its kernel stay as they are, so run them again
RUN_LIMIT = 180  # seconds for all cells of one notebook: a lesson's budget of 60 s, three times, for a busy machine
PICTURE_LIMIT = 10  # seconds for a picture to change, on a busy machine


class Classroom:
    """One notebook, open in JupyterLab."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        page.goto(address)
        self.panel = page.locator(PANEL)
        expect(self.panel.locator(".jp-Cell").first).to_be_visible(timeout=60 * SECONDS)
        self._idle(60)

    def cells(self) -> Locator:
        """All code cells."""
        return self.panel.locator(".jp-CodeCell")

    def cell(self, text: str) -> Locator:
        """The code cell whose text, spaces aside, starts with or holds `text`."""
        found = self.cells().filter(has=self.page.locator(".cm-content", has_text=text))
        assert found.count() == 1, f"{found.count()} code cells hold {text!r}"
        return found

    def clear_outputs(self) -> None:
        """Edit, Clear Outputs of All Cells: what is seen afterwards is new."""
        self._menu("Edit", "editmenu:clear-all")
        expect(self.panel.locator(".jp-CodeCell .jp-OutputArea-output")).to_have_count(0, timeout=20 * SECONDS)

    def run_all(self) -> float:
        """Run, Run All Cells; wait until every cell has its number. Gives the seconds it took."""
        start = asked = time.monotonic()
        self._menu("Run", "runmenu:run-all")
        while self.states() & {NOT_RUN, RUNNING}:
            if self.states() == {NOT_RUN} and time.monotonic() - asked > UNHEARD:
                self._menu("Run", "runmenu:run-all")
                asked = time.monotonic()
            stopped = RUNNING not in self.states() and self.errors()
            assert not stopped, f"the cells below this error were not run: {stopped[-1]}"
            assert time.monotonic() - start < RUN_LIMIT, f"not run after {RUN_LIMIT} s: {self.waiting()}"
            self.page.wait_for_timeout(100)
        self._idle(60)
        return time.monotonic() - start

    def states(self) -> set[str]:
        """The prompts of all code cells, every number as "[1]:"."""
        prompts = self.panel.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        return {re.sub(r"\d+", "1", prompt.strip()) for prompt in prompts}

    def waiting(self) -> str:
        """The first code cell that has not run yet (place, prompt, how it begins), and the state of the kernel."""
        cells = self.cells()
        prompts = [prompt.strip() for prompt in cells.locator(".jp-InputPrompt").all_inner_texts()]
        first = next(place for place, prompt in enumerate(prompts) if prompt in (NOT_RUN, RUNNING))
        text = cells.nth(first).inner_text()[:200]
        kernel = self.panel.locator(".jp-Notebook-ExecutionIndicator").get_attribute("data-status")
        return f"cell {first + 1} of {len(prompts)}, {prompts[first]} {text!r}; the kernel is {kernel}"

    def errors(self) -> list[str]:
        """The text of each output that is an error, or was written to stderr, by its end."""
        kinds = [
            f".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr")
        ]
        return [text.strip()[-300:] for text in self.panel.locator(", ".join(kinds)).all_inner_texts()]

    def type_over(self, cell: Locator, text: str) -> None:
        """Replace a cell's text by hand: click, select all, type."""
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)  # as pasting does: no bracket or indent is added

    def run(self, cell: Locator) -> str:
        """Shift+Enter in a cell; wait for its new number. Gives the text of its output."""
        before = cell.locator(".jp-InputPrompt").inner_text()
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        prompt = cell.locator(".jp-InputPrompt")
        expect(prompt).not_to_have_text(before, timeout=60 * SECONDS)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=60 * SECONDS)
        self._idle(60)
        return cell.locator(".jp-OutputArea").inner_text()

    def close(self) -> None:
        """Shut the kernel down and leave."""
        self._menu("Kernel", "kernelmenu:shutdown")
        self.page.wait_for_timeout(300)

    def _menu(self, menu: str, command: str) -> None:
        self.page.locator("#jp-MainMenu .lm-MenuBar-item", has_text=re.compile(f"^{menu}$")).click()
        self.page.locator(f".lm-Menu-item[data-command='{command}']").click()

    def _idle(self, seconds: float) -> None:
        idle = self.panel.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        expect(idle).to_be_attached(timeout=seconds * SECONDS)
        expect(self.panel.locator(".jp-KernelName")).not_to_have_text("No Kernel", timeout=seconds * SECONDS)


class PictureHands:
    """Hands on a picture that answers: act, and see it change."""

    def __init__(self, page: Page, place: Locator, frame: Locator) -> None:
        self.page, self.place, self.frame = page, place, frame
        self.frame.scroll_into_view_if_needed()
        expect(self.image).to_be_visible(timeout=20 * SECONDS)

    @property
    def image(self) -> Locator:
        """The picture itself."""
        return self.frame

    def picture(self) -> list:
        """What the picture shows: [width, height, a checksum of its bytes].

        A picture that is replaced while it is read cannot be decoded: then the new one is read. One that cannot be
        decoded and stays is an error.
        """
        return self.image.evaluate(
            """async (image) => {
                 for (;;) {
                   const address = image.src;
                   try {
                     await image.decode();
                     const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
                     const sum = bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7);
                     return [image.naturalWidth, image.naturalHeight, sum];
                   } catch (error) {
                     if (image.src === address) throw error;
                   }
                 }
               }"""
        )

    def changes(self, what: str, act) -> float:
        """Do something and wait for another picture. Gives the seconds until it was there."""
        before = self.picture()
        start = time.monotonic()
        act()
        while self.picture() == before:
            assert time.monotonic() - start < PICTURE_LIMIT, f"the picture did not change: {what}"
            self.page.wait_for_timeout(10)
        seconds = time.monotonic() - start
        self.settle()
        return seconds

    def settle(self) -> None:
        """Wait until the picture keeps still."""
        last = None
        while (now := self.picture()) != last:
            last = now
            self.page.wait_for_timeout(250)

    def press(self, where: Locator, key: str) -> None:
        """Focus and press one key."""
        where.focus()
        self.page.keyboard.press(key)

    def step(self, handle: Locator) -> float:
        """Move a slider by one step, to the side that has room. Gives the seconds until the picture changed."""
        now, most = (float(handle.get_attribute(name)) for name in ("aria-valuenow", "aria-valuemax"))
        said = handle.get_attribute("aria-valuetext")  # "aria-valuenow" has one decimal, a step may be smaller
        key = "ArrowRight" if now < most else "ArrowLeft"
        seconds = self.changes("slider", lambda: self.press(handle, key))
        assert handle.get_attribute("aria-valuetext") != said
        return seconds


class CanvasHands(PictureHands):
    """Hands on a picture that is drawn on a canvas of the page."""

    def picture(self) -> list:
        return self.image.evaluate(
            """(canvas) => {
                 const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                 return [canvas.width, canvas.height, bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7)];
               }"""
        )


class ExplorerHands(CanvasHands):
    """The first explorer of a notebook: its slider, its picture, its keys."""

    def __init__(self, classroom: Classroom) -> None:
        page = classroom.page
        place = classroom.panel.locator(".jp-OutputArea-output", has=page.locator(".explorer-picture")).first
        super().__init__(page, place, place.locator(".explorer-picture"))

    @property
    def image(self) -> Locator:
        return self.frame.locator("canvas")

    def slider(self) -> Locator:
        """The slider that chooses the channel."""
        return self.place.get_by_role("slider", name="channel")

    def times(self) -> dict[str, list[float]]:
        """Milliseconds, by the page's own clock, from each event so far to the frame in which its picture was drawn."""
        found: dict[str, list[float]] = {}
        for entry in self.place.locator(".explorer").first.evaluate("(panel) => panel.explorerTimes"):
            found.setdefault(entry["what"], []).append(entry["ms"])
        return found

    def click_at(self, across: float, down: float) -> None:
        """Click the picture at a place, both in 0..1."""
        box = self.image.bounding_box()
        self.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


class MeshHands(CanvasHands):
    """Hands on meshes that are turned by dragging."""

    @property
    def image(self) -> Locator:
        return self.frame.locator("canvas").first  # another one, for rubber bands, lies over it

    def drag(self) -> float:
        """Take hold of the picture and turn it, in a few steps. Gives the seconds until it changed."""
        box = self.image.bounding_box()
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] / 4, middle)
        self.page.mouse.down()
        seconds = self.changes("drag", lambda: self._pull(box["x"] + box["width"] / 4, middle, box["height"] / 4))
        self.page.mouse.up()
        return seconds

    def _pull(self, x: float, y: float, way: float) -> None:
        for step in range(1, 6):
            self.page.mouse.move(x + way * step / 5, y)


class DrawingHands(PictureHands):
    """Hands on a picture that is drawn in the page as an SVG."""

    def picture(self) -> list:
        return [self.image.evaluate("(drawing) => drawing.outerHTML")]


def slider_widgets(classroom: Classroom) -> list[tuple[PictureHands, list[Locator]]]:
    """The widgets of a notebook that are a picture with sliders, and the handles of each."""
    page, found = classroom.page, []
    for hands, picture in ((PictureHands, "img.widget-image"), (DrawingHands, ".widget-html svg")):
        places = classroom.panel.locator(".jp-OutputArea-output", has=page.locator(picture)).filter(
            has=page.locator(".widget-slider"), has_not=page.locator(".explorer-picture")
        )
        for place in places.all():
            handles = place.locator(".widget-slider .noUi-handle").all()
            found.append((hands(page, place, place.locator(picture).first), handles))
    return found


def mesh_widgets(classroom: Classroom) -> list[MeshHands]:
    """The widgets of a notebook that are meshes to be turned."""
    picture = ".jupyter-matplotlib-canvas-div"
    places = classroom.panel.locator(".jp-OutputArea-output", has=classroom.page.locator(picture))
    return [MeshHands(classroom.page, place, place.locator(picture)) for place in places.all()]
