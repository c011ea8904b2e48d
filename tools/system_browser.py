"""The Chromium that the lane "browser" drives: the system's, or one installed with apt-get where we may."""

import os
import shutil
import subprocess

BROWSERS = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
]


def installed_browser() -> str | None:
    """The path of a Chromium of this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def how_to_install() -> list[str] | str:
    """The start of a command that may install packages, or the reason why there is none."""
    if os.environ.get("COURSE_NO_INSTALL") == "1":
        return "COURSE_NO_INSTALL=1 forbids installing it"
    if shutil.which("apt-get") is None:
        return "this system has no apt-get"
    if os.geteuid() == 0:
        return ["apt-get"]
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n", "apt-get"]
    return "installing it takes root, or sudo without a password"


def announcement() -> str:
    """What a person should know before the lanes begin; "" where there is a Chromium."""
    if installed_browser():
        return ""
    command = how_to_install()
    if isinstance(command, str):
        return f"There is no Chromium on this machine, and {command}: the lane browser will be skipped."
    return (
        f"There is no Chromium on this machine: the lane browser will install it for the whole system with "
        f"`{' '.join(command)} install chromium`. Stop here and set COURSE_NO_INSTALL=1 if it must not."
    )
