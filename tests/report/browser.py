"""Pages in a real browser that cannot reach anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

CLIPBOARD = "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); };"
"""In place of the real one, which the whole machine shares."""

GO = """(place) => new Promise((done) => {
  if (location.hash.slice(1) === place) return done();
  addEventListener("hashchange", () => done(), { once: true });
  location.hash = place;
})"""
"""Resolves once the page's own listener, which was there first, has followed its address."""

SETTLED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
"""Resolves once what was under way has been drawn."""

PATIENCE_MS = 30_000
"""How long what is expected may take: a busy machine is slow."""


def executable() -> str:
    """The browser's path; skips the test if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser at hand ({', '.join(NAMES)})")
    return found


def expect(found: Any) -> Any:
    """Playwright's assertions on a page or a part of it, which wait until they hold.

    After whatever changes the address, or moves the pointer, nothing else will do: a page follows its address in a
    task of its own, some time after the click, and the pointer with its next frame.
    """
    from playwright.sync_api import expect as waiting

    waiting.set_options(timeout=PATIENCE_MS)
    return waiting(found)


@contextmanager
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # Chromium's sandbox does not work for the superuser, who runs tests in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=executable(), args=arguments)
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page, and what it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def figure(self, name: str) -> Any:
        return self.page.locator(f"[data-chart='{name}']")

    def table(self, name: str) -> Any:
        return self.page.locator(f"[data-table='{name}']")

    def go(self, place: str) -> None:
        """To a part of the page, by its address."""
        self.page.evaluate(GO, place)

    def drag(self, figure: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Zooms into a chart, from one corner to another: shares of its width and height."""
        figure.scroll_into_view_if_needed()
        box, mouse = figure.locator("svg").bounding_box(), self.page.mouse
        for corner, act in ((start, mouse.down), (end, mouse.up)):
            mouse.move(box["x"] + box["width"] * corner[0], box["y"] + box["height"] * corner[1], steps=6)
            act()
        expect(self.page.get_by_role("button", name="Reset zoom")).to_be_visible()

    def copied(self, place: Any, what: str) -> str:
        """What the button of that name copies."""
        place.locator("details.menu > summary").click()
        place.get_by_role("button", name=f"Copy {what}").click()
        return str(self.page.evaluate("window.copied"))


@contextmanager
def opened(browser: Any, file: Path, *, width: int = 1280, scheme: str = "light") -> Iterator[Opened]:
    """The page, ready; afterwards it must have asked for nothing but itself, and complained of nothing."""
    # Reduced motion: what is scrolled to is there at once, and stays where its place was read.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", offline=True
    )
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.asked.append(request.url))
    page.add_init_script(CLIPBOARD)
    address = file.absolute().as_uri()
    page.goto(address)
    page.wait_for_function("document.documentElement.dataset.ready")
    yield found
    page.evaluate(SETTLED)
    assert found.said == []
    assert found.asked == [address]
    context.close()


def follows_the_reader(browser: Any, file: Path, *, hidden: str) -> None:
    """Asserts that a page is light or dark as its reader wants, and on paper white and without what is `hidden`."""
    backgrounds = set()
    for scheme in ("light", "dark"):
        with opened(browser, file, scheme=scheme) as shown:
            backgrounds.add(shown.page.evaluate("getComputedStyle(document.body).backgroundColor"))
            shown.page.emulate_media(media="print")
            assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert shown.page.locator(hidden).is_hidden()
    assert len(backgrounds) == 2
