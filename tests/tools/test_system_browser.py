"""What happens to a machine without a browser is said before the lanes begin."""

import pytest
import system_browser


@pytest.mark.parametrize(
    ("apt", "root", "forbidden", "said"),
    [
        ("/usr/bin/apt-get", True, False, "will install it for the whole system with `apt-get install chromium`"),
        ("/usr/bin/apt-get", True, True, "COURSE_NO_INSTALL=1 forbids installing it: the lane browser will be skipped"),
        (None, True, False, "this system has no apt-get: the lane browser will be skipped"),
        ("/usr/bin/apt-get", False, False, "installing it takes root"),
    ],
)
def test_what_happens_without_a_browser_is_said_first(monkeypatch, apt, root, forbidden, said):
    monkeypatch.setattr(system_browser.shutil, "which", lambda name: apt if name == "apt-get" else None)
    monkeypatch.setattr(system_browser.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setenv("COURSE_NO_INSTALL", "1" if forbidden else "0")
    assert said in system_browser.announcement()
    monkeypatch.setattr(system_browser.shutil, "which", lambda name: "/usr/bin/chromium")
    assert system_browser.announcement() == ""
