"""Every error that narrate-stream raises on purpose.

NarrateError                  one readable sentence; the command line prints it and exits 1
├── PortraitError             a picture that cannot become a model (unreadable, no face, too large)
├── BundleError               a .narrate file that is damaged, foreign or of another version
├── LightError                a LIGHT that is not in the grammar, or whose file cannot be read
├── MotionError               a driving clip or motion script that cannot be used
├── DeviceError               a device (GPU, camera) that was asked for and is not there
└── MissingExtra              an optional package is needed; the message names the extra
"""

from __future__ import annotations


class NarrateError(Exception):
    """Base of all expected failures; `str(error)` is one sentence naming the file and the cause."""


class PortraitError(NarrateError):
    """The portrait cannot be read or shows no usable human face."""


class BundleError(NarrateError):
    """The model file is damaged, not ours, or of a version this release cannot read."""


class LightError(NarrateError):
    """The light is not part of the grammar, or its file cannot be used."""


class MotionError(NarrateError):
    """The driving clip or motion script cannot be used."""


class DeviceError(NarrateError):
    """A requested device is not available; there is no silent fall back to another."""


class MissingExtra(NarrateError):  # noqa: N818 (a missing package, not a fault)
    """An optional package is missing; the message says which extra to install."""
